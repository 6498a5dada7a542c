"""One step of a stream: the step of `predict --stream`, and the exported one in ONNX Runtime.

In: a case with one row and one step. Out: a function that computes the step once, from the state
that the last one returned. The model is a language model with random weights. Read
`inference/predict.py` next, and `interop/onnx/export.py`, which writes `streaming.onnx`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library
from lstm_lab.bench.ours import run_spec
from lstm_lab.inference.load import Trained
from lstm_lab.inference.predict import compiled_step
from lstm_lab.interop.onnx.export import DEFAULT_OPSET
from lstm_lab.interop.onnx.model import model_graph
from lstm_lab.interop.onnx.proto import model_proto
from lstm_lab.interop.portable import portable_model
from lstm_lab.training.state import member_of, zero_states
from lstm_lab.training.step import TrainStep

Step = Callable[[np.ndarray], np.ndarray]


def serves(name: str, case: Case) -> bool:
    """Returns whether a contender computes a case: one row and one step, forward in time.

    Args:
      name: the contender.
      case: a case whose work is `step`.
    """
    is_step = case.B == case.T == 1 and not case.bidirectional and not case.ragged
    return is_step and name in ("lstm_lab", "onnxruntime")


def build(name: str, case: Case) -> Callable[[], None]:
    """Returns a function that computes the next step and waits for its logits.

    Args:
      name: the contender.
      case: a case that it serves.
    """
    step = stream(name, trained_model(case))
    tokens, _ = case.data()

    def run() -> None:
        step(tokens)

    return run


def trained_model(case: Case) -> Trained:
    """Returns the model of a case, with random weights.

    Args:
      case: the case.
    """
    spec = run_spec("lstm_lab", case)
    params = TrainStep(spec, schedule_length=0.0).init(member_of(spec, 1)).params
    return Trained(spec, jax.device_get(params), {})


def stream(name: str, trained: Trained) -> Step:
    """Returns a function of tokens [1,1] that gives logits [1,1,V], and keeps the state.

    Args:
      name: the contender.
      trained: the model.

    Raises:
      UserError: without the package onnx.

    Example:
      stream("onnxruntime", trained_model(case))(np.array([[1]]))
    """
    return _in_jax(trained) if library(name) == "lstm_lab" else _in_onnx_runtime(trained)


def _in_jax(trained: Trained) -> Step:
    step = compiled_step(trained.spec)
    states = zero_states(trained.spec, trained.params, 1)

    def run(tokens: np.ndarray) -> np.ndarray:
        nonlocal states
        logits, states = step(trained.params, tokens, states, jnp.asarray(False))
        return np.asarray(logits)

    return run


def _in_onnx_runtime(trained: Trained) -> Step:
    # Late: it is an optional package.
    import onnxruntime

    model = portable_model(trained)
    proto = model_proto(model_graph(model, one_step=True), "bench", DEFAULT_OPSET, {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads cost time at one step
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    states = {name: np.zeros((1, size), np.float32) for name, size in model.state_sizes.items()}

    def run(tokens: np.ndarray) -> np.ndarray:
        nonlocal states
        logits, *final = session.run(None, {"tokens": tokens.astype(np.int64), **states})
        states = dict(zip(states, final, strict=True))
        return np.asarray(logits)

    return run

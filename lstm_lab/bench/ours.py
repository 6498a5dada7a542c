"""What lstm_lab runs for a case: its layers, and its own training step for whole models.

In: a contender of lstm_lab and a case. Out: parameters and functions. `jax_work.py` calls them;
`jax_peers.py` has the other libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import numbers
from lstm_lab.bench.jax_peers import Network
from lstm_lab.cells import Spec, masks
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ComputeSpec, ModelSpec, OptimSpec, TrainSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.regularization import Regularization
from lstm_lab.recurrence import BACKENDS, Backend, CallSignature, resolve, unsupported_reason
from lstm_lab.tasks.base import Categorical, Task, Tokens, Vectors
from lstm_lab.tasks.batches import Batch
from lstm_lab.tasks.examples import Examples
from lstm_lab.training.state import TrainState, member_of
from lstm_lab.training.step import TrainStep

# A state, the data of a batch, and a step: (state, data) -> (state, loss).
Training = tuple[Any, Any, Callable[[Any, Any], tuple[Any, jax.Array]]]
CLIP = 5.0  # the largest norm of the gradient, for all libraries
SGD_RATE, ADAM_RATE = 0.1, 1e-3


def spec_of(case: Case) -> Spec:
    """Returns the cell of a case, from the catalogue or from the user's file.

    Args:
      case: the case.
    """
    return resolve_cell(ModelSpec(cell=case.cell))


def backend_of(name: str) -> Backend:
    """Returns the backend in a contender's name, `auto` without one.

    Args:
      name: a contender of lstm_lab.
    """
    backends = [backend for backend in BACKENDS if backend in name.split()]
    return backends[0] if backends else "auto"


def _call(name: str, case: Case) -> CallSignature:
    spec, dtype = spec_of(case), jnp.dtype(numbers(name)[0])
    return CallSignature(spec, dtype, case.B, case.D, case.H, noise=masks.is_drawn(spec))


def serves(name: str, case: Case) -> bool:
    """Returns whether the backend in a contender's name serves a case.

    Args:
      name: a contender of lstm_lab.
      case: the case.
    """
    backend = backend_of(name)
    return backend == "auto" or unsupported_reason(backend, _call(name, case)) is None


def auto_choice(case: Case) -> Backend:
    """Returns the backend that `auto` takes for the first layer of a case.

    Args:
      case: the case.
    """
    return resolve("auto", _call("lstm_lab", case))


def stack(name: str, case: Case) -> Network:
    """Returns the layers of a case, in training: cells with masks draw them.

    Args:
      name: a contender of lstm_lab.
      case: the case.

    Returns:
      Parameters, and a function (params, x_BTD, lengths) -> h_BTH; lengths [B] may be None.
    """
    spec = spec_of(case)
    model = LSTM(
        spec,
        (case.H,) * case.layers,
        bidirectional=case.bidirectional,
        backend=backend_of(name),
    )
    params = model.init(jax.random.key(0), jnp.zeros((1, 1, case.D)))
    key = jax.random.key(4)
    regularization = None
    if masks.default_rates(spec):
        regularization = Regularization({}, key, jax.random.split(key, case.B))

    def apply(params: Any, x: jax.Array, lengths: Any) -> jax.Array:
        # The transposes are timed too: other libraries take batch-major inputs.
        h_TBH, _ = model.apply(
            params,
            jnp.swapaxes(x, 0, 1).astype(numbers(name)[0]),
            lengths=lengths,
            regularization=regularization,
        )
        return jnp.swapaxes(h_TBH, 0, 1)

    return params, apply


# ---- whole models


@dataclass(frozen=True)
class TimedTask(Task):
    """A task of random examples, for the training step of a case.

    Attributes:
      case: the case.
    """

    case: Case | None = None

    name = "timed"
    metric = "nll"

    @property
    def inputs(self) -> Tokens | Vectors:
        """Words or vectors."""
        assert self.case is not None
        return Tokens(self.case.vocabulary) if self.case.reads_words else Vectors(self.case.D)

    @property
    def target(self) -> Categorical:
        """Words, or classes."""
        assert self.case is not None
        return Categorical(
            self.case.outputs, every_step=self.case.every_step, metrics=(), may_ignore=False
        )


def run_spec(name: str, case: Case) -> RunSpec:
    """Returns the run of a case.

    Args:
      name: a contender of lstm_lab.
      case: a case whose work is that of a model.
    """
    dtype, exact = numbers(name)
    sgd = case.work == "language"
    return RunSpec(
        TimedTask(case=case),
        ModelSpec(
            cell=case.cell,
            hidden=case.H,
            layers=case.layers,
            bidirectional=case.bidirectional,
            embedding=case.D if case.reads_words else None,
            dtype="bfloat16" if dtype == "bfloat16" else "float32",
            precision="highest" if exact else "default",
        ),
        OptimSpec(name="sgd" if sgd else "adam", lr=SGD_RATE if sgd else ADAM_RATE, clip=CLIP),
        TrainSpec(batch_size=case.B, steps=1_000_000),
        compute=ComputeSpec(backend=backend_of(name)),
    )


def training(name: str, case: Case) -> Training:
    """Returns the training step of `lstm-lab train` for a case.

    Args:
      name: a contender of lstm_lab.
      case: a case whose work is that of a model.

    Returns:
      The first state, the data, and a function of both: the next state, and the loss.
    """
    spec = run_spec(name, case)
    train_step = TrainStep(spec, schedule_length=0.0)
    x, y = (jnp.asarray(array) for array in case.data())
    lengths = None if case.lengths is None else jnp.asarray(case.lengths)
    batch = Batch(Examples(x, y, lengths), jnp.ones(case.B), jnp.arange(case.B))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, jax.Array]:
        state, report, _ = train_step.step(state, batch)
        return state, report.loss

    state = jax.jit(train_step.init)(member_of(spec, 1_000_000))
    # Copies: the first best weights are the weights, and an array can be donated only once.
    return jax.tree.map(jnp.copy, state), batch, step

"""Runs graphs in ONNX Runtime, and the models that they come from, on the same inputs."""

import jax
import numpy as np
import onnxruntime

from lstm_lab.cells.cell import State
from lstm_lab.config.variant import rates_of
from lstm_lab.interop.onnx.model import model_graph
from lstm_lab.interop.onnx.proto import model_proto
from lstm_lab.interop.portable import portable_model
from lstm_lab.models.build import build_model
from lstm_lab.models.regularization import Regularization
from tests.helpers.training import assert_close

B, T = 4, 6
# The last row has no steps at all.
LENGTHS = np.array([6, 3, 1, 0], np.int32)


def session(proto):
    """Returns a session with one thread, which reports no more than errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(proto.SerializeToString(), options)


def random_inputs(model, padding=0):
    """Returns inputs [B,T] or [B,T,D], whose padding holds a given value."""
    numbers = np.random.default_rng(3)
    if model.vocabulary is not None:
        x = numbers.integers(0, model.vocabulary, (B, T))
    else:
        x = numbers.normal(size=(B, T, model.features)).astype(np.float32)
    x[np.arange(T) >= LENGTHS[:, None]] = padding
    return x


def random_states(model):
    """Returns initial states by name, without zeros: sLSTM divides by its normalizer."""
    numbers = np.random.default_rng(4)
    return {
        f"{layer.name}.{field}": numbers.uniform(0.1, 0.9, (B, size)).astype(np.float32)
        for directions in model.layers
        for layer in directions
        for field, size in layer.state_sizes.items()
    }


def reference(run, model, x, states, lengths=None):
    """Returns logits and final states of the model itself, by name."""
    nested = tuple(
        tuple(
            State(**{field: states[f"{layer.name}.{field}"] for field in layer.state_sizes})
            for layer in directions
        )
        for directions in model.layers
    )
    rates = Regularization(rates_of(run.spec.model))
    # Without compiling: the sequences are short, and every cell would need its own program.
    with jax.disable_jit():
        logits, finals = build_model(run.spec).apply(
            {"params": run.params}, x, lengths, rates, nested, method="logits_and_states"
        )
    fields = [a for row in finals for state in row for a in state if a is not None]
    return [np.asarray(a) for a in (logits, *fields)]


def run_graph(graph, opset, **feeds):
    """Returns the outputs of a graph in ONNX Runtime, after onnx has checked it."""
    return session(model_proto(graph, "test", opset, {})).run(None, feeds)


def assert_same_sequences(run, opset=17, padding=0):
    """Asserts that ragged sequences with initial states give the same numbers in both."""
    model = portable_model(run)
    x, states = random_inputs(model, padding), random_states(model)
    data = "x" if model.vocabulary is None else "tokens"
    outputs = run_graph(model_graph(model), opset, **{data: x, "lengths": LENGTHS, **states})
    assert_close(outputs, reference(run, model, x, states, LENGTHS))


def assert_same_stream(run):
    """Asserts that steps with carried states give the same numbers as whole sequences."""
    model = portable_model(run)
    x, states = random_inputs(model), random_states(model)
    data = "x" if model.vocabulary is None else "tokens"
    streaming = session(model_proto(model_graph(model, one_step=True), "test", 17, {}))
    logits, carried = [], states
    for t in range(T):
        step, *finals = streaming.run(None, {data: x[:, t : t + 1], **carried})
        carried = dict(zip(states, finals, strict=True))
        logits.append(step)
    whole = np.concatenate(logits, 1) if model.every_step else logits[-1]
    assert_close([whole, *finals], reference(run, model, x, states))

"""Exported modules compute in PyTorch what the trained models compute here."""

import importlib.util
from functools import partial

import jax
import numpy as np
import pytest
import torch

from lstm_lab.cells import CATALOGUE
from lstm_lab.interop.export import export_run
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.pytorch.module import module_form
from lstm_lab.models.build import build_model
from lstm_lab.training.state import zero_states
from tests.helpers.explain import SCAN, trained
from tests.helpers.peers import assert_close
from tests.helpers.training import small_spec

# PyTorch has no fast path for a projection, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

B, T = 4, 7
LENGTHS = np.array([7, 3, 1, 5])
SIZES = {"length": 8, "valid_size": 4, "test_size": 4}
TOKENS = {"name": "dyck", **SIZES}  # an output at every step
VECTORS = {"name": "adding", **SIZES}  # one output


def make_run(task=TOKENS, **model):
    """Returns a run with random weights, by default an LSTM of two layers."""
    if task is TOKENS:
        model = {"embedding": 4, **model}
    spec = small_spec(task=task, model={"cell": "lstm", "hidden": 6, "layers": 2, **model}, **SCAN)
    return trained(spec)


def load_module(run, folder):
    """Exports a run and returns its module as PyTorch loads it."""
    export_run(run, "torch", folder / "export")
    spec = importlib.util.spec_from_file_location("model", folder / "export" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load()


def inputs_of(run, numbers):
    if run.spec.task.name == TOKENS["name"]:
        return numbers.integers(0, run.spec.task.inputs.vocabulary, (B, T)).astype(np.int32)
    return numbers.normal(size=(B, T, 2)).astype(np.float32)


def run_torch(module, x, lengths=None, states=None):
    with torch.no_grad():
        lengths = None if lengths is None else torch.tensor(lengths)
        return module(torch.tensor(x), lengths, states)


def to_torch(run, states):
    """Returns states of the package as those that the written module takes."""
    as_tensor = jax.tree.map(lambda array: torch.tensor(np.array(array)), states)
    form = module_form(portable_model(run))
    if form == "cells":
        cells = [tuple(_vectors(state) for state in directions) for directions in as_tensor]
        return cells if run.spec.model.bidirectional else [cell for (cell,) in cells]
    if form == "layers":
        return [_stacked(directions) for directions in as_tensor]
    return _stacked([state for directions in as_tensor for state in directions])


def _vectors(state):
    """Returns the vectors of a state; gates lie side by side in one array."""
    fields = [(name, array) for name, array in state._asdict().items() if array is not None]
    parts = [array.chunk(3, -1) if name == "gates" else (array,) for name, array in fields]
    return tuple(vector for part in parts for vector in part)


def _stacked(states):
    h = torch.stack([state.h for state in states])
    return h if states[0].c is None else (h, torch.stack([state.c for state in states]))


def random_states(like, numbers):
    # sLSTM's n is a sum of exponentials; a negative one has no meaning.
    return jax.tree.map(lambda a: numbers.uniform(0.1, 0.9, a.shape).astype(np.float32), like)


def assert_same(result, reference):
    """Compares (outputs, states) of both sides, each to 1e-5 of its largest magnitude."""
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(reference), strict=True):
        assert_close(a, b)


def check(run, folder):
    """Compares whole sequences, ragged ones, and ones that start from given states."""
    module, numbers = load_module(run, folder), np.random.default_rng(5)
    x, zero = inputs_of(run, numbers), zero_states(run.spec, run.params, B)
    apply = partial(build_model(run.spec).apply, method="logits_and_states")
    ours = jax.jit(lambda lengths, states: apply({"params": run.params}, x, lengths, None, states))
    logits, states = ours(np.full(B, T), zero)
    assert_same(run_torch(module, x), (logits, to_torch(run, states)))
    given = random_states(zero, numbers)
    logits, states = ours(LENGTHS, given)
    result = run_torch(module, x, LENGTHS, to_torch(run, given))
    assert_same(result, (logits, to_torch(run, states)))
    return module, x


@pytest.mark.parametrize("cell", CATALOGUE)
def test_every_cell_of_the_catalogue(cell, tmp_path):
    run = make_run(cell=cell)
    module, x = check(run, tmp_path)
    # A stream: one step per call.
    whole, _ = run_torch(module, x)
    states, steps = None, []
    for t in range(T):
        logits, states = run_torch(module, x[:, t : t + 1], states=states)
        steps.append(logits)
    assert_close(torch.cat(steps, 1), whole)
    loss = module(torch.tensor(x), torch.tensor(LENGTHS))[0].square().sum()
    loss.backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


BOTH = {"bidirectional": True}


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (TOKENS, BOTH),
        (TOKENS, {"embedding": None}),
        (TOKENS, {"tied": True, "embedding": 6}),
        (TOKENS, {"layers": 3, "residual": True}),
        (TOKENS, {**BOTH, "merge": "mean", "residual": True}),
        (TOKENS, {**BOTH, "merge": "product", "cell": "gru"}),
        (TOKENS, {**BOTH, "cell": "vanilla"}),
        (TOKENS, {**BOTH, "cell": "slstm", "merge": "sum"}),
        (VECTORS, {}),
        (VECTORS, {"subtract_last": True, "cell": "gru"}),
        (VECTORS, BOTH),
        (VECTORS, {**BOTH, "cell": "rnn"}),
        (VECTORS, {**BOTH, "residual": True}),
        (VECTORS, {**BOTH, "merge": "sum", "residual": True}),
        (VECTORS, {**BOTH, "cell": "lstmp", "residual": True, "subtract_last": True}),
        (VECTORS, {"cell": "minlstm", "residual": True}),
    ],
    ids=str,
)
def test_models(task, model, tmp_path):
    check(make_run(task, **model), tmp_path)

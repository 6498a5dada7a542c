"""Exported modules compute in PyTorch what the trained models compute here."""

import importlib.util
import re
import subprocess
import sys
from functools import partial

import jax
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from lstm_lab.cells import CATALOGUE
from lstm_lab.inference.generate import Sampling, generate
from lstm_lab.inference.load import Trained
from lstm_lab.interop.export import export_run
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.pytorch import import_weights
from lstm_lab.interop.pytorch.module import module_form
from lstm_lab.models.build import build_model
from lstm_lab.training.state import zero_states
from lstm_lab.utils.files import read_json
from tests.helpers.explain import SCAN, random_params
from tests.helpers.peers import assert_close, import_torch
from tests.helpers.torch_runs import TASKS, make_run
from tests.helpers.training import language_spec

torch = import_torch()

# PyTorch has no fast path for a projection, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

B, T = 4, 7
LENGTHS = np.array([7, 3, 1, 0])  # a row without steps keeps its state


def load_module(run, folder):
    """Exports a run and returns its module as PyTorch loads it."""
    export_run(run, "torch", folder / "export")
    spec = importlib.util.spec_from_file_location("model", folder / "export" / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load()


def inputs_of(run, numbers):
    if run.spec.task.name == TASKS["tokens"]["name"]:
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
    padded = x.copy()  # padding is never read, whatever it holds
    padded[np.arange(T) >= LENGTHS[:, None]] = -1 if x.ndim == 2 else np.nan
    result = run_torch(module, padded, LENGTHS, to_torch(run, given))
    assert_same(result, (logits, to_torch(run, states)))
    return module, x


@pytest.mark.parametrize("cell", CATALOGUE)
def test_every_cell_of_the_catalogue(cell, tmp_path):
    run = make_run(cell=cell, embedding=3)
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
        ("tokens", BOTH),
        ("tokens", {"embedding": 3}),
        ("tokens", {"tied": True, "embedding": 4}),
        ("tokens", {"layers": 3, "residual": True}),
        ("tokens", {**BOTH, "merge": "mean", "residual": True}),
        ("tokens", {**BOTH, "merge": "product", "cell": "gru"}),
        ("tokens", {**BOTH, "cell": "vanilla"}),
        ("tokens", {**BOTH, "cell": "slstm", "merge": "sum"}),
        ("vectors", {}),
        ("vectors", {"subtract_last": True, "cell": "gru"}),
        ("vectors", BOTH),
        ("vectors", {**BOTH, "cell": "rnn"}),
        ("vectors", {**BOTH, "residual": True}),
        ("vectors", {**BOTH, "merge": "sum", "residual": True}),
        ("vectors", {**BOTH, "cell": "lstmp", "residual": True, "subtract_last": True}),
        ("vectors", {"cell": "minlstm", "residual": True}),
        ("tokens", {"hidden_sizes": (5, 7)}),
        ("vectors", {"hidden_sizes": (5, 7), **BOTH, "cell": "gru"}),
    ],
    ids=str,
)
def test_models(task, model, tmp_path):
    check(make_run(task, **model), tmp_path)


# As on a machine that has only PyTorch and safetensors. NumPy is no part of it either.
ALONE = """
import sys
for name in ("jax", "flax", "numpy", "lstm_lab"):
    sys.modules[name] = None
sys.path.insert(0, ".")
"""


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_the_usage_generates_the_same_text_without_this_package(cell, tmp_path):
    symbols = ["<unk>", "\n", *"abcdefghijklmnop "]
    spec = language_spec(
        tmp_path / "none.txt", model={"cell": cell, "hidden": 24, "layers": 2}, **SCAN
    )
    run = Trained(spec, random_params(spec, 1.0), {"inputs": tuple(symbols)})
    expected = "".join(generate(run, "\n", 200, Sampling(temperature=0.0)))
    assert len(set(expected)) > 4  # no single letter that is repeated
    folder = export_run(run, "torch", tmp_path / "export")
    usage = read_json(folder / "export.json")["usage"]
    program = "\n".join([ALONE, *re.findall(r"```python\n(.*?)```", usage, re.DOTALL)])
    process = subprocess.run(
        [sys.executable, "-I", "-W", "ignore:Failed to initialize NumPy", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert process.stdout == expected


def test_a_stack_of_pytorch_is_one_module(tmp_path):
    module = load_module(make_run(cell="weightdrop", bidirectional=True), tmp_path)
    assert isinstance(module.lstm, torch.nn.LSTM)
    assert (module.lstm.num_layers, module.lstm.bidirectional) == (2, True)


class Theirs(torch.nn.Module):
    """A model as somebody else has written it."""

    def __init__(self, core, symbols, features, units):
        super().__init__()
        self.embed = torch.nn.Embedding(symbols, features)
        self.core = core(features, units, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = torch.nn.Linear(2 * units, symbols)

    def forward(self, tokens):
        h, _ = self.core(self.embed(tokens))
        return self.fc(h)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_a_model_starts_from_weights_of_pytorch(cell, tmp_path):
    from safetensors.torch import save_file  # it imports PyTorch

    run = make_run(cell=cell.lower(), bidirectional=True, embedding=3)
    theirs = Theirs(getattr(torch.nn, cell), run.spec.task.inputs.vocabulary, 3, 4)
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    weights = import_weights(tmp_path / "theirs.safetensors", run.spec)
    tokens = inputs_of(run, np.random.default_rng(5))
    ours = build_model(run.spec).apply({"params": unflatten_dict(weights, sep="/")}, tokens)
    with torch.no_grad():
        assert_close(ours, theirs(torch.tensor(tokens)))


@pytest.mark.parametrize("both", [False, True])
def test_a_projection_without_peepholes_is_that_of_pytorch(both, tmp_path):
    cell = tmp_path / "cells.py"
    cell.write_text("from lstm_lab.cells import CellSpec\n\nnarrow = CellSpec(projection=0.5)\n")
    run = make_run(cell=f"{cell}:narrow", bidirectional=both)
    module, _ = check(run, tmp_path)
    assert (type(module.lstm), module.lstm.proj_size) == (torch.nn.LSTM, 2)
    weights = import_weights(tmp_path / "export" / "model.safetensors", run.spec)
    jax.tree.map(np.testing.assert_array_equal, unflatten_dict(weights, sep="/"), run.params)

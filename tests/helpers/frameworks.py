"""Models for the tests of exports to other frameworks, and what lstm_lab computes with them."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import jax
import numpy as np

from lstm_lab.cells import CATALOGUE, State
from lstm_lab.models.build import build_model
from lstm_lab.tasks import JSB
from lstm_lab.training.state import zero_states
from tests.helpers.explain import SCAN, BagOfWords, FirstSymbol, trained
from tests.helpers.training import small_spec

B, T = 3, 6
LENGTHS = np.array([6, 3, 0])  # a row without steps keeps its state
MASK = np.arange(T) < LENGTHS[:, None]

# Cells that Keras, Flax and Equinox have, by the names of the catalogue.
PLAIN = (
    *("np", "lstm", "chrono", "variational", "variational_untied", "semeniuta", "weightdrop"),
    *("rnn", "gru"),
)

WORDS, SYMBOLS = BagOfWords(), FirstSymbol((6, 6), ((2,), (3,)), T)

# Models that differ in everything but the cell: task, settings.
MODELS = {
    "concat": (JSB(), {"bidirectional": True, "layers": 2, "hidden": 4}),
    "sum, residual, last step": (
        WORDS,
        {"bidirectional": True, "merge": "sum", "residual": True, "layers": 2, "embedding": 4},
    ),
    "mean, last step": (None, {"bidirectional": True, "merge": "mean"}),
    "product, one-hot": (SYMBOLS, {"bidirectional": True, "merge": "product"}),
    "residual": (SYMBOLS, {"residual": True, "layers": 2, "embedding": 3}),
    "sizes": (JSB(), {"hidden_sizes": (5, 3)}),
    "tied": (SYMBOLS, {"embedding": 5, "tied": True}),
    "subtract_last": (None, {"subtract_last": True}),
}


def run_of(cell, task=None, **model):
    """Returns a run with random weights; by default on vectors, with one layer of five units."""
    spec = small_spec(model={"cell": cell}, **SCAN)
    return trained(replace(spec, task=task or spec.task, model=replace(spec.model, **model)))


def inputs_of(run):
    """Returns random inputs [B,T] or [B,T,D], with numbers at padding that must not matter."""
    numbers = np.random.default_rng(3)
    inputs = run.spec.task.inputs
    if hasattr(inputs, "vocabulary"):
        return numbers.integers(0, inputs.vocabulary, (B, T)).astype(np.int32)
    x = numbers.normal(size=(B, T, inputs.features)).astype(np.float32)
    return np.where(MASK[..., None], x, 1e3).astype(np.float32)


def states_of(run):
    """Returns random initial states; those of a stabilizer and a normalizer are consistent."""
    numbers = np.random.default_rng(4)
    zeros = zero_states(run.spec, run.params, B)
    return jax.tree.map(lambda a: numbers.uniform(0.1, 0.9, a.shape).astype(np.float32), zeros)


def reference(run, x, lengths=None, states=None):
    """Returns what lstm_lab computes: logits and final states."""
    model = build_model(run.spec)
    return model.apply({"params": run.params}, x, lengths, None, states, method="logits_and_states")


def state_arrays(states):
    """Returns the arrays of all states in the order of `PortableModel.state_names`."""
    return [a for directions in states for s in directions for a in s if a is not None]


def assert_equal_outputs(outputs, expected, label=""):
    """Asserts equality to 1e-5 of the reference's largest magnitude, and no NaN."""
    outputs, expected = np.asarray(outputs), np.asarray(expected)
    assert outputs.shape == expected.shape, label
    np.testing.assert_allclose(
        outputs, expected, rtol=0, atol=1e-5 * np.abs(expected).max(), err_msg=label
    )


VARIANTS = tuple(CATALOGUE)
assert State._fields[0] == "h"


def in_another_process(program, folder, **arrays):
    """Runs a program in a folder, where lstm_lab cannot be imported, and returns its `logits`.

    Args:
      program: Python; it finds the arrays by their names.
      folder: the working directory.
      arrays: what it reads.
    """
    code = (
        "import sys\n"
        "sys.modules['lstm_lab'] = None\n"  # an import of it fails
        "sys.path.insert(0, '.')\n"
        "import numpy as np\n"
        "globals().update(np.load('inputs.npz'))\n"
        f"{textwrap.dedent(program)}\n"
        "np.save('logits.npy', np.asarray(logits))\n"
    )
    np.savez(folder / "inputs.npz", **arrays)
    # Away from the checkout, and without the variables that name it.
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=clean, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return np.load(folder / "logits.npy")

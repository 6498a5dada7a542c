"""Runs with random weights, which the tests of PyTorch export."""

from tests.helpers.explain import SCAN, trained
from tests.helpers.training import small_spec

SIZES = {"length": 8, "valid_size": 4, "test_size": 4}
# Tokens with an output at every step, and vectors with one output.
TASKS = {"tokens": {"name": "dyck", **SIZES}, "vectors": {"name": "adding", **SIZES}}


def make_run(task="tokens", **model):
    """Returns a run, by default with a one-hot LSTM of two layers with four units."""
    model = {"cell": "lstm", "hidden": 4, "layers": 2, **model}
    return trained(small_spec(task=TASKS[task], model=model, **SCAN))

"""Small runs for the tests of training, and the files of a finished run."""

import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.models.build import build_model
from lstm_lab.results.run_files import read_result
from lstm_lab.tasks import JSB
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import StopRequest, train_cohort
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import REPORT
from lstm_lab.utils.files import read_lines

# Overrides that make a run of `adding` as short as a run can be.
TINY = {
    "task.length": 6,
    "task.valid_size": 9,
    "task.test_size": 9,
    "model.hidden": 3,
    "train.steps": 4,
    "train.eval_every": 2,
}


def small_spec(**sections):
    """Returns the spec of a small run; `sections` replace single settings."""
    base = {
        "task": {"name": "adding", "length": 8, "valid_size": 20, "test_size": 20},
        "model": {"cell": "lstm", "hidden": 5},
        "optim": {"name": "sgd", "lr": 0.1, "clip": None},
        "train": {"batch_size": 8, "steps": 20, "eval_every": 5},
        "compute": {"checkpoint_seconds": 0.0},
    }
    merged = {
        k: {**base.get(k, {}), **v} if isinstance(v, dict) else v
        for k, v in {**base, **sections}.items()
    }
    return build_spec(merged)


def growing_spec(**sections):
    """Returns the spec of a run whose weights grow without bound: its fourth step is the first
    with a loss that is not finite, in the middle of a call.
    """
    return small_spec(
        task={"name": "adding", "length": 3, "valid_size": 20, "test_size": 20},
        model={"cell": "rnn", "hidden": 3},
        optim={"name": "sgd", "lr": 1e6, "clip": None, **sections.pop("optim", {})},
        **sections,
    )


def ragged_spec(**sections):
    """Returns the spec of a small run on JSB, whose pieces differ in length."""
    return replace(small_spec(**sections), task=JSB())


def run_steps(specs, layout, dataset, n=10):
    """Trains members for n steps, one step per call.

    Returns losses [n,M] and parameters [M,...].
    """
    program = build_program(specs[0], n, layout)
    state = state_with_runs(program, specs, n)
    data = program.place_data({k: v for k, v in dataset.splits.items() if k != "test"})
    losses = []
    for _ in range(n):
        state, report = program.run_chunk(state, data, jnp.int32(1), jnp.int32(REPORT))
        losses.append(program.collect(report.loss)[: len(specs)])
    params = jax.tree.map(lambda a: a[: len(specs)], program.collect(state.params))
    return np.array(losses), params


def state_with_runs(program, specs, n=1000):
    """Returns the state of a program whose first lanes hold new runs of n steps."""
    return program.assign(None, {k: program.init_member(spec, n) for k, spec in enumerate(specs)})


def assert_close(outputs, expected):
    """Asserts equality to 1e-5 of the reference's largest magnitude."""
    for a, b in zip(jax.tree.leaves(outputs), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def train(specs, folder: Path, layout=None, data_dir=Path("nowhere"), stop=None, thresholds=None):
    """Trains a cohort in a folder; run k gets the subfolder named k."""
    thresholds = thresholds or {}
    runs = tuple(
        CohortRun(spec, folder / str(k), thresholds.get(k, {})) for k, spec in enumerate(specs)
    )
    cohort = Cohort(runs, layout or Layout("single", 1, len(specs)), folder / "checkpoints")
    return train_cohort(cohort, specs[0].task.load(data_dir), stop=stop or StopRequest())


class StopAfter(StopRequest):
    """Requests a stop once the training loop has asked `checks` times."""

    def __init__(self, checks):
        self.checks = checks

    @property
    def requested(self):
        self.checks -= 1
        return self.checks < 0


# Wall-clock times differ between two runs of the same program.
TIMES = {"seconds", "wall_s", "compile_s"}
# Hashes of files that hold such times.
HASHES = {"files", "sha256"}


def without_times(data):
    if isinstance(data, dict):
        return {k: without_times(v) for k, v in data.items() if k not in TIMES | HASHES}
    return data


def run_record(folder):
    """Returns the reproducible part of a run's folder: result, metrics and best weights."""
    params = Checkpoints(folder / "checkpoints" / "best").restore().tree
    return (
        without_times(read_result(folder)),
        [without_times(row) for row in read_lines(folder / "metrics.jsonl")],
        jax.tree.map(np.asarray, params),
    )


def assert_same_record(a, b):
    """Asserts that two records are equal bit for bit."""
    assert a[:2] == b[:2]
    jax.tree.map(np.testing.assert_array_equal, a[2], b[2])


def wait_for_step(folder, step, process):
    """Waits until a run has recorded a step; fails if its process ends earlier."""
    for _ in range(600):
        rows = read_lines(folder / "metrics.jsonl")
        if rows and rows[-1]["step"] >= step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    pytest.fail(f"the run did not reach step {step} within 30 s")


TEXT = "the quick brown fox jumps over the lazy dog and runs away " * 6
TRACKS, T = 4, 5


def language_spec(text, **sections):
    """Returns the spec of a small language model of characters."""
    task = {"name": "language", "train": str(text), "unit": "character", "vocabulary": 40}
    base = {
        "task": {**task, "unroll": T, "valid_share": 0.1, "test_share": 0.1},
        "model": {"cell": "lstm", "hidden": 6, "embedding": 4},
        "optim": {"name": "sgd", "lr": 0.1, "clip": None},
        "train": {"batch_size": TRACKS, "steps": 130, "eval_every": 10},
        "compute": {"checkpoint_seconds": 0.0},
    }
    return build_spec({k: {**values, **sections.get(k, {})} for k, values in base.items()})


def nll_at_once(spec, params, tokens):
    """Returns the negative log-likelihood of each symbol, with each row read as one sequence."""
    logits = build_model(spec).apply({"params": params}, tokens[:, :-1])
    log_p = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_p, tokens[:, 1:, None], -1)[..., 0]

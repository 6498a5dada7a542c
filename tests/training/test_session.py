"""Lanes: runs take and free them, each with its own hidden size and number of steps."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import train_cohort
from lstm_lab.training.session import LeaseLostError, Session
from lstm_lab.utils.files import read_json
from tests.helpers.training import StopAfter, assert_same_record, run_record, small_spec, train


def trials(n, **sections):
    """Returns specs that differ in seed, rate and momentum; odd ones learn nothing and stop."""
    spec = small_spec(train={"steps": 30, "patience": 2}, **sections)
    return [
        replace(
            spec,
            seed=k,
            optim=replace(spec.optim, lr=1e-30 if k % 2 else 0.3 / (k + 1), momentum=0.1 * k),
        )
        for k in range(n)
    ]


@pytest.mark.optimized
@pytest.mark.parametrize("layout", [Layout("single", 1, 2), Layout("members", 2, 4)], ids=str)
def test_runs_that_share_lanes_equal_their_lone_runs(tmp_path, layout):
    """Bit for bit, if the program has as many lanes: the runs in other lanes change nothing."""
    specs = trials(7)
    assert train(specs, tmp_path / "all", layout).status == "completed"
    for k in (0, 1, 5, 6):
        train([specs[k]], tmp_path / str(k), layout)
        assert_same_record(
            run_record(tmp_path / "all" / str(k)), run_record(tmp_path / str(k) / "0")
        )
    steps = [read_json(tmp_path / "all" / str(k) / "result.json")["steps"] for k in range(7)]
    assert steps[1] == steps[3] == steps[5] == 15
    assert max(steps) > 15


@pytest.mark.optimized
@pytest.mark.parametrize("checks", [1, 4, 8, 11])
def test_interrupted_lanes_resume_bit_for_bit(tmp_path, checks):
    specs = trials(5, compute={"log_every": 2})
    layout = Layout("single", 1, 2)
    train(specs, tmp_path / "a", layout)
    assert train(specs, tmp_path / "b", layout, stop=StopAfter(checks)).status == "interrupted"
    assert train(specs, tmp_path / "b", layout).status == "completed"
    for k in range(5):
        assert_same_record(run_record(tmp_path / "a" / str(k)), run_record(tmp_path / "b" / str(k)))


@pytest.mark.optimized
def test_a_run_whose_record_is_behind_the_checkpoint_starts_again(tmp_path):
    specs = trials(3)
    layout = Layout("single", 1, 2)
    train(specs, tmp_path / "a", layout)
    train(specs, tmp_path / "b", layout, stop=StopAfter(2))
    (tmp_path / "b" / "0" / "metrics.jsonl").unlink()
    assert train(specs, tmp_path / "b", layout).status == "completed"
    assert read_json(tmp_path / "b" / "0" / "run.json")["resumed_at"] == []
    assert read_json(tmp_path / "b" / "1" / "run.json")["resumed_at"] != []
    for k in range(3):
        assert_same_record(run_record(tmp_path / "a" / str(k)), run_record(tmp_path / "b" / str(k)))


def test_members_of_different_hidden_size_save_weights_of_their_own_size(tmp_path):
    specs = [replace(s, model=replace(s.model, hidden=3 + k)) for k, s in enumerate(trials(4))]
    layout = Layout("single", 1, 2, width=6)
    assert train(specs, tmp_path, layout).status == "completed"
    for k, spec in enumerate(specs):
        result, _, params = run_record(tmp_path / str(k))
        assert params["lstm"]["layer_0"]["wh"].shape == (3 + k, 4, 3 + k)
        assert result["parameters"] == sum(np.size(leaf) for leaf in jax.tree.leaves(params))
        assert read_json(tmp_path / str(k) / "run.json")["spec"]["model"]["hidden"] == 3 + k
        train([spec], tmp_path / "alone" / str(k))
        alone = run_record(tmp_path / "alone" / str(k) / "0")[0]
        np.testing.assert_allclose(result["test"]["mse"], alone["test"]["mse"], rtol=1e-4)


def test_a_checkpoint_whose_runs_start_again_is_left_behind(tmp_path):
    """It was written between two evaluations, and no run continues there."""
    spec = small_spec(compute={"log_every": 1})
    train([spec], tmp_path / "a")
    assert train([spec], tmp_path / "b", stop=StopAfter(3)).status == "interrupted"
    (tmp_path / "b" / "0" / "run.json").write_text("{}")
    assert train([spec], tmp_path / "b").status == "completed"
    assert_same_record(run_record(tmp_path / "a" / "0"), run_record(tmp_path / "b" / "0"))


def test_a_process_that_lost_its_lease_writes_nothing(tmp_path):
    spec = small_spec(compute={"log_every": 1})
    train([spec], tmp_path, stop=StopAfter(3))
    steps = Checkpoints(tmp_path / "checkpoints").steps()
    cohort = Cohort(
        (CohortRun(spec, tmp_path / "0"),), Layout("single", 1, 1), tmp_path / "checkpoints"
    )
    # Stopped before its first call: it has not looked at its lease yet.
    with pytest.raises(LeaseLostError):
        train_cohort(cohort, spec.task.load(tmp_path), stop=StopAfter(0), owns_lease=lambda: False)
    assert Checkpoints(tmp_path / "checkpoints").steps() == steps
    # Not "interrupted": whether it is, the new owner knows.
    assert read_json(tmp_path / "0" / "run.json")["status"] == "running"


def test_the_checkpoint_before_is_used_if_the_record_lacks_rows_of_the_newest(tmp_path, capsys):
    """As after a power failure, which takes the last rows."""
    spec = small_spec(compute={"log_every": 1})
    train([spec], tmp_path / "a")
    train([spec], tmp_path / "b", stop=StopAfter(12))
    path = tmp_path / "b" / "0" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert train([spec], tmp_path / "b").status == "completed"
    assert "not whole" not in capsys.readouterr().err
    assert read_json(tmp_path / "b" / "0" / "run.json")["resumed_at"][0] > 0
    assert_same_record(run_record(tmp_path / "a" / "0"), run_record(tmp_path / "b" / "0"))


def test_an_interrupt_by_a_second_signal_is_no_failure(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run_chunk", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train([small_spec()], tmp_path)
    assert read_json(tmp_path / "0" / "run.json")["status"] == "interrupted"


def test_memory_that_ends_before_training_is_named_so(tmp_path, monkeypatch):
    def fail(*args):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(Session, "_restore", fail)
    assert train([small_spec()], tmp_path).status == "out_of_memory"

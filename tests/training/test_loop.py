"""Whole runs: their files, early stopping, divergence, interruption, a killed process."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest

from lstm_lab.results.lease import this_place
from lstm_lab.results.study_file import run_status
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import StopRequest, train_cohort, train_run
from lstm_lab.training.session import LeaseLostError
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines, write_json
from tests.helpers.paths import ROOT
from tests.helpers.training import (
    StopAfter,
    assert_same_record,
    run_record,
    small_spec,
    train,
    wait_for_step,
)


def test_a_run_writes_its_record(tmp_path):
    spec = small_spec()
    assert train([spec], tmp_path).status == "completed"
    folder = tmp_path / "0"
    header, result = read_json(folder / "run.json"), read_json(folder / "result.json")
    rows = read_lines(folder / "metrics.jsonl")
    assert header["status"] == "completed"
    assert header["backend"] == "native"
    assert header["seeds"] == {"init": 0, "data": 0, "noise": 0}
    assert {"jax", "flax", "optax", "python"} <= set(header["versions"])
    valid = [row for row in rows if row["split"] == "valid"]
    assert [row["step"] for row in valid] == [5, 10, 15, 20]
    best = min(valid, key=lambda row: row["mse"])
    assert result["best"] == {"step": best["step"], "valid": {k: best[k] for k in ("mse", "mae")}}
    assert result["id"] == header["id"]
    assert rows[-1]["tokens"] == 20 * 8 * 8
    assert rows[-1]["sequences"] == 160
    assert rows[-1]["flops"] > 0
    assert list(folder.glob("events.out.tfevents.*"))


def test_a_folder_with_a_run_of_an_earlier_meaning_is_refused(tmp_path):
    spec = small_spec(model={"dropout_out": 0.1})
    train_run(spec, tmp_path, tmp_path, stop=StopRequest())
    without = small_spec()
    with pytest.raises(UserError, match="it differs in model.dropout_out: 0.1, now 0.0; choose"):
        train_run(without, tmp_path, tmp_path, stop=StopRequest())
    head = read_json(tmp_path / "run.json")
    write_json(tmp_path / "run.json", {**head, "id": "earlier", "redefined": {}})
    with pytest.raises(UserError, match="since then noise came to mean something else; choose"):
        train_run(spec, tmp_path, tmp_path, stop=StopRequest())


def test_the_test_split_is_scored_with_the_best_checkpoint(tmp_path):
    from lstm_lab.training.parallel import build_program
    from lstm_lab.training.state import member_of

    spec = small_spec(optim={"lr": 0.9}, train={"steps": 40})
    train([spec], tmp_path)
    result, _, params = run_record(tmp_path / "0")
    program = build_program(spec, 40, Layout("single", 1, 1))
    dataset = spec.task.load(tmp_path)
    lanes = jax.tree.map(lambda a: a[None], params)
    hparams = jax.tree.map(lambda a: a[None], member_of(spec, 40).hparams)
    for split, expected in (("test", result["test"]), ("valid", result["best"]["valid"])):
        data = program.place_data(dataset.splits[split])
        metrics = program.evaluate(program.place(lanes), hparams, np.array([True]), data)
        np.testing.assert_allclose(metrics["mse"][0], expected["mse"], rtol=1e-6)


def test_patience_stops_each_member_separately(tmp_path):
    spec = small_spec(train={"steps": 60, "patience": 2})
    stalled = replace(spec, optim=replace(spec.optim, lr=1e-30))
    assert train([spec, stalled], tmp_path).status == "completed"
    results = [read_json(tmp_path / str(k) / "result.json") for k in range(2)]
    assert results[1]["steps"] == 15
    assert results[0]["steps"] > 15
    assert results[1]["best"]["step"] == 5


def test_a_diverged_member_is_recorded_and_the_others_continue(tmp_path):
    spec = small_spec()
    diverging = replace(spec, optim=replace(spec.optim, lr=1e30))
    assert train([spec, diverging], tmp_path).status == "completed"
    results = [read_json(tmp_path / str(k) / "result.json") for k in range(2)]
    assert [r["status"] for r in results] == ["completed", "diverged"]
    assert read_json(tmp_path / "1" / "run.json")["status"] == "diverged"
    assert results[1]["steps"] < results[0]["steps"] == 20
    json.loads((tmp_path / "1" / "result.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_dtypes_learn_with_float32_parameters(dtype, tmp_path):
    spec = small_spec(
        model={"dtype": dtype, "layers": 2, "dropout": 0.1},
        optim={"name": "adam", "lr": 0.01, "clip": 1.0},
        train={"steps": 400, "eval_every": 100},
    )
    train([spec], tmp_path)
    _, rows, params = run_record(tmp_path / "0")
    valid = [row["mse"] for row in rows if row["split"] == "valid"]
    assert valid[-1] < 0.5 * valid[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


@pytest.mark.optimized
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path):
    spec = small_spec(optim={"name": "adam", "lr": 0.01}, compute={"log_every": 2})
    train([spec], tmp_path / "a")
    outcome = train([spec], tmp_path / "b", stop=StopAfter(3))
    assert outcome.status == "interrupted"
    assert read_json(tmp_path / "b" / "0" / "run.json")["status"] == "interrupted"
    assert not (tmp_path / "b" / "0" / "result.json").exists()
    assert train([spec], tmp_path / "b").status == "completed"
    assert len(read_json(tmp_path / "b" / "0" / "run.json")["resumed_at"]) == 1
    assert_same_record(run_record(tmp_path / "a" / "0"), run_record(tmp_path / "b" / "0"))


def test_a_start_says_where_it_resumes_and_nothing_if_it_is_the_first(tmp_path, capsys):
    def said(specs, stop=None):
        train(specs, tmp_path / str(len(specs)), stop=stop)
        return capsys.readouterr().err

    # The first call has one step, the second one the rest of the interval of five.
    one, three = [small_spec()], [small_spec(seed=k) for k in range(3)]
    assert said(one, StopAfter(2)) == ""
    assert said(one, StopAfter(0)) == "resumes at step 5 of 20\n"
    shutil.rmtree(tmp_path / "1" / "checkpoints")  # as after a kill before the first checkpoint
    assert said(one) == "no checkpoint yet: starts again at step 0\n"
    assert said(one) == ""
    assert said(three, StopAfter(2)) == ""
    # One line for a cohort, however many runs it has.
    assert said(three) == "resumes 3 of 3 runs, the farthest at step 5 of 20\n"


def test_a_cohort_stops_writing_after_it_lost_its_lease(tmp_path):
    spec, folder = small_spec(compute={"log_every": 2}), tmp_path / "0"
    cohort = Cohort((CohortRun(spec, folder),), Layout("single", 1, 1), tmp_path / "checkpoints")
    # The first call has one step, and a row has two.
    lease_checks = iter([True, True, True, False])
    with pytest.raises(LeaseLostError):
        train_cohort(
            cohort,
            spec.task.load(tmp_path),
            stop=StopRequest(),
            owns_lease=lambda: next(lease_checks),
        )
    assert [row["step"] for row in read_lines(folder / "metrics.jsonl")] == [2, 4]
    assert read_json(folder / "run.json")["status"] == "running"
    assert not (folder / "result.json").exists()


@pytest.mark.optimized
def test_results_do_not_depend_on_the_steps_per_call(tmp_path):
    spec = small_spec(optim={"name": "adam", "lr": 0.01})
    train([spec], tmp_path / "a")
    short = replace(spec, compute=replace(spec.compute, log_every=3))
    train([short], tmp_path / "b")
    a, b = run_record(tmp_path / "a" / "0"), run_record(tmp_path / "b" / "0")
    assert a[0]["test"] == b[0]["test"]
    jax.tree.map(np.testing.assert_array_equal, a[2], b[2])


@pytest.mark.optimized
def test_only_a_damaged_member_is_trained_again(tmp_path):
    specs = [small_spec(seed=k) for k in range(3)]
    train(specs, tmp_path)
    before = run_record(tmp_path / "1")
    untouched = (tmp_path / "0" / "result.json").stat().st_mtime_ns
    for damage in (
        lambda folder: (folder / "result.json").unlink(),
        lambda folder: [p.unlink() for p in folder.iterdir() if p.is_file()],
    ):
        damage(tmp_path / "1")
        assert train(specs, tmp_path).status == "completed"
        assert_same_record(run_record(tmp_path / "1"), before)
    assert (tmp_path / "0" / "result.json").stat().st_mtime_ns == untouched


def test_a_checkpoint_resumes_on_fewer_devices(tmp_path):
    specs = [small_spec(seed=k, compute={"log_every": 2}) for k in range(4)]
    train(specs, tmp_path, Layout("members", 4, 4), stop=StopAfter(4))
    assert train(specs, tmp_path, Layout("members", 2, 4)).status == "completed"
    assert read_json(tmp_path / "3" / "run.json")["resumed_at"] != []


def command(workdir):
    flags = [
        "--config=configs/adding.py:vanilla",
        "--config.task.length=12",
        f"--workdir={workdir}",
    ]
    flags += [
        "--config.train.steps=3000",
        "--config.train.eval_every=50",
        "--config.model.hidden=16",
    ]
    flags += ["--config.compute.checkpoint_seconds=0", "--config.compute.log_every=50"]
    return [sys.executable, "-m", "lstm_lab", "train", *flags, "--devices=2"]


def start(workdir):
    return subprocess.Popen(
        command(workdir), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.optimized
def test_a_killed_run_resumes_bit_for_bit(tmp_path):
    undisturbed = start(tmp_path / "a")
    assert undisturbed.wait(180) == 0, undisturbed.communicate()
    undisturbed.communicate()
    kills = 0
    for step in (50, 900, 1800):
        process = start(tmp_path / "b")
        wait_for_step(tmp_path / "b", step, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3
    process = start(tmp_path / "b")
    wait_for_step(tmp_path / "b", 1850, process)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 75, (out, error)
    assert out == ""
    assert "run the same command again" in error
    process = start(tmp_path / "b")
    out, error = process.communicate(timeout=180)
    assert process.returncode == 0, error
    mse = read_json(tmp_path / "b" / "result.json")["test"]["mse"]
    assert re.search(rf"^test +{mse:.5f} ", out, re.M), out
    assert len(read_json(tmp_path / "b" / "run.json")["resumed_at"]) >= 3
    a, b = run_record(tmp_path / "a"), run_record(tmp_path / "b")
    assert_same_record(a, b)


def test_a_second_process_is_told_who_trains_in_the_folder(tmp_path):
    spec = small_spec(compute={"devices": 1})
    seen = []

    class Second(StopRequest):
        """Asks at every call of the first one, which stops after two calls."""

        @property
        def requested(self):
            with pytest.raises(UserError) as error:
                train_run(spec, tmp_path / "run", tmp_path, stop=StopRequest())
            seen.append(str(error.value))
            assert run_status(tmp_path / "run") == ("running", "")
            return len(seen) == 2

    assert train_run(spec, tmp_path / "run", tmp_path, stop=Second()).status == "interrupted"
    worker = f"process {os.getpid()} on {socket.gethostname()}"
    assert f"{tmp_path / 'run'}: {worker} trains this run; wait" in seen[0]
    assert run_status(tmp_path / "run")[0] == "interrupted"
    assert train_run(spec, tmp_path / "run", tmp_path, stop=StopRequest()).status == "completed"
    train([spec], tmp_path / "alone")
    assert_same_record(run_record(tmp_path / "run"), run_record(tmp_path / "alone" / "0"))


def test_a_process_that_was_killed_before_its_first_file_leaves_an_empty_folder(tmp_path):
    """Its lease lies in a hidden folder, and the next process takes it over."""
    folder = tmp_path / "run"
    dead = {**asdict(this_place()), "pid": 2**22 + 1, "started": "1"}
    write_json(folder / ".lease" / "lease.0", dead)
    train_run(small_spec(), folder, tmp_path, stop=StopRequest())
    assert run_status(folder)[0] == "completed"
    # A finished run takes no lease: its folder may be one that nobody may write to.
    leases = sorted(p.name for p in (folder / ".lease").iterdir())
    train_run(small_spec(), folder, tmp_path, stop=StopRequest())
    assert sorted(p.name for p in (folder / ".lease").iterdir()) == leases


def test_a_run_whose_folder_was_taken_over_stops_with_one_line(tmp_path):
    folder = tmp_path / "run"

    class TakenOver(StopRequest):
        @property
        def requested(self):
            write_json(folder / ".lease" / "lease.7", {"host": "other", "pid": 1, "started": "1"})
            return False

    with pytest.raises(UserError, match=r"^workdir: .* another process took it over$"):
        train_run(small_spec(), folder, tmp_path, stop=TakenOver())

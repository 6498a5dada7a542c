"""The processes of `sweep --jobs`, and launchers that share a study: progress, kills, stops."""

import os
import random as chance
import signal
import subprocess
import sys
import time

import pytest

from lstm_lab.studies import Sequential, local
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.local import WorkerProcess, run_jobs
from lstm_lab.studies.status import describe
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import DONE, INTERRUPTED
from lstm_lab.utils.files import read_json, write_json, write_lines
from lstm_lab.utils.progress import Meter
from tests.helpers.containers import in_container, needs_containers
from tests.helpers.sweep import (
    STUDY_FILE,
    run_records,
    start_sweep,
    tiny_study,
    wait_for_success,
)
from tests.helpers.training import StopAfter, assert_same_record


@pytest.mark.parametrize(("plugins", "found"), [((), 0), (("cuda",), 4)])
def test_accelerators_are_counted_only_if_jax_has_a_plugin_for_them(monkeypatch, plugins, found):
    """Another process has to count them, and its start takes a second."""
    done = subprocess.CompletedProcess((), 0, "4\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    monkeypatch.setattr(local, "entry_points", lambda group: plugins)
    monkeypatch.setattr(local.importlib.util, "find_spec", lambda name: None)
    assert local._count_accelerators() == found


def write_runs(workdir):
    """Writes the results of six runs, one at a time; the look after four asks for the others."""
    undecided = {"p": 0.5, "equal": None, "verdict": "undecided"}
    look = {"seeds": 2, "limit": 0.01, "variants": {"rnn": undecided}}
    for number in range(6):
        if number == 4:
            plan = read_json(workdir / "study.json")
            write_json(workdir / "study.json", {**plan, "looks": [look]})
        write_json(workdir / "runs" / f"r{number}" / "metrics.jsonl", {})
        write_json(workdir / "runs" / f"r{number}" / "result.json", {})
        yield True


def test_the_bar_learns_of_the_seeds_that_looks_add(tmp_path, monkeypatch):
    study, ended = tiny_study(sequential=Sequential(first=2, step=1)), []
    StudyFolder(tmp_path, study).declare()
    work = write_runs(tmp_path)

    class Worker:
        """Writes a result each time that somebody asks whether it runs."""

        code = DONE
        running = property(lambda self: next(work, False))
        restarted = stop = lambda self: False

    class Recorded(Meter):
        def __exit__(self, *error):
            ended.append((self.done, self.total))
            super().__exit__(*error)

    monkeypatch.setattr(local, "WorkerProcess", lambda *_: Worker())
    monkeypatch.setattr(local, "Meter", Recorded)
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    assert local.run_jobs([], tmp_path, 1, 4, StopRequest()) == DONE
    assert ended == [(6.0, 6.0)]


def test_the_bar_counts_what_unfinished_runs_have_trained(tmp_path, monkeypatch):
    """Runs of an hour would otherwise end before it moves."""
    StudyFolder(tmp_path, tiny_study()).declare()
    run, shown = tmp_path / "runs" / "a", []

    def train():
        write_json(run / "run.json", {"planned_steps": 4})
        # The run resumes at step 1 after a kill.
        for step in (1, 2, 1, 3):
            write_lines(run / "metrics.jsonl", [{"step": step}])
            yield True
        write_json(run / "result.json", {})
        yield True

    class Recorded(Meter):
        def advance(self, steps, text):
            super().advance(steps, text)
            shown.append((self.done, text))

    trained = train()

    class Worker:
        """Trains a few steps each time that somebody asks whether it runs."""

        code = DONE
        running = property(lambda self: next(trained, False))
        restarted = stop = lambda self: False

    monkeypatch.setattr(local, "WorkerProcess", lambda *_: Worker())
    monkeypatch.setattr(local, "Meter", Recorded)
    monkeypatch.setattr(local, "POLL_SECONDS", 0.0)
    assert local.run_jobs([], tmp_path, 1, 6, StopRequest()) == DONE
    counts = [0] * 4 + [1]
    done = [0.25, 0.5, 0.5, 0.75, 1.0]
    assert shown == [(d, f"1 process, {k}/6 runs") for d, k in zip(done, counts, strict=True)]


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_ends_bit_for_bit(tmp_path):
    # Long enough for twenty interruptions, of which each trains for a few seconds.
    study = STUDY_FILE.replace('"steps": 1500', '"steps": 4000')
    undisturbed = start_sweep(tmp_path, tmp_path / "a", "--devices=1", study=study)
    wait_for_success(undisturbed)
    rng, kills = chance.Random(0), 0
    while kills < 20:
        process = start_sweep(tmp_path, tmp_path / "b", "--devices=1", study=study)
        time.sleep(rng.uniform(2.0, 9.0))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    last = start_sweep(tmp_path, tmp_path / "b", "--devices=1", study=study)
    wait_for_success(last)
    a, b = run_records(tmp_path / "a"), run_records(tmp_path / "b")
    assert a.keys() == b.keys()
    assert len(a) == 24
    for run in a:
        assert_same_record(a[run], b[run])


@pytest.mark.slow
def test_two_launchers_train_each_run_once(tmp_path):
    both = [start_sweep(tmp_path, tmp_path / "a", "--devices=1") for _ in range(2)]
    for process in both:
        wait_for_success(process)
    heads = [read_json(path) for path in tmp_path.glob("a/runs/*/run.json")]
    assert len(heads) == 24
    assert {len(head["resumed_at"]) for head in heads} == {0}
    assert len({head["pid"] for head in heads}) == 2
    leases = list(tmp_path.glob("a/cohorts/*/lease.*"))
    assert [path.name for path in leases] == ["lease.0"] * 2


@needs_containers
@pytest.mark.slow
def test_two_containers_train_each_run_once(tmp_path):
    """They have one host name, and their processes have the same numbers."""
    both = [
        start_sweep(tmp_path, tmp_path / "a", "--devices=1", start=in_container) for _ in range(2)
    ]
    for process in both:
        wait_for_success(process)
    heads = [read_json(path) for path in tmp_path.glob("a/runs/*/run.json")]
    assert len(heads) == 24
    assert {len(head["resumed_at"]) for head in heads} == {0}
    leases = list(tmp_path.glob("a/cohorts/*/lease.*"))
    assert [path.name for path in leases] == ["lease.0"] * 2


@pytest.mark.slow
def test_jobs_share_the_study_and_survive_a_killed_worker(tmp_path):
    process = start_sweep(tmp_path, tmp_path / "a", "--jobs=2")
    while not list(tmp_path.glob("a/runs/*/run.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    head = read_json(next(tmp_path.glob("a/runs/*/run.json")))
    text = "\n".join(describe(tmp_path / "a"))
    assert f"process {head['pid']} on " in text
    os.kill(head["pid"], signal.SIGKILL)
    out = wait_for_success(process)
    assert "was killed by signal 9; restarting it" in out
    assert len(run_records(tmp_path / "a")) == 24


def test_a_stop_reaches_workers_that_still_import(tmp_path, monkeypatch):
    """They die of the signal; it is no crash after which they start again."""
    code = "import time; time.sleep(60)"
    monkeypatch.setattr(
        "lstm_lab.studies.local.worker_command", lambda arguments: [sys.executable, "-c", code]
    )
    begin = time.monotonic()
    assert run_jobs([], tmp_path, 2, 1, StopAfter(2)) == INTERRUPTED
    assert time.monotonic() - begin < 30


def test_workers_end_with_the_process_that_started_them(tmp_path, monkeypatch):
    code = "import time; time.sleep(60)"
    monkeypatch.setattr(
        "lstm_lab.studies.local.worker_command", lambda arguments: [sys.executable, "-c", code]
    )
    started = []
    real = WorkerProcess._start

    def start(self):
        started.append(real(self))
        return started[-1]

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(WorkerProcess, "_start", start)
    with monkeypatch.context() as patch:
        patch.setattr("lstm_lab.studies.local.time.sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_jobs([], tmp_path, 2, 1, StopRequest())
    assert [process.wait(10) for process in started] == [-signal.SIGTERM] * 2

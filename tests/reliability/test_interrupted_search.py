"""Adaptive search: kills, two processes and a damaged journal change no trial."""

import json
import os
import random
import time
from pathlib import Path

import optuna
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.studies import optuna as search_module
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.optuna import JOURNAL, next_generation
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.files import read_json
from tests.helpers.search import journal, parabola, points, run_search, search_study, write_results
from tests.helpers.sweep import pool, run_records, start_sweep, wait_for_success
from tests.helpers.training import StopAfter, assert_same_record


class KilledError(Exception):
    """Stands for SIGKILL: what was written before stays, and nothing is written after."""


def outcome(folder):
    """Returns all that a search decides: trials with their reports, runs, and cohorts in order."""
    trials = {
        name: [(t.state.name, t.params, t.intermediate_values, t.values) for t in of_variant]
        for name in ("lstm", "rnn")
        for of_variant in [journal(folder, name)]
    }
    plan = read_json(folder / "study.json")
    return trials, plan["runs"], list(plan["cohorts"].items())


def search_steps(workdir, declared):
    """Searches as `launch` does, with written results; gives control back after each step."""
    folder, ended = StudyFolder(workdir, declared), ()
    while runs := next_generation(folder, declared, ended):
        yield
        ended = [run_id(run.spec) for run in runs]
        folder.plan_runs(runs, pool(1), lambda spec: 0.0)
        for run in ended:
            yield
            write_results(folder, parabola, {run})
        yield


def kill_at_random(monkeypatch, rng):
    """Kills at a random write, before or after it, and in the middle of a line of the journal."""
    backend, replace = optuna.storages.journal.JournalFileBackend, os.replace
    append = backend.append_logs

    def killed():
        return rng.random() < 1 / 40

    def replace_or_die(*paths):
        if killed():
            raise KilledError
        replace(*paths)
        if killed():
            raise KilledError

    def append_or_die(self, logs):
        append(self, logs)
        if killed():
            size = os.path.getsize(self._file_path)
            os.truncate(self._file_path, size - rng.randrange(len(json.dumps(logs[-1]))))
            raise KilledError

    monkeypatch.setattr(os, "replace", replace_or_die)
    monkeypatch.setattr(backend, "append_logs", append_or_die)


def test_points_depend_only_on_results(tmp_path, monkeypatch):
    """A kill while points are sampled, and a second process, change no point."""
    declared = search_study(12)
    undisturbed = StudyFolder(tmp_path / "a", declared)
    run_search(undisturbed, declared, parabola)
    suggested = []
    suggest = search_module._suggest

    def suggest_or_die(trial, path, values):
        suggested.append(path)
        if len(suggested) in (7, 30, 80):
            raise KilledError
        return suggest(trial, path, values)

    monkeypatch.setattr(search_module, "_suggest", suggest_or_die)
    deaths = 0
    while True:
        folder = StudyFolder(tmp_path / "b", declared)
        try:
            runs = next_generation(folder, declared)
            other = next_generation(StudyFolder(tmp_path / "b", declared), declared)
        except KilledError:
            deaths += 1
            continue
        assert [run.point for run in runs] == [run.point for run in other]
        if not runs:
            break
        folder.plan_runs(runs, pool(1), lambda spec: 0.0)
        write_results(folder, parabola)
    assert deaths == 3
    assert points(tmp_path / "a") == points(tmp_path / "b")


def test_an_interrupted_search_resumes_with_the_same_points(tmp_path):
    declared = search_study(6, generation=3)
    assert launch(declared, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    for checks in (5, 12):
        outcome = launch(declared, tmp_path / "b", tmp_path, StopAfter(checks))
        assert outcome == "interrupted"
    assert launch(declared, tmp_path / "b", tmp_path, StopRequest()) == "completed"
    assert points(tmp_path / "a") == points(tmp_path / "b")


@pytest.mark.parametrize("seed", range(3))
def test_a_search_killed_at_random_ends_with_the_same_trials(tmp_path, monkeypatch, seed, capsys):
    """Also if somebody removes the journal between two launches."""
    rng = random.Random(seed)
    declared = search_study(6, seeds=(0, 1), generation=2, grace=1)
    list(search_steps(tmp_path / "a", declared))
    deaths, ended = 0, False
    with monkeypatch.context() as patch:
        kill_at_random(patch, rng)
        while not ended:
            try:
                list(search_steps(tmp_path / "b", declared))
                ended = True
            except KilledError:
                deaths += 1
                if deaths % 5 == 0:
                    (tmp_path / "b" / JOURNAL).unlink()
    assert deaths > 5
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    assert "built again" not in capsys.readouterr().err


SEARCH_FILE = """
from lstm_lab.studies import LogUniform, Search, Study, Tuning, grid


def get_study():
    base = {
        "task": {"name": "adding", "length": 12, "valid_size": 50, "test_size": 50},
        "model": {"cell": "lstm", "hidden": 8},
        "train": {"batch_size": 8, "steps": 1000, "eval_every": 25},
        "compute": {"checkpoint_seconds": 0.0, "log_every": 25},
    }
    search = Search(6, {"optim.lr": LogUniform(1e-3, 1.0)}, generation=3, grace=10)
    axis = grid("model.forget_bias", (0.0, 1.0))
    return Study("killed", base, (axis,), (), tuning=Tuning(trials=search))
"""


@pytest.mark.slow
def test_a_search_killed_ten_times_ends_bit_for_bit(tmp_path):
    def start(name):
        return start_sweep(tmp_path, tmp_path / name, "--devices=1", study=SEARCH_FILE)

    wait_for_success(start("a"))
    rng = random.Random(0)
    for _ in range(10):
        process = start("b")
        time.sleep(rng.uniform(3.0, 12.0))
        process.kill()
        process.communicate()
    wait_for_success(start("b"))
    a, b = run_records(tmp_path / "a"), run_records(tmp_path / "b")
    assert a.keys() == b.keys()
    assert len(a) == 12
    for run in a:
        assert_same_record(a[run], b[run])
    trials = [
        [(t.state, t.params, t.values, t.intermediate_values) for t in journal(tmp_path / k, name)]
        for name in ("0.0", "1.0")
        for k in ("a", "b")
    ]
    assert trials[0] == trials[1]
    assert trials[2] == trials[3]


def test_two_launchers_of_a_search_end_with_the_same_trials(tmp_path):
    declared = search_study(6, seeds=(0, 1), generation=2)
    list(search_steps(tmp_path / "a", declared))
    rng = random.Random(0)
    launchers = [search_steps(tmp_path / "b", declared) for _ in range(2)]
    while launchers:
        launcher = rng.choice(launchers)
        try:
            next(launcher)
        except StopIteration:
            launchers.remove(launcher)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")


DAMAGES = {
    "unfinished line": lambda lines: [*lines[:-1], lines[-1][:-9]],
    "no newline": lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")],
    "last line": lambda lines: [*lines[:-1], b"oops\n"],
    "zeros at the end": lambda lines: [*lines[:-1], b"\0" * 100],
    "text in the middle": lambda lines: [*lines[:9], b"oops\n", *lines[10:]],
    "list": lambda lines: [*lines[:9], b"[]\n", *lines[10:]],
    "number": lambda lines: [*lines[:9], b"7\n", *lines[10:]],
    "empty object": lambda lines: [*lines[:9], b"{}\n", *lines[10:]],
    "deep nesting": lambda lines: [*lines[:9], b"[" * 100_000 + b"\n", *lines[10:]],
    "half": lambda lines: lines[: len(lines) // 2],
    "empty": lambda lines: [],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_built_again_from_the_results(tmp_path, damage, capsys):
    declared = search_study(4, seeds=(0,), generation=2)
    list(search_steps(tmp_path / "a", declared))
    steps = search_steps(tmp_path / "b", declared)
    for _ in range(9):  # in the middle of the second generation
        next(steps)
    path = tmp_path / "b" / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(DAMAGES[damage](lines)))
    list(search_steps(tmp_path / "b", declared))
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    # A killed process leaves unfinished lines, so nothing is said about them.
    replaced = damage in ("last line", "text in the middle", *list(DAMAGES)[5:9])
    assert ("built again from the results" in capsys.readouterr().err) == replaced
    assert path.with_name(f"{JOURNAL}.damaged").exists() == replaced


def test_the_lock_that_a_killed_process_left_blocks_nobody(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    declared = search_study(4, seeds=(0,))
    folder = StudyFolder(Path("relative"), declared)
    next_generation(folder, declared)
    # As Optuna writes it: seen from the folder, the relative path leads nowhere.
    os.symlink(f"relative/{JOURNAL}", f"relative/{JOURNAL}.lock")
    assert len(next_generation(folder, declared)) == 8

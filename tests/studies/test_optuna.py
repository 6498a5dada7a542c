"""Adaptive search: points depend only on results; pruning, means over seeds, processes."""

import json
import os
import random
import time
from math import log10
from pathlib import Path
from statistics import fmean

import optuna
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.report.render.files import build
from lstm_lab.studies import Choice, Conditional, LogUniform, Search, Study, Tuning, Uniform, grid
from lstm_lab.studies import optuna as search_module
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.optuna import JOURNAL, next_generation
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines, valid_by_step, write_json, write_lines
from tests.helpers.sweep import BASE, pool, run_records, start_sweep, tiny_study, wait_for_success
from tests.helpers.training import StopAfter, assert_same_record, small_spec, train

RANGES = {"optim.lr": LogUniform(1e-4, 1.0), "optim.momentum": Uniform(0.0, 0.9)}


def search_study(count, *, seeds=(0, 1), final=(), **options):
    search = Search(count, RANGES, **{"generation": 4, **options})
    return tiny_study(tuning=Tuning(seeds=seeds, trials=search), seeds=final)


def journal(folder, name):
    """Returns a variant's trials, read by Optuna itself."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=name, storage=storage).trials


def points(folder):
    plan = read_json(folder / "study.json")
    return {run: (row["variant"], row["point"], row["seed"]) for run, row in plan["runs"].items()}


def write_results(folder, value, runs=None):
    """Writes a result for each planned run without training: `value` of its point and seed."""
    for run, row in folder.plan["runs"].items():
        path = folder.run_folder(run) / "result.json"
        if row["stage"] == "tuning" and not path.exists() and (runs is None or run in runs):
            score = value(row["point"]) + 1e-3 * row["seed"]
            rows = [{"step": k, "split": "valid", "mse": score + 1 / k} for k in (1, 2, 3)]
            write_lines(path.with_name("metrics.jsonl"), rows)
            best = {"step": 3, "valid": {"mse": score}}
            write_json(path, {"id": run, "status": "completed", "best": best, "test": {}})


def run_search(folder, declared, value):
    """Runs a search with written results; returns the number of runs of each generation."""
    sizes, runs = [], next_generation(folder, declared)
    while runs:
        folder.plan_runs(runs, pool(1), lambda spec: 0.0)
        write_results(folder, value)
        sizes.append(len(runs))
        runs = next_generation(folder, declared)
    return sizes


def parabola(point):
    """Has its minimum at a learning rate of 0.01."""
    return (log10(point["optim.lr"]) + 2) ** 2 + 0.1 * point["optim.momentum"]


def test_a_search_samples_generations_and_beats_random_points(tmp_path):
    declared = search_study(42, seeds=(0,))
    folder = StudyFolder(tmp_path, declared)
    assert run_search(folder, declared, parabola) == [*[8] * 10, 4]
    values = [[trial.value for trial in journal(tmp_path, name)] for name in ("lstm", "rnn")]
    assert [len(of_variant) for of_variant in values] == [42, 42]
    # Mean scores: 1.38 for random points, and 0.78 for Optuna's own loop of four points at a
    # time, without the first four.
    assert fmean(values[0][4:] + values[1][4:]) < 1.0
    # Each variant has its own points.
    lr = {n: [t.params["optim.lr"] for t in journal(tmp_path, n)] for n in ("lstm", "rnn")}
    assert not set(lr["lstm"]) & set(lr["rnn"])


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


def test_a_trial_gets_the_mean_over_its_seeds(tmp_path):
    declared = search_study(4, final=(10, 11))
    assert launch(declared, tmp_path, tmp_path, StopRequest()) == "completed"
    plan = read_json(tmp_path / "study.json")
    for name in ("lstm", "rnn"):
        trials = journal(tmp_path, name)
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 4
        for trial in trials:
            folders = [
                tmp_path / "runs" / run
                for run, row in plan["runs"].items()
                if (row["variant"], row["point"].get("optim.lr"))
                == (name, trial.params["optim.lr"])
                and row["stage"] == "tuning"
            ]
            assert len(folders) == 2
            curves = [valid_by_step(read_lines(f / "metrics.jsonl"), "mse") for f in folders]
            assert trial.intermediate_values == {
                step: fmean(curve[step] for curve in curves) for step in (5, 10, 15, 20)
            }
            assert trial.value == fmean(min(curve.values()) for curve in curves)
        best = min(trials, key=lambda trial: trial.value)
        assert plan["chosen"][name] == best.params
    assert "lr=" in build(tmp_path)


def test_an_interrupted_search_resumes_with_the_same_points(tmp_path):
    declared = search_study(6, generation=3)
    assert launch(declared, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    for checks in (5, 12):
        outcome = launch(declared, tmp_path / "b", tmp_path, StopAfter(checks))
        assert outcome == "interrupted"
    assert launch(declared, tmp_path / "b", tmp_path, StopRequest()) == "completed"
    assert points(tmp_path / "a") == points(tmp_path / "b")


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


def test_an_open_cohort_continues_after_some_of_its_trials_have_ended(tmp_path):
    declared = search_study(4, seeds=(0, 1))
    folder = StudyFolder(tmp_path, declared)
    runs = [run_id(run.spec) for run in next_generation(folder, declared)]
    planned = folder.plan_runs(next_generation(folder, declared), pool(1), lambda spec: 0.0)
    write_results(folder, parabola, runs[:3])
    for launcher in (folder, StudyFolder(tmp_path, declared)):
        again = launcher.plan_runs(next_generation(launcher, declared), pool(1), lambda spec: 0.0)
        assert again == planned
    # A caller that asks for some of the runs gets these alone.
    some = next_generation(folder, declared)[5:]
    cohorts = folder.plan_runs(some, pool(1), lambda spec: 0.0)
    assert {run.spec for _, cohort in cohorts for run in cohort.runs} == {r.spec for r in some}


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


def test_a_run_below_its_threshold_is_pruned(tmp_path):
    specs = [small_spec(), small_spec(optim={"lr": 1e-6})]
    assert train(specs, tmp_path, thresholds={1: {5: 10.0, 10: 0.0}}).status == "completed"
    results = [read_json(tmp_path / str(k) / "result.json") for k in range(2)]
    assert [(r["status"], r["steps"]) for r in results] == [("completed", 20), ("pruned", 10)]
    assert read_json(tmp_path / "1" / "run.json")["status"] == "pruned"
    assert results[1]["test"]["mse"] > 0


def test_pruning_follows_the_median_rule(tmp_path):
    """Compared with Optuna's own pruner on the same trials."""
    declared = search_study(12, seeds=(0,), grace=1)
    assert launch(declared, tmp_path, tmp_path, StopRequest()) == "completed"
    pruner, pruned = optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=6), 0
    for name in ("lstm", "rnn"):
        trials = journal(tmp_path, name)
        assert all(trial.state.name == "COMPLETE" for trial in trials[:4])
        for trial in trials:
            earlier = optuna.create_study()
            before = trials[: trial.number // 4 * 4]
            earlier.add_trials([t for t in before if t.state.name == "COMPLETE"])
            values = dict(trial.intermediate_values)
            pruned_at = None
            for step in sorted(values):
                part = {k: v for k, v in values.items() if k <= step}
                frozen = running_trial(trial, part)
                if trial.number >= 4 and pruner.prune(earlier, frozen):
                    pruned_at = step
                    break
            assert (trial.state.name == "PRUNED") == (pruned_at is not None)
            if pruned_at is not None:
                assert trial.last_step == pruned_at < 20
                pruned += 1
    assert pruned > 0
    chosen = read_json(tmp_path / "study.json")["chosen"]
    for name in ("lstm", "rnn"):
        complete = [t for t in journal(tmp_path, name) if t.state.name == "COMPLETE"]
        assert chosen[name] == min(complete, key=lambda trial: trial.value).params


def running_trial(trial, values):
    """Returns a trial in the state in which it had reported only these values."""
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.RUNNING,
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=values,
    )


def test_a_search_samples_conditions_choices_and_integers(tmp_path):
    ranges = {
        "optim.name": Choice(("sgd", "adam")),
        "optim.momentum": Conditional({"optim.name": "sgd"}, LogUniform(0.01, 1.0, one_minus=True)),
        "model.hidden": LogUniform(3, 12, integer=True),
        "optim.clip": Choice((None, 1.0)),
    }
    declared = Study(
        "mixed",
        BASE,
        (grid("model.cell", ("lstm",)),),
        (),
        tuning=Tuning(trials=Search(20, ranges, generation=5)),
    )
    folder = StudyFolder(tmp_path, declared)
    assert run_search(folder, declared, lambda point: point["model.hidden"]) == [5, 5, 5, 5]
    tuned_points = [point for _, point, _ in points(tmp_path).values()]
    assert {point["optim.name"] for point in tuned_points} == {"sgd", "adam"}
    assert {point["optim.clip"] for point in tuned_points} == {None, 1.0}
    for point in tuned_points:
        assert ("optim.momentum" in point) == (point["optim.name"] == "sgd")
        assert 0 <= point.get("optim.momentum", 0) <= 0.99
        assert point["model.hidden"] in range(3, 13)
    assert sorted(seed for _, _, seed in points(tmp_path).values()) == list(range(20))


def test_a_failed_run_fails_only_its_own_trial(tmp_path, monkeypatch):
    from lstm_lab.studies import run as run_module
    from lstm_lab.training.loop import CohortOutcome

    real, lost = run_module.train_cohort, set()

    def failing(cohort, *args, **options):
        if not lost:
            lost.add(cohort.checkpoints)
        if cohort.checkpoints in lost:
            return CohortOutcome("failed", "lightning")
        return real(cohort, *args, **options)

    monkeypatch.setattr(run_module, "train_cohort", failing)
    declared = search_study(8, seeds=(0,))
    assert launch(declared, tmp_path, tmp_path, StopRequest()) == "failed"
    states = [trial.state.name for name in ("lstm", "rnn") for trial in journal(tmp_path, name)]
    assert states.count("FAIL") == 4
    assert states.count("COMPLETE") == 12


def test_invalid_searches_are_rejected():
    with pytest.raises(UserError, match="search: generation: got 0, expected 1 or more"):
        Search(3, RANGES, generation=0)
    with pytest.raises(UserError, match="got a search with axes"):
        Tuning((grid("optim.lr", (0.1,)),), (0,), trials=Search(3, RANGES))

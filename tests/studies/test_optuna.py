"""Adaptive search: points, means over seeds, pruning, failed runs."""

from statistics import fmean

import optuna
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.report.render.files import build
from lstm_lab.studies import Choice, Conditional, LogUniform, Search, Study, Tuning, grid
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.optuna import next_generation
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines, valid_by_step
from tests.helpers.search import (
    RANGES,
    journal,
    parabola,
    points,
    run_search,
    search_study,
    write_results,
)
from tests.helpers.sweep import BASE, pool
from tests.helpers.training import small_spec, train


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

"""Seeds in groups: a study that stops early and one that does not; kills, archives, launchers."""

import json
import random

import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.report.comparison import compare
from lstm_lab.report.render.files import build
from lstm_lab.report.runs import read_study
from lstm_lab.statistics.hypotheses import welch
from lstm_lab.statistics.sequential import nominal_levels
from lstm_lab.studies import Claim, Reproduces, Scores, Sequential, Tuning, grid
from lstm_lab.studies import run as run_module
from lstm_lab.studies.archive import pack
from lstm_lab.studies.dry_run import preview
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.run import launch
from lstm_lab.studies.sequential import due_runs, record_look
from lstm_lab.studies.status import describe
from lstm_lab.training.loop import CohortOutcome, StopRequest
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.paths import ROOT
from tests.helpers.sweep import pool, tiny_study
from tests.helpers.training import StopAfter

THREE = (grid("model.cell", ("lstm", "rnn", "gru")),)
LOOKS = Sequential(first=4, step=4)


def looks_study(**options):
    """Returns a study of three cells with looks after 4, 8, 12 and 14 seeds."""
    defaults = {"axes": THREE, "seeds": tuple(range(10, 24)), "sequential": LOOKS}
    return tiny_study(**{**defaults, **options})


def score(run):
    """Scores as far apart as rnn, which is much worse, and gru, which is equal to lstm."""
    noise = np.random.default_rng([run.spec.seed, len(run.variant), ord(run.variant[0])]).normal()
    return {"rnn": 1.5}.get(run.variant, 1.0) + 0.1 * noise


def write_results(folder, runs, value=score):
    for run in runs:
        path = folder.run_folder(run_id(run.spec)) / "result.json"
        if not path.exists():
            best = {"step": 1, "valid": {"mse": value(run)}}
            result = {"status": "completed", "best": best, "test": {"mse": value(run)}}
            write_json(path, {"id": path.parent.name, **result})


def steps(workdir, study, value=score):
    """Runs a study as `launch` does, with written results; gives control back after each step."""
    folder = StudyFolder(workdir, study)
    while True:
        runs = due_runs(folder, study)
        folder.plan_runs(runs, pool(1), lambda spec: 0.0)
        yield
        for run in runs:
            write_results(folder, [run], value)
            yield
        if not record_look(folder, study):
            return
        yield


def contents(folder):
    """Returns the plan, and the runs with a result."""
    plan = read_json(folder / "study.json")
    return plan, {path.parent.name for path in folder.glob("runs/*/result.json")}


def test_a_decided_variant_gets_no_more_seeds(tmp_path):
    study = looks_study()
    list(steps(tmp_path, study))
    plan = read_json(tmp_path / "study.json")
    seeds = {name: [] for name in ("lstm", "rnn", "gru")}
    for row in plan["runs"].values():
        seeds[row["variant"]].append(row["seed"])
    # Five deviations are enough for the limit of the second look, not for that of the first.
    assert seeds == {"lstm": [*range(10, 24)], "rnn": [*range(10, 18)], "gru": [*range(10, 24)]}
    assert [look["seeds"] for look in plan["looks"]] == [4, 8, 12, 14]
    verdicts = [{n: v["verdict"] for n, v in look["variants"].items()} for look in plan["looks"]]
    undecided = {"gru": "undecided"}
    first = {"rnn": "undecided", **undecided}
    assert verdicts == [first, {"rnn": "worse", **undecided}, undecided, undecided]
    # Bonferroni for two variants; the p-values are those of Welch's test over the seeds so far.
    limits = nominal_levels((4, 8, 12, 14), 0.025)
    assert [look["limit"] for look in plan["looks"]] == limits
    scores = {
        name: [score(r) for r in due_runs(StudyFolder(tmp_path, study), study) if r.variant == name]
        for name in ("lstm", "gru")
    }
    for look in plan["looks"]:
        p = welch(scores["gru"][: look["seeds"]], scores["lstm"][: look["seeds"]])
        assert look["variants"]["gru"]["p"] == pytest.approx(p)


def test_the_plan_depends_only_on_results(tmp_path):
    """Two launchers that alternate at random, and kills between all steps, change nothing."""
    study = looks_study()
    list(steps(tmp_path / "a", study))
    for seed in range(3):
        rng, folder = random.Random(seed), tmp_path / f"b{seed}"
        launchers = [steps(folder, study) for _ in range(2)]
        while launchers:
            number = rng.randrange(len(launchers))
            # A killed launcher is replaced by a new one, which begins from the folder.
            if rng.random() < 0.05:
                launchers[number] = steps(folder, study)
            try:
                next(launchers[number])
            except StopIteration:
                del launchers[number]
        assert contents(folder) == contents(tmp_path / "a")
    # With other results, other seeds are due.
    list(steps(tmp_path / "c", study, lambda run: score(run) + 8.0 * (run.variant == "rnn")))
    assert contents(tmp_path / "c")[0]["runs"] != contents(tmp_path / "a")[0]["runs"]


def test_a_rope_ends_equal_variants_and_belongs_to_the_study(tmp_path):
    study = looks_study(rope=1.0)
    list(steps(tmp_path, study))
    plan = read_json(tmp_path / "study.json")
    assert plan["looks"][0]["variants"]["gru"]["verdict"] == "equivalent"
    assert plan["looks"][0]["variants"]["gru"]["equal"] > 0.95
    with pytest.raises(UserError, match=r"differs in sequential.rope: 1.0"):
        StudyFolder(tmp_path, looks_study(rope=2.0))


def test_a_variant_without_scores_gets_no_more_seeds(tmp_path):
    study = looks_study(axes=(grid("model.cell", ("lstm", "rnn")),))
    folder = StudyFolder(tmp_path, study)
    runs = due_runs(folder, study)
    folder.plan_runs(runs, pool(1), lambda spec: 0.0)
    write_results(folder, [run for run in runs if run.variant == "lstm"])
    assert record_look(folder, study)  # still waits
    for run in runs:
        if run.variant == "rnn":
            result = {"status": "diverged", "best": {"valid": {}}, "test": {}}
            write_json(folder.run_folder(run_id(run.spec)) / "result.json", result)
    assert not record_look(folder, study)
    (look,) = folder.plan["looks"]
    assert look["variants"]["rnn"]["verdict"] == "no score"
    assert read_json(tmp_path / "study.json")["looks"][0]["variants"]["rnn"]["p"] is None


def test_a_sweep_trains_groups_resumes_and_continues_from_an_archive(tmp_path):
    study = tiny_study(seeds=(10, 11, 12), sequential=Sequential(first=2, step=1, alpha=0.5))
    assert launch(study, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    plan, results = contents(tmp_path / "a")
    assert len(results) == len(plan["runs"]) == 2 * plan["looks"][-1]["seeds"]
    assert launch(study, tmp_path / "b", tmp_path, StopAfter(2)) == "interrupted"
    assert launch(study, tmp_path / "b", tmp_path, StopRequest()) == "completed"
    assert contents(tmp_path / "b")[1] == results
    assert [k["seeds"] for k in contents(tmp_path / "b")[0]["looks"]] == [
        k["seeds"] for k in plan["looks"]
    ]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("a/runs/*/result.json")}
    assert launch(study, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    assert {path: path.stat().st_mtime_ns for path in times} == times
    pack(tmp_path / "a", tmp_path / "archive.gz")
    launch(study, tmp_path / "c", tmp_path, StopRequest(), results=tmp_path / "archive.gz")
    again, taken_over = contents(tmp_path / "c")
    assert (again["runs"], again["looks"], taken_over) == (plan["runs"], plan["looks"], results)
    assert not list(tmp_path.glob("c/runs/*/metrics.jsonl"))


def test_a_failed_run_stops_the_looks(tmp_path, monkeypatch):
    study = tiny_study(seeds=(10, 11, 12), sequential=Sequential(first=2, step=1))
    monkeypatch.setattr(
        run_module, "train_cohort", lambda *_, **__: CohortOutcome("failed", "lightning")
    )
    assert launch(study, tmp_path, tmp_path, StopRequest()) == "failed"
    plan = read_json(tmp_path / "study.json")
    assert ("looks" in plan, len(plan["runs"])) == (False, 4)


def test_the_report_rests_on_the_looks(tmp_path):
    study = looks_study(rope=0.01)
    list(steps(tmp_path, study))
    comparison = compare(read_study(tmp_path))
    rows = {row.variant: row for row in comparison.rows}
    assert (rows["rnn"].verdict, rows["gru"].verdict) == ("worse", "no difference shown")
    assert rows["lstm"].look is None
    assert np.isnan([row.p_holm for row in comparison.rows]).all()
    # The baseline has 14 seeds, rnn 8: both are compared over the same 8.
    scores = {name: row.scores for name, row in rows.items()}
    assert (len(scores["lstm"]), len(scores["rnn"])) == (14, 8)
    assert rows["rnn"].p_welch == welch(scores["rnn"], scores["lstm"][:8])
    assert rows["rnn"].look.p == pytest.approx(rows["rnn"].p_welch)
    assert rows["rnn"].failures == {}
    assert comparison.counts == {"completed": 36}
    assert "  look after 8 seeds: rnn worse, gru undecided" in describe(tmp_path)
    text = build(tmp_path)
    assert "p (last look)" in text
    assert "p (Holm)" not in text
    assert "rnn after 8" in text
    assert (
        "Significantly different from lstm: rnn." in (tmp_path / "report" / "report.md").read_text()
    )
    numbers = json.loads((tmp_path / "report" / "report.json").read_text())
    assert next(r for r in numbers["rows"] if r["variant"] == "rnn")["look"]["verdict"] == "worse"


def test_a_report_before_the_first_look_has_no_verdict(tmp_path):
    running = steps(tmp_path, looks_study())
    for _ in range(6):
        next(running)
    rows = compare(read_study(tmp_path)).rows
    assert {row.verdict for row in rows} == {"", "undecided so far"}
    build(tmp_path)


def test_a_dry_run_names_the_least_and_the_most(tmp_path):
    text = preview(looks_study(), tmp_path)
    assert "12 runs in" in text
    assert "looks after 4, 8, 12, 14 seeds: 12 final runs, about" in text
    assert "if the first look decides every comparison; 42, about" in text


def test_tuning_on_another_task_leaves_the_cost_of_the_looks(tmp_path):
    shorter = Tuning((grid("optim.lr", (0.1, 0.01)),), (0,), {"task.length": 4})
    text = preview(looks_study(tuning=shorter), tmp_path)
    assert "6 runs in" in text
    assert "looks after 4, 8, 12, 14 seeds: 12 final runs, about" in text


def test_the_page_on_seeds_names_what_is_refused_with_looks():
    text = (ROOT / "docs" / "how_to" / "seeds.md").read_text()
    last = text[text.rindex("- It is refused with") :]
    for name in ("Claim", "Equivalent", "Reproduces", "test_metric", "folds"):
        assert f"`{name}`" in last
    # Two tasks: tests/studies/test_study.py.
    assert "variants on several tasks" in last


def test_impossible_looks_are_refused():
    for options, message in (
        ({"baseline": None}, "baseline: got None, expected a variant with sequential"),
        ({"folds": 5}, "folds: got 5, expected None with sequential"),
        ({"test_metric": "mae"}, "test_metric: got mae, expected None with sequential"),
        ({"seeds": (1, 2, 3, 4)}, "seeds: got 4, expected more than 4"),
        ({"claims": (Claim("lstm", "rnn"),)}, r"claims: got \['better'\]"),
        (
            {"claims": (Reproduces("lstm", "mse", 0.1, 0.05, "a paper"),)},
            r"claims: got \['reproduces'\]",
        ),
    ):
        with pytest.raises(UserError, match=message):
            looks_study(**options)
    looks_study(claims=(Scores("lstm", "mse", at_most=1.0),))
    for options, message in (
        ({"first": 1}, "sequential: first: got 1, expected 2 or more"),
        ({"step": 0}, "sequential: step: got 0"),
        ({"alpha": 1.0}, "sequential: alpha: got 1.0"),
    ):
        with pytest.raises(UserError, match=message):
            Sequential(**options)

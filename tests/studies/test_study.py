"""Studies: runs, plans that are made once, second launches, tuning on validation."""

import copy
import gzip
import json

import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.results.lease import acquire_lease
from lstm_lab.results.run_files import lease_folder
from lstm_lab.results.study_file import read_plan
from lstm_lab.studies import (
    Choice,
    Claim,
    Conditional,
    LogUniform,
    Matters,
    Reproduces,
    Scores,
    Sequential,
    Trials,
    Tuning,
    Uniform,
    grid,
)
from lstm_lab.studies.archive import pack
from lstm_lab.studies.declaration import declaration, results_part
from lstm_lab.studies.expand import final_runs, tuning_runs, variants
from lstm_lab.studies.folder import StudyFolder, choose_points
from lstm_lab.studies.run import launch
from lstm_lab.studies.status import describe
from lstm_lab.tasks import TASKS
from lstm_lab.training.loop import StopRequest
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json, write_lines
from tests.helpers.sweep import TUNED, pool, tiny_study
from tests.helpers.training import StopAfter, run_record


def no_tokens(spec):
    """Returns the length of a run for the planner: zero, so only compilation has a cost."""
    return 0.0


TRIALS = Tuning(
    trials=Trials(
        2,
        {
            "optim.name": Choice(("adam", "sgd")),
            "optim.lr": LogUniform(0.001, 0.1),
            "optim.momentum": Conditional({"optim.name": "sgd"}, Uniform(0.0, 0.9)),
        },
    )
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": ()}, "got no runs"),
        ({"axes": (grid("model.cell", ()),)}, "got no runs"),
        ({"baseline": "lstn"}, "baseline: .*'lstn'.*did you mean 'lstm'"),
        ({"test_metric": "mea"}, "test_metric: got 'mea'; did you mean 'mse'"),
        ({"claims": (Scores("gru", "mse", at_most=1.0),)}, r"claims\[0\].variant: .*'gru'"),
        (
            {"claims": (Reproduces("gru", "mse", 0.1, 0.05, "a paper"),)},
            r"claims\[0\].variant: .*'gru'",
        ),
        (
            {"claims": (Scores("lstm", "msee", at_most=1.0),)},
            r"claims\[0\].metric: got 'msee'; did you mean 'mse'",
        ),
        (
            {
                "claims": (
                    Scores("lstm", "mse", at_most=1.0),
                    Reproduces("rnn", "nll", 1.0, 0.1, "a paper"),
                )
            },
            r"claims\[1\].metric: got 'nll', expected one of mse, mae",
        ),
        (
            {"axes": (grid("model.cell", ("lstm",)),), "sequential": Sequential(first=2)},
            "axes: got 1 variant, expected 2 or more with sequential",
        ),
        (
            {
                "axes": (grid("task.length", (5, 6)), grid("model.cell", ("lstm", "rnn"))),
                "baseline": "length=5 cell=lstm",
                "sequential": Sequential(first=2),
                "claims": (),
            },
            "sequential: got variants on 2 tasks, expected one task",
        ),
        ({"claims": (Claim("lstm", "gru"),)}, r"claims\[0\].worse: .*'gru'"),
        (
            {"claims": (Matters("optim.lr"),)},
            r"claims\[0\].setting: got 'optim.lr', expected a study with tuning.trials",
        ),
        (
            {"claims": (Matters("optim.lrr"),), "tuning": TRIALS},
            r"claims\[0\].setting: got 'optim.lrr'; did you mean 'optim.lr'",
        ),
        (
            {"claims": (Matters("optim.momentum"),), "tuning": TRIALS},
            r"claims\[0\].setting: got 'optim.momentum', which only some trials have",
        ),
        (
            {"tuning": Tuning((grid("optim.lr", (0.1,)),), (10,))},
            r"got \[10\] in seeds and",
        ),
    ],
)
def test_invalid_studies_are_rejected(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        variants(tiny_study(**options))
    with pytest.raises(UserError, match=message):
        launch(tiny_study(**options), tmp_path / "s", tmp_path, StopRequest())
    assert not (tmp_path / "s").exists()


WAVES = {
    "task": {"name": "waves", "file": "a.csv", "labels": ("1", "2")},
    "train": {"epochs": 1},
}


@pytest.mark.parametrize(
    "options", [{}, {"match": "parameters"}, {"base": WAVES, "folds": 3}], ids=str
)
def test_runs_that_differ_in_seeds_have_the_specs_of_lone_runs(options):
    """The spec of one seed is copied for the others."""
    seeds = (3, 5, 4, 2**32 - 1)
    runs = final_runs(tiny_study(seeds=seeds, **options), {})
    alone = [final_runs(tiny_study(seeds=(seed,), **options), {}) for seed in seeds]
    assert runs == [run for variant in zip(*alone, strict=True) for run in variant]
    assert [run.spec.seed for run in runs] == [*seeds, *seeds]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "one"])
def test_a_wrong_seed_is_refused_wherever_it_stands(seed):
    with pytest.raises(UserError, match="seed"):
        final_runs(tiny_study(seeds=(1, seed)), {})


def test_seeds_select_the_folds_of_a_cross_validation():
    runs = final_runs(tiny_study(base=WAVES, seeds=(0, 1, 2, 3, 4), folds=3), {})
    assert [(r.spec.seed, r.spec.task.folds, r.spec.task.fold) for r in runs[:5]] == [
        (0, 3, 0),
        (1, 3, 1),
        (2, 3, 2),
        (3, 3, 0),
        (4, 3, 1),
    ]
    with pytest.raises(UserError, match="folds: got 2, expected 3 or more"):
        tiny_study(folds=2)


def test_results_of_an_earlier_meaning_are_not_counted(tmp_path):
    janet = tiny_study(axes=(grid("model.cell", ("janet",)),), baseline=None)
    runs = final_runs(janet, {})
    folder = StudyFolder(tmp_path, janet)
    folder.plan_runs(runs, pool(1), no_tokens)
    plan = read_json(tmp_path / "study.json")
    # As a version would have written it in which the same settings had other ids.
    first = run_id(runs[0].spec)
    plan["runs"] = {"earlier" if k == first else k: row for k, row in plan["runs"].items()}
    plan["cohorts"] = {}
    write_json(tmp_path / "study.json", plan)
    with pytest.raises(UserError, match="a setting of janet meant something else; choose another"):
        StudyFolder(tmp_path, janet).plan_runs(runs, pool(1), no_tokens)


def test_a_packed_result_says_what_its_settings_meant(tmp_path):
    janet = tiny_study(axes=(grid("model.cell", ("janet",)),), baseline=None, seeds=(1,))
    assert launch(janet, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    archive = tmp_path / "runs.jsonl.gz"
    pack(tmp_path / "a", archive)
    (row,) = [json.loads(line) for line in gzip.decompress(archive.read_bytes()).splitlines()]
    assert row["redefined"] == {"cell": 2}
    launch(janet, tmp_path / "b", tmp_path, StopRequest(), results=archive)
    assert not list((tmp_path / "b").glob("runs/*/metrics.jsonl"))
    del row["redefined"]  # an archive of an earlier version
    archive.write_bytes(gzip.compress(json.dumps(row).encode()))
    launch(janet, tmp_path / "c", tmp_path, StopRequest(), results=archive)
    assert len(list((tmp_path / "c").glob("runs/*/metrics.jsonl"))) == 1


def test_a_rope_changes_the_report_and_not_the_results():
    one, other = (declaration(tiny_study(rope=rope)) for rope in (0.0, 0.1))
    assert other["rope"] == 0.1
    assert results_part(one) == results_part(other)
    with pytest.raises(UserError, match="rope: got -0.1, expected 0 or more"):
        tiny_study(rope=-0.1)


def test_seeds_that_repeat_and_shares_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"seeds: got \(1, 2, 1\), expected each seed once"):
        tiny_study(seeds=(1, 2, 1))
    with pytest.raises(UserError, match=r"tuning: seeds: got \(0, 0\), expected each seed once"):
        Tuning(axes=(grid("optim.lr", (0.1,)),), seeds=(0, 0))
    for top in (-3.0, 0.0, 1.5):
        with pytest.raises(UserError, match=f"top: got {top}, expected more than 0 and at most 1"):
            tiny_study(top=top)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tiny_study(seeds=3), r"seeds: got 3, expected several, such as \(3,\)"),
        (lambda: tiny_study(axes=grid("optim.lr", (0.1,))), r"axes: got one Axis, .* \(axis,\)"),
        (lambda: tiny_study(axes=("optim.lr",)), r"got 'optim.lr', expected an axis \(grid, zi"),
        (lambda: tiny_study(claims=Claim("a", "b")), r"claims: got one Claim, .* \(claim,\)"),
        (lambda: tiny_study(claims=["a > b"]), r"claims: got 'a > b', expected one such as Claim"),
        (
            lambda: tiny_study(groups={"gated": "lstm"}),
            r"groups\[gated\]: got 'lstm', expected several",
        ),
        (lambda: Tuning(seeds=3), "tuning: seeds: got 3, expected several"),
        (lambda: Tuning(grid("optim.lr", (0.1,)), seeds=(0,)), "tuning: axes: got one Axis"),
    ],
)
def test_one_value_instead_of_several_is_refused_where_it_stands(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_the_task_declares_the_direction_of_a_final_metric(monkeypatch):
    assert declaration(tiny_study())["test_direction"] == "min"
    study = tiny_study(test_metric="mae")
    assert (study.ranking_direction, declaration(study)["test_direction"]) == ("min", "min")
    with pytest.raises(UserError, match="test_metric: got 'carry', expected one of mse, mae"):
        variants(tiny_study(test_metric="carry"))
    for direction in ("min", "max"):
        monkeypatch.setattr(TASKS["adding"], "final_metric_directions", {"carry": direction})
        study = tiny_study(test_metric="carry")
        assert variants(study)
        assert declaration(study)["test_direction"] == direction
    monkeypatch.setattr(TASKS["adding"], "final_metric_directions", {"carry": "large"})
    with pytest.raises(UserError, match="carry: got 'large', expected 'min' or 'max'"):
        declaration(tiny_study(test_metric="carry"))


def test_a_study_of_an_earlier_version_declares_no_direction(tmp_path):
    StudyFolder(tmp_path, tiny_study()).declare()
    plan = read_json(tmp_path / "study.json")
    del plan["study"]["test_direction"]
    write_json(tmp_path / "study.json", plan)
    assert read_plan(tmp_path)["study"] == plan["study"]
    assert StudyFolder(tmp_path, tiny_study()).plan["runs"] == {}


def test_the_error_names_an_unknown_setting_of_an_axis():
    with pytest.raises(UserError, match="model.hiden"):
        final_runs(tiny_study(axes=(grid("model.hiden", (3,)),), baseline=None), {})


def test_seeds_share_a_cohort_and_the_plan_is_made_once(tmp_path):
    folder = StudyFolder(tmp_path, tiny_study())
    runs = final_runs(tiny_study(), {})
    cohorts = folder.plan_runs(runs, pool(2), no_tokens)
    assert [(name, len(c.runs), c.layout.lanes) for name, c in cohorts] == [
        ("final lstm", 3, 4),
        ("final rnn", 3, 4),
    ]
    again = StudyFolder(tmp_path, tiny_study()).plan_runs(runs, pool(4), no_tokens)
    assert [c for _, c in again] == [c for _, c in cohorts]
    with pytest.raises(UserError, match="holds another study"):
        StudyFolder(tmp_path, tiny_study(seeds=(10,)))
    # What only the report reads may change, and then does.
    StudyFolder(tmp_path, tiny_study(title="another title", rope=0.1)).declare()
    study = read_json(tmp_path / "study.json")["study"]
    assert (study["title"], study["rope"]) == ("another title", 0.1)


def test_a_study_continues_after_an_update_with_new_settings(tmp_path):
    """The earlier version did not know them, and trained as their defaults do."""
    StudyFolder(tmp_path, tiny_study()).declare()
    plan = read_json(tmp_path / "study.json")
    for section, name in (("model", "merge"), ("optim", "momentum"), ("train", "eval_every")):
        older = copy.deepcopy(plan)
        del older["study"]["base"][section][name]
        write_json(tmp_path / "study.json", older)
        if name != "eval_every":
            StudyFolder(tmp_path, tiny_study())
        else:
            # The study sets it to another value: the earlier version trained something else.
            with pytest.raises(UserError, match=f"it differs in base.{section}.{name}: None"):
                StudyFolder(tmp_path, tiny_study())


def test_a_folder_with_other_files_is_rejected(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="is not empty and holds no study.json"):
        launch(tiny_study(), tmp_path, tmp_path, StopRequest())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_tuning_uses_validation_and_a_second_launch_trains_nothing(tmp_path):
    tuned = tiny_study(**TUNED, claims=(Claim("lstm", "rnn"),))
    assert len(tuning_runs(tuned)) == 8
    assert launch(tuned, tmp_path, tmp_path, StopRequest()) == "completed"
    plan = read_json(tmp_path / "study.json")
    assert len(plan["runs"]) == 8 + 6
    for variant in ("lstm", "rnn"):
        means = {}
        for k, row in plan["runs"].items():
            if row["stage"] == "tuning" and row["variant"] == variant:
                result = read_json(tmp_path / "runs" / k / "result.json")
                means.setdefault(row["point"]["optim.lr"], []).append(
                    result["best"]["valid"]["mse"]
                )
        assert plan["chosen"][variant] == {"optim.lr": min(means, key=lambda r: sum(means[r]))}
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/result.json")}
    assert launch(tuned, tmp_path, tmp_path, StopRequest()) == "completed"
    assert {p: p.stat().st_mtime_ns for p in tmp_path.glob("runs/*/result.json")} == times
    assert describe(tmp_path) == ["tiny: 14 runs, 14 planned so far", "     14 completed"]


def test_a_diverged_point_loses_and_a_missing_result_delays_the_choice(tmp_path):
    folder = StudyFolder(tmp_path, tiny_study(**TUNED))
    runs = tuning_runs(tiny_study(**TUNED))
    folder.plan_runs(runs, pool(1), no_tokens)

    def result(run, value, status="completed"):
        write_json(
            folder.run_folder(run_id(run.spec)) / "result.json",
            {"status": status, "best": {"valid": {"mse": value}}, "test": {}},
        )

    lstm = [run for run in runs if run.variant == "lstm"]
    for run in lstm[:3]:
        result(run, 0.1)
    assert choose_points(folder) == {}
    result(lstm[3], 0.5)
    assert choose_points(folder) == {"lstm": {"optim.lr": 0.1}}
    result(lstm[0], 0.0, "diverged")
    assert choose_points(folder) == {"lstm": {"optim.lr": 0.01}}


def test_an_interrupted_study_resumes_with_the_same_results_and_metrics(tmp_path):
    undisturbed, disturbed = tmp_path / "a", tmp_path / "b"
    assert launch(tiny_study(), undisturbed, tmp_path, StopRequest()) == "completed"
    outcomes = [launch(tiny_study(), disturbed, tmp_path, StopAfter(2)) for _ in range(2)]
    assert outcomes[0] == "interrupted"
    assert launch(tiny_study(), disturbed, tmp_path, StopRequest()) == "completed"
    for run in read_json(undisturbed / "study.json")["runs"]:
        a, b = run_record(undisturbed / "runs" / run), run_record(disturbed / "runs" / run)
        assert a[:2] == b[:2]


def test_a_study_resumes_on_fewer_devices_with_a_warning(tmp_path, monkeypatch, capsys):
    assert launch(tiny_study(), tmp_path, tmp_path, StopAfter(2)) == "interrupted"
    plan = read_json(tmp_path / "study.json")["cohorts"]
    layout = next(iter(plan.values()))["layout"]
    assert layout == {"kind": "batch", "devices": 4, "lanes": 3, "width": None, "hosts": 1}
    monkeypatch.setattr("jax.local_device_count", lambda: 3)
    assert launch(tiny_study(), tmp_path, tmp_path, StopRequest()) == "completed"
    assert "began on 4 devices and continues on 2: results will differ" in capsys.readouterr().err
    assert read_json(tmp_path / "study.json")["cohorts"] == plan


def test_two_points_that_give_one_run_raise(tmp_path):
    twice = tiny_study(axes=(grid("model.forget_bias", (1, 1.0)),), baseline=None)
    with pytest.raises(UserError, match=r"final 1 .* and 1.0 .*seed 10, are the same run"):
        launch(twice, tmp_path / "s", tmp_path, StopRequest())
    assert not (tmp_path / "s").exists()


def test_status_reports_a_run_without_process_as_interrupted(tmp_path):
    write_json(tmp_path / "run.json", {"status": "running", "pid": 2**22 + 1})
    assert "interrupted (its process no longer exists)" in describe(tmp_path)[0]
    with pytest.raises(UserError, match="holds neither a study nor a run"):
        describe(tmp_path / "nothing")


def test_status_shows_how_far_a_running_run_is(tmp_path):
    write_json(tmp_path / "run.json", {"status": "running", "planned_steps": 8})
    write_lines(tmp_path / "metrics.jsonl", [{"step": 2}])
    with acquire_lease(lease_folder(tmp_path)):
        assert describe(tmp_path)[0].endswith(": running, 25% of its steps done")


def test_status_shows_the_controls_of_a_foreign_folder_as_text(tmp_path):
    reason = "x\x1b[2J\x1b]0;mine\x07\n  9 completed"
    write_json(tmp_path / "run.json", {"status": "failed", "reason": reason})
    (line,) = describe(tmp_path)
    assert line.endswith("failed (x\\x1b[2J\\x1b]0;mine\\x07   9 completed)")


def test_the_plan_is_plain_json(tmp_path):
    folder = StudyFolder(tmp_path, tiny_study(**TUNED))
    assert json.loads(json.dumps(folder.plan)) == folder.plan

"""Launches: cohorts of random trials, retries after failures, archives."""

import itertools
import json
import re
import shutil
from collections import Counter
from dataclasses import replace

import jax
import pytest

from lstm_lab.models.summary import summarize
from lstm_lab.report.render.files import build
from lstm_lab.studies import LogUniform, Study, Trials, Tuning, Uniform, grid
from lstm_lab.studies import run as run_module
from lstm_lab.studies.archive import pack, unpack
from lstm_lab.studies.dry_run import preview
from lstm_lab.studies.expand import final_runs, tuning_runs
from lstm_lab.studies.failures import clear_failures
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.plan import PROGRAM_FLOPS, plan_cohorts
from lstm_lab.studies.run import launch
from lstm_lab.studies.status import describe
from lstm_lab.tasks import Adding
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import CohortOutcome, StopRequest
from lstm_lab.training.parallel import unpad
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.paths import ROOT
from tests.helpers.sweep import (
    BASE,
    TUNED,
    pool,
    tiny_study,
)
from tests.helpers.training import assert_close, run_steps

RANGES = {
    "model.hidden": LogUniform(3, 12, integer=True),
    "optim.lr": LogUniform(1e-3, 1e-1),
    "optim.momentum": LogUniform(0.01, 1.0, one_minus=True),
    "model.input_noise": Uniform(0.0, 1.0),
}


def trials(count, cells=("np", "fgr")):
    base = json.loads(json.dumps(BASE))
    base["model"]["input_noise"] = 0.0
    return Study(
        "trials",
        base,
        (grid("model.cell", cells),),
        (),
        tuning=Tuning(trials=Trials(count, RANGES, paired=False)),
    )


def planned(count, tokens):
    """Plans trials of np of `tokens` time steps each; returns runs, cohorts and padded sizes."""
    runs = {str(k): run for k, run in enumerate(tuning_runs(trials(count, ("np",))))}
    cohorts = plan_cohorts(runs, pool(2), lambda spec: tokens)
    assert sorted(name for cohort in cohorts for name in cohort.runs) == sorted(runs)
    widths = []
    for cohort in cohorts:
        hidden = {runs[name].spec.model.hidden for name in cohort.runs}
        widths.append(cohort.layout.width or max(hidden))
        assert widths[-1] >= max(hidden)
        assert cohort.layout.width is None or len(hidden) > 1
        assert cohort.layout.lanes <= 16
    return runs, cohorts, sorted(set(widths))


def test_two_hundred_trials_need_few_programs():
    """Short runs share one program, because compiling dominates; long runs have one per size."""
    runs, cohorts, widths = planned(200, 1e3)
    sizes = sorted({run.spec.model.hidden for run in runs.values()})
    assert len(sizes) == 10
    assert widths == [12]
    assert len(cohorts) == 4
    assert planned(200, 1e9)[2] == sizes


@pytest.mark.parametrize(("devices", "lanes"), [(1, {8}), (2, {8}), (3, {6})])
def test_tuning_and_final_runs_share_a_program(devices, lanes):
    """A program is compiled for a number of lanes: six tuning runs and five final ones need one."""
    tuned = tiny_study(
        axes=(grid("model.cell", ("np",)),),
        seeds=tuple(range(10, 15)),
        tuning=Tuning((grid("optim.lr", (0.1, 0.01, 0.001)),), (0, 1)),
        baseline=None,
    )
    planned = []
    for runs in (tuning_runs(tuned), final_runs(tuned, {"np": {"optim.lr": 0.1}})):
        by_id = {str(k): run for k, run in enumerate(runs)}
        planned += plan_cohorts(by_id, pool(devices), lambda spec: 1e3)
    assert [len(cohort.runs) for cohort in planned] == [6, 5]
    assert {cohort.layout.lanes for cohort in planned} == lanes


@pytest.mark.parametrize("tokens", [1e5, 1e6, 3e6, 1e7])
def test_buckets_minimize_the_cost_of_programs_and_padding(tokens):
    """Compared with every split of the sizes, with the FLOP of each size counted exactly."""
    runs, _, widths = planned(40, tokens)
    load = Counter(run.spec.model.hidden for run in runs.values())
    sizes = sorted(load)
    spec = runs["0"].spec
    flops = {
        size: summarize(
            replace(spec, model=replace(spec.model, hidden=size))
        ).training_flops_per_token
        for size in sizes
    }

    def cost(widths):
        width_of = {size: min(w for w in widths if w >= size) for size in sizes}
        return len(widths) * PROGRAM_FLOPS["cpu"] + sum(
            n * tokens * flops[width_of[size]] for size, n in load.items()
        )

    splits = [
        [*chosen, sizes[-1]]
        for n in range(len(sizes))
        for chosen in itertools.combinations(sizes[:-1], n)
    ]
    assert cost(widths) == pytest.approx(min(map(cost, splits)), rel=1e-9)


def test_members_of_a_planned_cohort_equal_their_lone_runs():
    """Ten steps of plain SGD, for the narrowest, a middle and the widest member."""
    runs, cohorts, _ = planned(60, 1e6)
    cohort = max(cohorts, key=lambda cohort: len(cohort.runs))
    members = sorted((runs[name].spec for name in cohort.runs), key=lambda s: s.model.hidden)
    specs = [
        replace(spec, optim=replace(spec.optim, momentum=0.0))
        for spec in (members[0], members[len(members) // 2], members[-1])
    ]
    assert specs[0].model.hidden < specs[-1].model.hidden == cohort.layout.width
    dataset = specs[0].task.load(ROOT)
    layout = replace(cohort.layout, kind="members", devices=2, lanes=4)
    losses, params = run_steps(specs, layout, dataset)
    for lane, spec in enumerate(specs):
        lone_losses, lone_params = run_steps([spec], Layout("single", 1, 1), dataset)
        assert_close(losses[:, lane], lone_losses[:, 0])
        padded = jax.tree.map(lambda a, k=lane: a[k], params)
        assert_close(unpad(layout, spec, padded), jax.tree.map(lambda a: a[0], lone_params))


def test_a_dry_run_shows_programs_memory_and_time(tmp_path):
    text = preview(trials(30), tmp_path)
    assert "and 40 more" in text
    assert "60 runs in " in text
    assert "GFLOP/s of a device's matrix product" in text
    assert "MiB" in text
    assert not list(tmp_path.iterdir())


def test_a_dry_run_tells_the_time_of_the_final_runs_too(tmp_path):
    (line,) = [row for row in preview(tiny_study(**TUNED), tmp_path).splitlines() if "then" in row]
    assert re.search(r"2 variants x seeds 10, 11, 12: 6 runs, about \d+s$", line)


def test_a_study_of_trials_compares_the_best_tenth(tmp_path):
    two_variants = trials(10)
    assert launch(two_variants, tmp_path, tmp_path, StopRequest()) == "completed"
    text = build(tmp_path)
    assert "the best 10% of each variant's trials" in text
    plan = read_json(tmp_path / "study.json")
    for cell in ("np", "fgr"):
        ids = [k for k, row in plan["runs"].items() if row["variant"] == cell]
        results = [read_json(tmp_path / "runs" / k / "result.json") for k in ids]
        best = min(results, key=lambda r: r["best"]["valid"]["mse"])
        assert f"{best['test']['mse']:.4f}" in text


def test_an_archive_replaces_training(tmp_path):
    tiny = trials(2)
    assert launch(tiny, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    assert pack(tmp_path / "a", tmp_path / "runs.jsonl.gz") == 4
    content = (tmp_path / "runs.jsonl.gz").read_bytes()
    pack(tmp_path / "a", tmp_path / "runs.jsonl.gz")
    assert (tmp_path / "runs.jsonl.gz").read_bytes() == content
    archive = tmp_path / "runs.jsonl.gz"
    larger_study = trials(3)
    assert (
        launch(larger_study, tmp_path / "b", tmp_path, StopRequest(), results=archive)
        == "completed"
    )
    trained = list((tmp_path / "b").glob("runs/*/metrics.jsonl"))
    assert len(trained) == 2
    heads = {run.name: read_json(run / "run.json") for run in (tmp_path / "b" / "runs").iterdir()}
    redefined = {run: head.get("redefined", {}) for run, head in heads.items()}
    assert unpack(archive, tmp_path / "b", redefined) == 0
    # Results of a setting that meant something else then are not taken over.
    for run in (tmp_path / "b" / "runs").iterdir():
        shutil.rmtree(run)
    planned = read_json(tmp_path / "b" / "study.json")["runs"]
    assert unpack(archive, tmp_path / "b", {k: {"cell": 2} for k in planned}) == 0
    assert unpack(archive, tmp_path / "b", redefined) == 4


def test_a_study_with_all_results_reads_no_data(tmp_path, monkeypatch):
    tuned = tiny_study(**TUNED)
    archive = tmp_path / "runs.jsonl.gz"
    assert launch(tuned, tmp_path / "a", tmp_path, StopRequest()) == "completed"
    pack(tmp_path / "a", archive)
    read = []
    load = Adding.load
    monkeypatch.setattr(Adding, "load", lambda task, folder: read.append(1) or load(task, folder))
    folder = tmp_path / "b"
    assert launch(tuned, folder, tmp_path, StopRequest(), results=archive) == "completed"
    assert launch(tuned, folder, tmp_path, StopRequest()) == "completed"
    assert describe(folder) == ["tiny: 14 runs, 14 planned so far", "     14 completed"]
    assert build(folder).splitlines()[1:] == build(tmp_path / "a").splitlines()[1:]
    assert not read
    # Only the lost result is trained again.
    lost = next(folder.glob("runs/*/result.json"))
    lost.unlink()
    assert launch(tuned, folder, tmp_path, StopRequest()) == "completed"
    assert lost.exists()
    assert len(list(folder.glob("runs/*/metrics.jsonl"))) == len(read) == 1


def replace_outcomes(monkeypatch, outcomes):
    """Replaces the outcomes of the first cohorts; later ones train. Returns the lanes of each."""
    real = run_module.train_cohort
    lanes = []

    def train(cohort, *args, **kwargs):
        lanes.append(cohort.layout.lanes)
        if outcomes:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        return real(cohort, *args, **kwargs)

    monkeypatch.setattr(run_module, "train_cohort", train)
    return lanes


def test_cohorts_whose_program_is_compiled_come_first(tmp_path, monkeypatch):
    """Several processes would otherwise compile most programs each."""
    monkeypatch.setattr("jax.local_device_count", lambda: 1)
    tuned = tiny_study(**TUNED)
    assert launch(tuned, tmp_path, tmp_path, StopRequest()) == "completed"
    # As if another process had trained the tuning runs of lstm.
    for result in tmp_path.glob("runs/*/result.json"):
        row = read_json(tmp_path / "study.json")["runs"][result.parent.name]
        if row["stage"] == "final" or row["variant"] == "rnn":
            result.unlink()
    trained = []
    real = run_module.train_cohort

    def train(cohort, *args, **kwargs):
        trained.append(cohort.runs[0].spec.model.cell)
        return real(cohort, *args, **kwargs)

    monkeypatch.setattr(run_module, "train_cohort", train)
    assert launch(tuned, tmp_path, tmp_path, StopRequest()) == "completed"
    assert trained == ["rnn", "rnn", "lstm"]


def test_out_of_memory_halves_the_lanes_and_tries_again(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.local_device_count", lambda: 1)
    lanes = replace_outcomes(
        monkeypatch, [CohortOutcome("out_of_memory", "RESOURCE_EXHAUSTED")] * 2
    )
    one = tiny_study(axes=(grid("model.cell", ("lstm",)),), seeds=tuple(range(8)))
    assert launch(one, tmp_path, tmp_path, StopRequest()) == "completed"
    assert lanes == [8, 4, 2]
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 8


def test_an_error_is_retried_once(tmp_path, monkeypatch):
    lanes = replace_outcomes(monkeypatch, [RuntimeError("no such luck")] * 3)
    assert launch(tiny_study(), tmp_path, tmp_path, StopRequest()) == "failed"
    assert len(lanes) == 4  # lstm and rnn take turns, and the second attempt of rnn succeeds
    folder = StudyFolder(tmp_path, tiny_study())
    failed = sorted(len(read_lines(p)) for p in tmp_path.glob("cohorts/*/failures.jsonl"))
    assert failed == [1, 2]
    row = read_lines(next(tmp_path.glob("cohorts/*/failures.jsonl")))[0]
    assert row["reason"] == "RuntimeError: no such luck"
    assert row["trace"].startswith("Traceback")
    assert launch(tiny_study(), tmp_path, tmp_path, StopRequest()) == "failed"
    assert len(lanes) == 4  # no retries left
    text = "\n".join(describe(tmp_path))
    assert "failed 2 times: RuntimeError: no such luck" in text
    assert "    RuntimeError: no such luck" in text
    clear_failures(folder.folder)
    assert launch(tiny_study(), tmp_path, tmp_path, StopRequest()) == "completed"


def test_three_failures_for_one_reason_stop_the_sweep(tmp_path, monkeypatch, capsys):
    lanes = replace_outcomes(monkeypatch, [RuntimeError("no such file")] * 100)
    many = tiny_study(
        axes=(grid("optim.name", ("sgd", "adam", "adamw", "rmsprop")),), baseline=None
    )
    assert launch(many, tmp_path, tmp_path, StopRequest()) == "failed"
    assert len(lanes) == 3
    assert (
        "3 cohorts failed for the same reason: RuntimeError: no such file"
        in capsys.readouterr().err
    )


def test_a_retry_keeps_the_layout_of_the_devices_here(tmp_path, monkeypatch):
    """The study was planned on four devices, and continues on one."""
    folder = StudyFolder(tmp_path, tiny_study())
    runs = final_runs(tiny_study(), {})
    folder.plan_runs(runs, pool(4), lambda spec: 100.0)
    for _, cohort in folder.plan_runs(runs, pool(1), lambda spec: 100.0):
        assert folder.with_planned_layout(cohort, 1).layout == cohort.layout

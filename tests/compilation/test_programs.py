"""Runs that share a program, and a report for each program."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import jax
import pytest

import lstm_lab as ll
from lstm_lab.compilation.programs import (
    compile_programs,
    load_datasets,
    run_program,
    seed_programs,
    study_programs,
    study_runs,
)
from lstm_lab.compilation.targets import find_target
from lstm_lab.config.serialization import to_json
from lstm_lab.studies import Tuning, grid
from lstm_lab.training.layout import Layout
from lstm_lab.utils.errors import UserError
from tests.helpers.sweep import tiny_study
from tests.helpers.training import small_spec

SPEC = small_spec()
DATASETS = {SPEC.task: SPEC.task.load(Path("nowhere"))}


def planned(study, target):
    datasets = load_datasets(study_runs(study), Path("nowhere"))
    return study_programs(study, datasets, find_target(target))


def test_axes_that_are_arguments_of_a_program_do_not_multiply_programs():
    study = tiny_study(
        axes=(grid("model.cell", ("np", "gru")),),
        seeds=tuple(range(5)),
        tuning=Tuning((grid("optim.lr", (0.1, 0.01, 0.001)),), (7, 8)),
        baseline=None,
    )
    programs = planned(study, "h100")
    # Six lanes for tuning and five for final runs, of each cell.
    assert sorted((p.variants, p.layout.lanes, p.runs) for p in programs) == [
        (("gru",), 5, 5),
        (("gru",), 6, 6),
        (("np",), 5, 5),
        (("np",), 6, 6),
    ]
    # On CPU both stages have the same lanes, a power of two per device, and share a program.
    assert [p.runs for p in planned(study, "cpu")] == [11, 11]


def test_members_are_spread_over_the_devices_of_a_slice():
    study = tiny_study(axes=(grid("model.cell", ("np",)),), seeds=tuple(range(8)), baseline=None)
    (program,) = planned(study, "v5e-4")
    assert (program.layout.kind, program.layout.devices, program.layout.lanes) == ("members", 4, 8)


def test_one_run_splits_its_batch_over_all_hosts():
    layout = run_program(SPEC, DATASETS[SPEC.task], find_target("v5e-4")).layout
    assert (layout.kind, layout.devices, layout.hosts) == ("batch", 4, 1)
    wide = replace(SPEC, train=replace(SPEC.train, batch_size=16))
    layout = run_program(wide, DATASETS[SPEC.task], find_target("v5e-16")).layout
    assert (layout.kind, layout.devices, layout.hosts) == ("batch", 16, 4)
    with pytest.raises(UserError, match="batch_size: got 8, expected a multiple of 16"):
        run_program(SPEC, DATASETS[SPEC.task], find_target("v5e-16"))
    with pytest.raises(UserError, match="--seeds: got 2, expected none with v5e-16: its 4 hosts"):
        seed_programs(wide, DATASETS[SPEC.task], find_target("v5e-16"), 2)


def test_a_run_takes_the_devices_of_its_config():
    two = replace(SPEC, compute=replace(SPEC.compute, devices=2))
    layout = run_program(two, DATASETS[SPEC.task], find_target("v5e-4")).layout
    assert (layout.kind, layout.devices) == ("batch", 2)
    with pytest.raises(UserError, match="compute.devices: got 2, expected none"):
        run_program(two, DATASETS[SPEC.task], find_target("v5e-16"))


def test_seeds_are_planned_as_a_study():
    programs = seed_programs(SPEC, DATASETS[SPEC.task], find_target("v5e-4"), 100)
    # A cohort has 64 runs at most.
    assert [(p.runs, p.layout) for p in programs] == [
        (64, Layout("members", 4, 64)),
        (36, Layout("members", 4, 36)),
    ]
    alone = replace(SPEC, compute=replace(SPEC.compute, devices=1))
    (program,) = seed_programs(alone, DATASETS[SPEC.task], find_target("v5e-4"), 8)
    assert program.layout == Layout("single", 1, 8)


def test_seeds_have_the_layout_with_which_training_begins(tmp_path):
    # Nine seeds need idle lanes, on any number of devices above one.
    (program,) = seed_programs(SPEC, DATASETS[SPEC.task], find_target("cpu"), 9)
    ll.train(to_json(SPEC), seeds=9, workdir=tmp_path)
    (cohort,) = json.loads((tmp_path / "study.json").read_text())["cohorts"].values()
    assert cohort["layout"] == asdict(program.layout)


def test_a_program_is_compiled_and_measured():
    target = find_target("cpu")
    (program,) = seed_programs(SPEC, DATASETS[SPEC.task], target, 4)
    (report,) = compile_programs([program], DATASETS, target, jax.local_devices())
    assert report.fits
    assert report.backends == ("native",)
    assert report.bound is None
    assert not report.refused


def test_a_backend_that_the_target_lacks_is_a_result():
    spec = replace(SPEC, compute=replace(SPEC.compute, backend="cudnn"))
    target = find_target("cpu")
    program = run_program(spec, DATASETS[SPEC.task], target)
    (report,) = compile_programs([program], DATASETS, target, jax.local_devices())
    assert "cudnn supports gpu" in report.refused
    assert not report.fits

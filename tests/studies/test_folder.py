"""A study's folder: damaged results are trained again, other files and idle devices are named."""

import gzip
import json
import shutil

import pytest

from lstm_lab.cli import main, workers
from lstm_lab.config.parsing import with_values
from lstm_lab.report.render.files import build
from lstm_lab.results.intact import TRAIN_AGAIN, record_files
from lstm_lab.results.run_files import read_result, write_result
from lstm_lab.studies import LogUniform, Search, Tuning
from lstm_lab.studies import run as run_module
from lstm_lab.studies.archive import pack
from lstm_lab.studies.failures import clear_failures
from lstm_lab.studies.folder import MOST_NOTES, StudyFolder
from lstm_lab.studies.optuna import next_generation
from lstm_lab.studies.run import launch
from lstm_lab.studies.status import describe
from lstm_lab.training.loop import CohortOutcome, StopRequest
from lstm_lab.utils.errors import UserError
from tests.helpers.sweep import run_records, tiny_study
from tests.helpers.training import assert_same_record


def search_study(count=6, **options):
    search = Search(count, {"optim.lr": LogUniform(1e-4, 1.0)}, generation=2, **options)
    tuning = Tuning(seeds=(0,), trials=search)
    return tiny_study(axes=(), baseline=None, seeds=(), tuning=tuning)


def sweep(study, folder, **options):
    return launch(study, folder, folder.parent, StopRequest(), **options)


def of_stage(folder, study, stage):
    plan = StudyFolder(folder, study).plan
    return [folder / "runs" / k for k, row in plan["runs"].items() if row["stage"] == stage]


@pytest.mark.optimized
def test_lost_results_of_a_finished_search_are_trained_again(tmp_path, capsys):
    # With pruning: a trial has to be compared with the trials before its own generation.
    study, folder = search_study(grace=1), tmp_path / "s"
    assert sweep(study, folder) == "completed"
    before = run_records(folder)
    assert {record[0]["status"] for record in before.values()} == {"completed", "pruned"}
    runs = of_stage(folder, study, "tuning")
    for lost in ([runs[0], runs[3]], [runs[5]]):
        times = {run: (run / "result.json").stat().st_mtime_ns for run in runs}
        for run in lost:
            (run / "result.json").write_text("{}")
        assert main(["list", "runs", f"--folder={tmp_path}"]) == 0
        assert f"{len(runs) - len(lost)} of {len(runs)} runs" in capsys.readouterr().out
        assert sweep(study, folder) == "completed"
        error = capsys.readouterr().err
        for run in runs:
            trained = (run / "result.json").stat().st_mtime_ns != times[run]
            assert trained == (run in lost)
            assert (f"{run}/result.json is damaged: the run is trained again" in error) == trained
        after = run_records(folder)
        assert before.keys() == after.keys()
        for run, record in before.items():
            assert_same_record(after[run], record)


def test_a_search_with_a_failed_trial_is_not_completed(tmp_path, monkeypatch):
    study, folder = search_study(2), tmp_path / "s"
    real = run_module.train_cohort
    monkeypatch.setattr(
        run_module, "train_cohort", lambda *_, **__: CohortOutcome("failed", "lightning")
    )
    assert sweep(study, folder) == "failed"
    # The search is over, and has no result.
    monkeypatch.setattr(run_module, "train_cohort", real)
    assert sweep(study, folder) == "failed"
    clear_failures(folder)
    assert sweep(study, folder) == "completed"
    assert len(run_records(folder)) == 2


def test_a_search_asks_for_the_whole_curve(tmp_path):
    study, folder = search_study(2, grace=1), tmp_path / "s"
    assert sweep(study, folder) == "completed"
    # All points are reported again, from the results.
    (folder / "search.journal").unlink()
    first = of_stage(folder, study, "tuning")[0]
    lines = (first / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (first / "metrics.jsonl").write_bytes(b"".join(lines[:-2]))
    with pytest.raises(UserError, match=rf"^workdir: {first}/metrics.jsonl has changed: .*delete"):
        next_generation(StudyFolder(folder, study), study)


def test_a_sweep_names_damaged_weights_and_curves(tmp_path, capsys):
    study, folder = tiny_study(), tmp_path / "s"
    assert sweep(study, folder) == "completed"
    capsys.readouterr()
    assert sweep(study, folder) == "completed"
    assert capsys.readouterr().err == ""
    runs = of_stage(folder, study, "final")
    (weights,) = runs[0].glob("checkpoints/best/*/default/manifest.ocdbt")
    weights.write_bytes(b"")
    (runs[1] / "metrics.jsonl").unlink()
    shutil.rmtree(runs[2] / "checkpoints")
    assert sweep(study, folder) == "completed"
    step = weights.parents[1]
    lines = [
        f"the weights in {step} are damaged: default/manifest.ocdbt has changed; {TRAIN_AGAIN}",
        f"{runs[1]}/metrics.jsonl is missing: the curve is lost, the result counts; {TRAIN_AGAIN}",
        f"the weights of {runs[2]} are missing; {TRAIN_AGAIN}",
    ]
    assert sorted(capsys.readouterr().err.splitlines()) == sorted(f"note: {x}" for x in lines)
    assert {f"  {line}" for line in lines} < set(describe(folder))
    assert f"Damaged: {lines[1]}." in build(folder)
    for run in runs:
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
    assert sweep(study, folder) == "completed"
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == MOST_NOTES + 1
    assert shown[-1].startswith(f"note: {len(runs) + 1 - MOST_NOTES} more files are missing")
    # The repair that the lines name.
    for run in runs:
        (run / "result.json").unlink()
    assert sweep(study, folder) == "completed"
    assert "checkpoints" not in capsys.readouterr().err


def test_a_sweep_by_several_processes_names_them_too(tmp_path, capsys, monkeypatch):
    study, folder = tiny_study(seeds=(1,)), tmp_path / "s"
    assert sweep(study, folder) == "completed"
    capsys.readouterr()
    (run,) = of_stage(folder, study, "final")[:1]
    (run / "metrics.jsonl").unlink()
    # The workers write to their logs.
    monkeypatch.setattr("lstm_lab.studies.local.run_jobs", lambda *_: 0)
    assert workers._run_jobs(study, folder, 2, []) == 0
    assert f"note: {run}/metrics.jsonl is missing: the curve is lost" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl", "result.json"])
def test_a_file_that_cannot_be_written_is_no_failure_of_the_cohort(tmp_path, capsys, name):
    study, folder = tiny_study(seeds=(1,)), tmp_path / "s"
    assert sweep(study, folder) == "completed"
    run = of_stage(folder, study, "final")[0]
    (run / "result.json").unlink()
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        sweep(study, folder)
    assert caught.value.filename == str(run / name)
    assert "failed" not in capsys.readouterr().err
    (run / name).rmdir()
    assert sweep(study, folder) == "completed"


def test_an_archive_has_no_hashes_of_files_that_it_does_not_hold(tmp_path, capsys):
    study = tiny_study(seeds=(1,))
    assert sweep(study, tmp_path / "a") == "completed"
    archive = tmp_path / "archive.gz"
    pack(tmp_path / "a", archive)
    capsys.readouterr()
    for _ in range(2):
        assert sweep(study, tmp_path / "b", results=archive) == "completed"
    assert "damaged" not in capsys.readouterr().err
    for run in of_stage(tmp_path / "b", study, "final"):
        result = read_result(run)
        assert result["files"] == {}
        write_result(run, result, record_files(run))
    pack(tmp_path / "b", tmp_path / "again.gz")
    assert sorted(row_results(tmp_path / "again.gz")) == sorted(row_results(archive))


def row_results(archive):
    rows = map(json.loads, gzip.decompress(archive.read_bytes()).splitlines())
    return [json.dumps(row["result"], sort_keys=True) for row in rows]


def test_idle_devices_are_noted_once_for_equal_cohorts(tmp_path, capsys):
    odd = with_values(tiny_study().settings, {"train.batch_size": 9})
    assert sweep(tiny_study(base=odd), tmp_path) == "completed"
    note = (
        "note: 1 of 4 devices trains: there are 3 runs at a time, and train.batch_size 9 is no "
        "multiple of 4; compute.devices=3 uses 3\n"
    )
    assert capsys.readouterr().err.count(note) == 1
    assert len(list(tmp_path.glob("cohorts/*"))) == 2

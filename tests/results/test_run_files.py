"""Files of another shape, in a run and in a study: one line or the documented repair."""

import shutil
from pathlib import Path

import pytest

from lstm_lab.api.runs import Run
from lstm_lab.cli import main
from lstm_lab.config.ids import run_id
from lstm_lab.inference.load import load_run
from lstm_lab.results.run_files import (
    is_result,
    read_progress,
    read_result,
    read_rows,
    read_settings,
)
from lstm_lab.studies.archive import pack
from lstm_lab.training.loop import StopRequest, train_run
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.report import write_study
from tests.helpers.training import assert_same_record, language_spec, run_record

WRONG = {
    "a list": b"[1, 2]",
    "a number": b"7",
    "a word": b'"run"',
    "null": b"null",
    "an empty object": b"{}",
    "objects in objects": b'{"spec": {}, "id": "x", "status": "completed", "layout": {}}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "objects that Python can parse": b'{"spec":' * 400 + b"1" + b"}" * 400,
    "half": b'{"id": "12',
    "nothing": b"",
    "bytes": bytes(range(128, 256)),
    "zeros": b"\0" * 100,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run with preprocessing: a language model of characters."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 8)
    spec = language_spec(folder / "text.txt", train={"steps": 10, "eval_every": 5})
    train_run(spec, folder / "run", Path("nowhere"), stop=StopRequest())
    return spec, folder / "run", run_record(folder / "run")


@pytest.fixture
def copied(tmp_path, finished):
    shutil.copytree(finished[1], tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_run_with_a_wrong_run_json_is_no_run(content, copied, capsys):
    (copied / "run.json").write_bytes(content)
    for read in (load_run, lambda folder: Run(folder).record):
        with pytest.raises(UserError, match=r"^workdir: .*damaged[^\n]*$"):
            read(copied)
    for verb in ("status", "report", "predict"):
        flags = ["--input=x"] if verb == "predict" else []
        code = main([verb, f"--workdir={copied}", *flags])
        assert code == (0 if verb == "status" else 2)
        assert len(capsys.readouterr().err.splitlines()) <= 1
    assert main(["list", "runs", f"--folder={copied.parent}"]) == 0
    assert "damaged" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["run.json", "result.json", "metrics.jsonl"])
def test_a_damaged_file_of_a_finished_run_is_repaired_by_training(name, copied, finished, capsys):
    spec, _, expected = finished
    for content in WRONG.values():
        (copied / name).write_bytes(content)
        (copied / "result.json").unlink(missing_ok=name != "result.json")
        train_run(spec, copied, Path("nowhere"), stop=StopRequest())
        assert_same_record(run_record(copied), expected)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_wrong_results_and_curves_count_as_missing(content, copied):
    (copied / "result.json").write_bytes(content)
    (copied / "metrics.jsonl").write_bytes(content)
    assert read_result(copied) is None
    assert read_rows(copied) == []
    assert read_progress(copied) == 0.0
    assert Run(copied).record.test == {}


def test_a_result_with_wrong_curves_is_damaged():
    result = {"status": "completed", "best": {"valid": {}}, "test": {}}
    curve = Curve("length", "accuracy", (1, 2), (0.5, None))._asdict()
    assert is_result({**result, "curves": {"accuracy_by_length": curve}})
    for wrong in ([], {"a": {**curve, "y": [0.5, "1"]}}, {"a": {"x": [1], "y": [1]}}):
        assert not is_result({**result, "curves": wrong})


def test_the_progress_is_the_share_of_the_planned_steps(copied):
    assert read_progress(copied / "nothing") == 0.0
    head, rows = read_json(copied / "run.json"), (copied / "metrics.jsonl")
    assert read_progress(copied) == 1.0
    write_json(copied / "run.json", {**head, "planned_steps": 4 * head["planned_steps"]})
    assert read_progress(copied) == 0.25
    write_json(copied / "run.json", {k: v for k, v in head.items() if k != "planned_steps"})
    assert read_progress(copied) == 0.0  # of an earlier version
    rows.write_text("")
    write_json(copied / "run.json", head)
    assert read_progress(copied) == 0.0


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_predictions_refuse_wrong_preprocessing(content, copied):
    (copied / "preprocessing.json").write_bytes(content)
    with pytest.raises(UserError, match=r"^workdir: .*preprocessing.json is missing or damaged"):
        load_run(copied)
    # A run of an earlier version has no hash to compare with.
    head = read_json(copied / "run.json")
    del head["preprocessing_sha256"]
    write_json(copied / "run.json", head)
    if not content.startswith(b"{") or content.startswith(b'{"a'):
        with pytest.raises(UserError, match=r"^workdir: .*preprocessing.json is damaged"):
            load_run(copied)


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_a_wrong_study_json_is_reported_in_one_line(content, tmp_path, capsys):
    folder = write_study(tmp_path / "study", "s", {"a": [1.0, 2.0], "b": [1.0, 2.0]})
    (folder / "study.json").write_bytes(content)
    for verb in ("status", "report"):
        assert main([verb, f"--workdir={folder}"]) == 2
        error = capsys.readouterr().err
        assert "study.json is missing or damaged" in error
        assert error.count("\n") == 1
    with pytest.raises(UserError, match="study.json is missing or damaged"):
        pack(folder, tmp_path / "archive")
    # Never replaced: it holds what tuning chose.
    study = tmp_path / "one.py"
    study.write_text(
        "from lstm_lab.studies import Study\n"
        "def get_study():\n"
        "    return Study('s', {'task': {'name': 'adding'}, 'train': {'steps': 1}}, (), (1,))\n"
    )
    assert main(["sweep", str(study), f"--workdir={folder}"]) == 2
    assert (folder / "study.json").read_bytes() == content


def test_a_study_with_wrong_files_of_its_runs_is_still_reported(tmp_path, capsys):
    for name, content in WRONG.items():
        folder = write_study(tmp_path / name, "s", {"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})
        for file in ("result.json", "run.json", "metrics.jsonl"):
            (folder / "runs" / "a0" / file).write_bytes(content)
        assert main(["status", f"--workdir={folder}"]) == 0
        shown = capsys.readouterr().out
        assert ("1 missing" in shown) != ("1 interrupted" in shown)


def test_weights_that_are_missing_or_damaged_are_named(copied, finished, capsys):
    best = next((copied / "checkpoints" / "best").iterdir())
    (best / "default" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(UserError, match=r"weights in .* are damaged: .*; delete result.json"):
        load_run(copied)
    shutil.rmtree(copied / "checkpoints" / "best")
    with pytest.raises(UserError, match=r"the weights of .* are missing; delete result.json"):
        load_run(copied)
    # The repair that the message names.
    spec, _, expected = finished
    train_run(spec, copied, Path("nowhere"), stop=StopRequest())
    assert "the weights of" in capsys.readouterr().err
    (copied / "result.json").unlink()
    train_run(spec, copied, Path("nowhere"), stop=StopRequest())
    assert_same_record(run_record(copied), expected)
    assert read_json(copied / "run.json")["id"] == run_id(spec)


@pytest.mark.parametrize(
    "change",
    [
        {"layout": {"kind": "single", "devices": "two", "lanes": 1}},
        {"layout": {"kind": "single", "devices": 1, "lanes": 1, "more": 1}},
        {"layout": {"kind": "rows", "devices": 1, "lanes": 1}},
        {"resumed_at": 3},
        {"resumed_at": ["3"]},
        {"rollbacks": [{"from": 1}]},
    ],
)
def test_a_head_of_another_shape_is_damaged(tmp_path, change):
    head = {
        "id": "abc",
        "status": "running",
        "spec": {"task": {"name": "adding"}, "model": {"cell": "lstm"}},
        "layout": {"kind": "single", "devices": 1, "lanes": 1, "width": None, "hosts": 1},
    }
    write_json(tmp_path / "run.json", head)
    assert read_settings(tmp_path) == head
    write_json(tmp_path / "run.json", {**head, **change})
    assert read_settings(tmp_path) is None

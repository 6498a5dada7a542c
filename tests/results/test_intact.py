"""Files of a finished run that are damaged after its end are named, with what is lost."""

import os
import re
import shutil
from pathlib import Path

import pytest

from lstm_lab.cli import main
from lstm_lab.inference.load import load_run
from lstm_lab.results import intact
from lstm_lab.results.intact import TRAIN_AGAIN, curve_problem, problems, record_files
from lstm_lab.results.run_files import lease_folder, read_result, write_result
from lstm_lab.training.loop import StopRequest, train_run
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.training import small_spec

SPEC = small_spec(train={"batch_size": 8, "steps": 10, "eval_every": 5})


def train(folder):
    train_run(SPEC, folder, Path("nowhere"), stop=StopRequest())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(folder)
    return folder


@pytest.fixture
def run(tmp_path, finished):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def weights(folder):
    (path,) = (folder / "checkpoints" / "best").glob("*/default/_METADATA")
    return path


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def become_a_folder(path):
    path.unlink()
    path.mkdir()


def become_a_link_to_itself(path):
    path.unlink()
    path.symlink_to(path.name)


def test_nothing_is_said_about_a_whole_run(run, capsys):
    result = read_result(run)
    assert {"run.json", "metrics.jsonl"} < result["files"].keys()
    assert problems(run, result) == []
    train(run)
    assert main(["status", f"--workdir={run}"]) == 0
    output = capsys.readouterr()
    assert "note" not in output.err
    assert output.out == f"{run}: completed\n"


@pytest.mark.parametrize(
    "damage", [flip, cut, Path.unlink, become_a_folder, become_a_link_to_itself]
)
def test_damaged_weights_and_curves_are_named(run, capsys, damage):
    before = read_result(run)
    damage(weights(run))
    damage(run / "metrics.jsonl")
    lines = problems(run, before)
    assert len(lines) == 2
    for line, start in zip(
        lines, (f"{run}/metrics.jsonl ", f"the weights in {run}/checkpoints/best/"), strict=True
    ):
        assert line.startswith(start)
        assert line.endswith(TRAIN_AGAIN)
    train(run)
    error = capsys.readouterr().err
    assert [f"note: {line}" for line in lines] == error.splitlines()[-2:]
    assert main(["status", f"--workdir={run}"]) == 0
    assert [f"  {line}" for line in lines] == capsys.readouterr().out.splitlines()[1:]
    assert main(["report", f"--workdir={run}"]) == 0
    assert lines[0] in capsys.readouterr().out
    # The result counts, and nothing was trained.
    assert read_result(run) == before
    assert problems(run, before) == lines


def test_what_is_left_of_a_curve_is_said(run):
    result, path = read_result(run), run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:9])
    assert "metrics.jsonl has changed: the curve ends at step 5 of 10, the result" in curve_problem(
        run, result
    )
    path.unlink()
    assert "metrics.jsonl is missing: the curve is lost, the result" in curve_problem(run, result)


def test_large_weights_are_compared_by_size(run, monkeypatch):
    monkeypatch.setattr(intact, "HASHED", 1200)
    result, path = read_result(run), weights(run)
    assert problems(run, result) == []
    flip(path)
    assert problems(run, result) == []
    cut(path)
    assert "its files have" in problems(run, result)[0]
    path.unlink()
    assert "default/_METADATA cannot be read" in problems(run, result)[0]


def test_a_quick_look_reads_what_is_newer_than_the_result(run):
    result, path = read_result(run), weights(run)
    old = path.stat()
    flip(path)
    assert len(problems(run, result, quick=True)) == 1
    # As after a fault of the disk.
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert problems(run, result, quick=True) == []
    assert len(problems(run, result)) == 1
    cut(path)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert "its files have" in problems(run, result, quick=True)[0]


def test_lost_weights_of_earlier_versions_are_named_but_not_those_of_archives(run):
    result = read_result(run)
    del result["files"]
    assert problems(run, result) == []
    shutil.rmtree(run / "checkpoints")
    assert problems(run, result) == [f"the weights of {run} are missing; {TRAIN_AGAIN}"]
    head = read_json(run / "run.json")
    write_json(run / "run.json", {"status": head["status"], "versions": head["versions"]})
    assert problems(run, result) == []


def test_a_result_with_any_changed_letter_counts_as_damaged(run):
    path, result = run / "result.json", read_result(run)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        # A space that became another character is not JSON.
        assert read_result(run) is None, bytes(changed)
    # As git or an editor may store it.
    path.write_bytes(content.replace(b"\n", b"\r\n"))
    assert read_result(run) == result


def test_results_of_earlier_versions_are_read(run):
    result = read_result(run)
    del result["files"]
    write_json(run / "result.json", result)
    assert read_result(run) == result
    write_result(run, result, record_files(run))
    assert read_result(run) == {**result, "files": record_files(run)}


def test_a_finished_run_without_its_settings_is_refused(run, capsys):
    (run / "run.json").write_text("{}")
    with pytest.raises(UserError, match=re.escape(f"{run}/run.json is damaged; {TRAIN_AGAIN}")):
        train(run)
    assert "starts again" not in capsys.readouterr().err
    (run / "result.json").unlink()
    train(run)
    assert problems(run, read_result(run)) == []


def test_a_folder_in_the_place_of_a_result_is_one_error(run):
    become_a_folder(run / "result.json")
    with pytest.raises(IsADirectoryError) as caught:
        train(run)
    assert caught.value.filename == str(run / "result.json")


def test_a_changed_name_of_a_setting_is_named_with_its_file(run):
    path = run / "run.json"
    path.write_bytes(path.read_bytes().replace(b"plateau_factor", b"plateaq_factor"))
    with pytest.raises(UserError, match=re.escape(f"workdir: {path}: optim.plateaq_factor: got")):
        load_run(run)


def test_a_damaged_lease_is_named(run):
    (run / "result.json").unlink()
    lease = max(lease_folder(run).glob("lease.*"))
    lease.write_text("{")
    with pytest.raises(UserError, match=re.escape(f"{lease} is damaged: a process may train")):
        train(run)

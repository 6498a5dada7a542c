"""Files are complete or absent, even after a failed write."""

import errno
import json
import os
from pathlib import Path

import pytest

from lstm_lab.utils.files import (
    TAIL,
    read_json,
    read_last_line,
    read_lines,
    remove_parts,
    sync_folder,
    write_json,
    write_lines,
)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"a": [1.0, float("nan")], "b": (float("inf"), 2)})
    assert read_json(path) == {"a": [1.0, None], "b": [None, 2]}

    def disk_full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    with pytest.raises(OSError, match="no space"):
        write_json(path, {})
    assert read_json(path)["b"] == [None, 2]


def test_damaged_json_reads_as_none_and_damaged_lines_end_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"step": k} for k in range(3)])
    with path.open("a") as file:
        file.write(json.dumps({"step": 3})[:-2])
    assert [row["step"] for row in read_lines(path)] == [0, 1, 2]
    assert read_json(path) is None
    assert read_lines(tmp_path / "none.jsonl") == []


def test_the_last_line_is_the_last_that_is_whole(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert read_last_line(path) is None
    write_lines(path, [{"step": k, "text": "é" * 999} for k in range(100)])
    assert path.stat().st_size > TAIL  # it begins in the middle of a line
    assert read_last_line(path, step=int)["step"] == 99
    with path.open("a") as file:
        file.write('oops\n{"text": "no step"}\n{"step": 7')
    assert read_last_line(path, step=int)["step"] == 99
    path.write_text('{"step": 7')
    assert read_last_line(path) is None


@pytest.mark.parametrize("depth", [99, 100, 101, 400])
def test_json_may_be_nested_a_hundred_levels_deep(depth, tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a":' * depth + "1" + "}" * depth)
    assert (read_json(path) is None) == (depth > 100)


def test_only_an_object_with_the_keys_is_read(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"id": "x", "step": 3}')
    assert read_json(path, id=str, step=int) == {"id": "x", "step": 3}
    assert read_json(path, id=int) is None
    assert read_json(path, missing=str) is None
    path.write_text('{"step": 1}\n{"step": 2}\n[3]\n{"step": 4}\n')
    assert read_lines(path, step=int) == [{"step": 1}, {"step": 2}]
    assert read_lines(path, step=str) == []


def test_only_parts_of_the_files_of_a_run_are_removed(tmp_path):
    for name in (".run.json.12", ".result.json.7", ".run.json.x", ".lease.3", "run.json"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {".run.json.x", ".lease.3", "run.json"}


@pytest.mark.parametrize("read", [read_json, read_lines, read_last_line])
def test_a_file_that_cannot_be_read_now_is_not_taken_for_missing(tmp_path, monkeypatch, read):
    """A finished run would be trained again, over its results."""

    def refuse(self, *args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files", str(self))

    (tmp_path / "a").write_text("{}")
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        read(tmp_path / "a")


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    sync_folder(tmp_path)

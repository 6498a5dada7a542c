"""Files are complete or absent, even after a failed write."""

import errno
import json

import pytest

from lstm_lab.utils.files import read_json, read_lines, write_json, write_lines


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

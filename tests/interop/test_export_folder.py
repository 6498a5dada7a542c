"""An export replaces an earlier one only if no file of the user would be lost."""

import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from lstm_lab.interop.export import export_run
from lstm_lab.interop.export_folder import check_replaceable, file_hashes, new_export
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.explain import trained
from tests.helpers.paths import ROOT
from tests.helpers.training import small_spec


@pytest.fixture(scope="module")
def run():
    return trained(small_spec())


def write(out, **files):
    """Writes an export of text files."""
    with new_export(out) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        write_json(folder / "export.json", {"files": file_hashes(folder)})


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_export_json_has_the_hash_of_every_other_file(run, tmp_path):
    out = export_run(run, "stablehlo", tmp_path / "out", card=lambda usage: usage)
    files = read_json(out / "export.json")["files"]
    assert files.keys() == {path.name for path in out.iterdir()} - {"export.json"}
    printed = subprocess.run(["sha256sum", *files], cwd=out, capture_output=True, text=True)
    assert printed.stdout.split()[::2] == list(files.values())


def test_an_unchanged_export_is_replaced_whole(run, tmp_path):
    out = tmp_path / "out"
    export_run(run, "stablehlo", out)
    # What Python writes when a user imports an exported module is nobody's work.
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"")
    export_run(run, "safetensors", out)
    names = {"model.safetensors", "export.json", "preprocessing.json"}
    assert {path.name for path in out.iterdir()} == names
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ("add", "notes.txt", "is not part of the export"),
        ("add", "data/deep.csv", "is not part of the export"),
        ("edit", "model.py", "was changed after the export"),
        ("link", "model.py", "was changed after the export"),
    ],
)
def test_a_file_of_the_user_is_named_and_kept(change, name, reason, tmp_path):
    out = tmp_path / "torch_model"
    write(out, **{"model.py": "class Model: ..."})
    path = out / name
    path.parent.mkdir(exist_ok=True)
    if change == "link":
        path.rename(tmp_path / "mine.py")
        path.symlink_to(tmp_path / "mine.py")
    else:
        path.write_text("mine")
    before = content(out), path.read_text()
    message = f"--out: {path} {reason}; choose another folder or move it"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(out, **{"model.py": "new"})
    assert (content(out), path.read_text()) == before


def test_a_file_that_the_user_adds_during_an_export_is_kept(tmp_path):
    out = tmp_path / "out"
    write(out, model="old")

    def write_while_the_user_works():
        with new_export(out) as folder:
            (folder / "model").write_text("new")
            (out / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"notes.txt is not part of the export"):
        write_while_the_user_works()
    assert content(out).keys() == {"model", "export.json", "notes.txt"}
    assert content(out)["model"] == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_export_of_an_earlier_version_without_hashes_is_kept(tmp_path):
    (tmp_path / "model.py").write_text("old")
    write_json(tmp_path / "export.json", {"target": "torch"})
    with pytest.raises(UserError, match=r"model.py is not part of the export"):
        check_replaceable(tmp_path)


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    write(real, model="old")
    link.symlink_to(real)
    write(link, model="new")
    assert link.is_symlink()
    assert content(real)["model"] == "new"
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_an_error_removes_the_folders_that_were_created(tmp_path):
    with pytest.raises(ZeroDivisionError), new_export(tmp_path / "a" / "b" / "out"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from lstm_lab.interop.export_folder import new_export

with new_export(Path(sys.argv[1])) as folder:
    (folder / "half.bin").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_export_left_is_removed_by_the_next_one(tmp_path):
    out = tmp_path / "out"
    write(out, model="old")
    ended = subprocess.run([sys.executable, "-c", KILLED, str(out)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    (left,) = set(tmp_path.iterdir()) - {out}
    assert (left / "half.bin").is_file()
    assert content(out)["model"] == "old"
    # That of a process that still runs, and one of another machine, are not touched.
    running = tmp_path / f".out.{socket.gethostname()}.{os.getppid()}"
    elsewhere = tmp_path / f".out.elsewhere.{'9' * 7}"
    running.mkdir()
    elsewhere.mkdir()
    write(out, model="new")
    assert set(tmp_path.iterdir()) == {out, running, elsewhere}
    assert content(out)["model"] == "new"


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    out = tmp_path / "out"
    write(out, model="old")
    (out / "notes.txt").write_text("mine")
    # No process has such a number.
    out.rename(tmp_path / f".out.{socket.gethostname()}.{2**22 + 1}.old")
    with pytest.raises(UserError, match=r"notes.txt is not part of the export"):
        write(out, model="new")
    assert content(out)["notes.txt"] == "mine"

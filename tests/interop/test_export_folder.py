"""An export replaces an earlier one only if no file of the user would be lost."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager

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


def test_a_parent_may_be_a_link_to_a_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link" / "deep" / "out", model="new")
    assert content(tmp_path / "real" / "deep" / "out")["model"] == "new"
    assert [path.name for path in (tmp_path / "real" / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("out", ["nowhere", "nowhere/deep/out", "loop", "loop/out"])
def test_a_link_to_nothing_is_refused(out, tmp_path):
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    before = sorted(tmp_path.iterdir())
    link = tmp_path / out.split("/")[0]
    message = (
        f"--out: {link} is a link to {os.readlink(link)}, which does not exist; choose another "
        "folder"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        write(tmp_path / out, model="new")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("out", "problem"),
    [
        ("link", "link exists and is no export; choose another folder"),
        ("link/out", "link is a file, expected a folder; choose another folder"),
        ("mine/deep/out", "mine is a file, expected a folder; choose another folder"),
    ],
)
def test_a_file_is_never_replaced(out, problem, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to("mine")
    with pytest.raises(UserError, match=f"^--out: {re.escape(str(tmp_path))}/{problem}$"):
        write(tmp_path / out, model="new")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path) == {"mine": "mine", "link": "mine"}


def test_an_error_removes_the_folders_that_were_created(tmp_path):
    with pytest.raises(ZeroDivisionError), new_export(tmp_path / "a" / "b" / "out"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


# An export in another process. It says where it is, and waits there for a line or for its end.
EXPORT = """
import os, sys
from pathlib import Path
from lstm_lab.interop.export_folder import file_hashes, new_export
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json

out, place, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def wait(here):
    if here == place:
        print("here", flush=True)
        sys.stdin.readline()

rename = Path.rename
def waiting_rename(self, target):
    rename(self, target)
    wait("between" if self == out else "after")
Path.rename = waiting_rename

try:
    with new_export(out) as folder:
        (folder / f"{name}.bin").write_text(name)
        wait("writing")
        (folder / f"{name}.txt").write_text(name)
        write_json(folder / "export.json", {"files": file_hashes(folder)})
except UserError as error:
    print(error, flush=True)
"""


@contextmanager
def exporting(out, place, name="theirs"):
    """Gives another process that has come to a place of its export; it is killed at the end."""
    command = [sys.executable, "-c", EXPORT, str(out), place, name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "here\n"
            yield process
        finally:
            process.kill()


def hidden(out):
    """Returns the names of what exports have put next to a folder, without the name of the host."""
    names = {path.name for path in out.parent.iterdir()} - {out.name}
    return {name.replace(f".{socket.gethostname()}", "") for name in names}


def test_of_two_exports_at_once_one_wins_and_the_other_gets_one_line(tmp_path):
    out = tmp_path / "out"
    write(out, model="old")
    for place in ("writing", "between", "after"):
        with exporting(out, place) as process:
            message = (
                f"--out: another export writes {out} now; wait until it has ended, or choose "
                "another folder"
            )
            with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
                write(out, ours="ours")
            assert process.communicate("\n") == ("", None)
        assert content(out).keys() == {"theirs.bin", "theirs.txt", "export.json"}
        assert list(tmp_path.iterdir()) == [out]
    write(out, ours="ours")
    assert content(out).keys() == {"ours", "export.json"}


def test_many_exports_at_once_leave_one_whole_export(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", EXPORT, str(out), "never"]
    processes = [
        subprocess.Popen([*command, name], cwd=ROOT, text=True, stdout=subprocess.PIPE)
        for name in "ab"
    ]
    printed = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("another export writes" in line for line in printed) < 2
    files = content(out).keys() - {"export.json"}
    assert files in ({"a.bin", "a.txt"}, {"b.bin", "b.txt"})
    check_replaceable(out)
    assert list(tmp_path.iterdir()) == [out]


def test_two_exports_of_one_process_exclude_each_other(tmp_path):
    with new_export(tmp_path / "out"):
        with pytest.raises(UserError, match="another export writes"):
            write(tmp_path / "out", model="second")
        assert hidden(tmp_path / "out") == {".out.lock", ".out.part"}


@pytest.mark.parametrize(
    ("place", "left", "kept"),
    [
        ("writing", {".out.lock", ".out.part"}, "model"),
        ("between", {".out.lock", ".out.part", ".out.old"}, None),
        ("after", {".out.lock", ".out.old"}, "theirs.bin"),
    ],
)
def test_a_kill_at_any_place_loses_nothing(place, left, kept, tmp_path):
    out = tmp_path / "out"
    write(out, model="old")
    with exporting(out, place):
        pass
    assert hidden(out) == left
    assert kept is None or kept in content(out)
    # Nothing of a killed export is part of what the next one refuses to replace.
    with pytest.raises(ZeroDivisionError), new_export(out):
        _ = 1 / 0
    assert ("theirs.bin" if place == "after" else "model") in content(out)
    assert list(tmp_path.iterdir()) == [out]


def test_a_kill_between_the_two_renames_keeps_a_file_of_the_user(tmp_path):
    out = tmp_path / "out"
    write(out, model="old")
    with exporting(out, "between"):
        pass
    (tmp_path / f".out.{socket.gethostname()}.old" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes.txt is not part of the export"):
        write(out, model="new")
    assert content(out)["notes.txt"] == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_after_a_kill_between_the_two_renames_a_link_still_leads_to_the_export(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    write(real, model="old")
    link.symlink_to(real)
    # The killed process renames the folder itself, which a path without links names.
    with exporting(real, "between"):
        pass
    assert not real.exists()
    with pytest.raises(UserError, match=r"link is a link to .*, which does not exist"):
        write(link / "deep", model="new")
    with pytest.raises(ZeroDivisionError), new_export(link):
        _ = 1 / 0
    assert content(real)["model"] == "old"
    with exporting(real, "between"):
        pass
    write(link, model="new")
    assert content(real)["model"] == "new"
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_an_export_of_another_machine_is_not_touched(tmp_path):
    elsewhere = tmp_path / ".out.elsewhere.part"
    elsewhere.mkdir()
    write(tmp_path / "out", model="new")
    assert sorted(tmp_path.iterdir()) == [elsewhere, tmp_path / "out"]

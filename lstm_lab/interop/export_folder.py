"""The folder of an export: it appears whole, and replaces only an earlier, unchanged export.

In: the path of the folder. Out: a hidden folder next to it to write into, which then takes its
place. `export.json` records the SHA-256 of each file, so that a file of the user, or an exported
file that the user edited, is found and never deleted. Read export.py next.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lstm_lab.config.user_code import file_hash
from lstm_lab.results.lease import process_exists
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json

MARKER = "export.json"
# Python writes it when it imports an exported module; it holds nothing of the user's.
_CACHE = "__pycache__"


def check_replaceable(out: Path) -> None:
    """Checks that a folder may be written: absent, empty, or an export that nobody changed.

    Args:
      out: the folder.

    Raises:
      UserError: for a file, a folder that is no export, or an export with a file that was added or
        changed; the message names the file.

    Example:
      check_replaceable(Path("torch_model"))
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MARKER).is_file():
        raise UserError(f"--out: {out} exists and is no export; choose another folder")
    files = (read_json(out / MARKER, files=dict) or {}).get("files", {})
    for path in sorted(out.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        name = path.relative_to(out).as_posix()
        if name == MARKER or path.parent.name == _CACHE:
            continue
        advice = "choose another folder or move it"
        if name not in files:
            raise UserError(f"--out: {path} is not part of the export; {advice}")
        if path.is_symlink() or file_hash(path) != files[name]:
            raise UserError(f"--out: {path} was changed after the export; {advice}")


def file_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of all files of a folder, by their path in it.

    Args:
      folder: the folder.

    Example:
      file_hashes(Path("torch_model"))  # {"model.py": "3b1f...", ...}
    """
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


@contextmanager
def new_export(out: Path) -> Iterator[Path]:
    """Gives an empty folder to write into; it becomes `out` if the block ends without an error.

    After an error, nothing of it is left, and an earlier export is as before. What a killed export
    to the same path left is removed.

    Args:
      out: the folder of the export.

    Raises:
      UserError: as `check_replaceable`.

    Example:
      with new_export(Path("torch_model")) as folder:
          write_files(folder)
    """
    shown, out = out, out.resolve()  # behind a link: the link stays
    _remove_stale(out)
    check_replaceable(shown)
    missing = [folder for folder in out.parents if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside `out`: only a rename within one file system is atomic.
    part, earlier = (out.with_name(f"{_hidden(out)}{os.getpid()}{end}") for end in ("", ".old"))
    try:
        part.mkdir()
        yield part
        # Again: writing a large model takes minutes, in which the user may have added a file.
        check_replaceable(shown)
        if out.exists():
            out.rename(earlier)
        part.rename(out)
    except BaseException:
        if earlier.exists() and not out.exists():
            earlier.rename(out)
        shutil.rmtree(part, ignore_errors=True)
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()  # only if nobody else put something there
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _hidden(out: Path) -> str:
    # With the name of the machine: a number says nothing about processes of others, which may
    # share the file system.
    return f".{out.name}.{socket.gethostname()}."


def _remove_stale(out: Path) -> None:
    """Removes what exports to the same path left when they were killed on this machine."""
    pattern = re.compile(re.escape(_hidden(out)) + r"(\d+)(\.old)?")
    for path in out.parent.glob(".*"):
        found = pattern.fullmatch(path.name)
        if found is None or (int(found[1]) != os.getpid() and process_exists(int(found[1]))):
            continue
        # Killed between the two renames: the earlier export is whole and has lost its name.
        if found[2] and not out.exists():
            path.rename(out)
        else:
            shutil.rmtree(path, ignore_errors=True)

"""The folder of an export: it appears whole, and replaces only an earlier, unchanged export.

In: the path of the folder. Out: a hidden folder next to it to write into, which then takes its
place. `export.json` records the SHA-256 of each file, so that a file of the user, or an exported
file that the user edited, is found and never deleted. A lock lets one process at a time write to a
path. Read export.py next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lstm_lab.config.user_code import file_hash
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
    to the same path left is removed. If `out` is a link to a folder, the link stays.

    Args:
      out: the folder of the export.

    Raises:
      UserError: as `check_replaceable`; for a path through a link to nothing, or through a file; or
        if another process writes an export to the same path.

    Example:
      with new_export(Path("torch_model")) as folder:
          write_files(folder)
    """
    check_path(out)
    shown, out = out, Path(os.path.realpath(out))
    missing = [folder for folder in out.parents if not folder.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _only_export(shown, out):
            # Beside `out`: only a rename within one file system is atomic.
            part, earlier = _hidden(out, "part"), _hidden(out, "old")
            _remove_stale(out)
            check_replaceable(shown)
            try:
                part.mkdir()
                yield part
                # Again: writing a large model takes minutes, and the user may have added a file.
                check_replaceable(shown)
                if out.exists():
                    out.rename(earlier)
                part.rename(out)
            except BaseException:
                if earlier.exists() and not out.exists():
                    earlier.rename(out)
                shutil.rmtree(part, ignore_errors=True)
                raise
            shutil.rmtree(earlier, ignore_errors=True)
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()  # only if nobody else put something there
        raise


def check_path(out: Path) -> None:
    """Checks that a path leads to a folder, or to where one can be created.

    Args:
      out: the folder.

    Raises:
      UserError: for a link to nothing, or a file in place of a folder above it. A link to an export
        that a killed process has moved away is none to nothing: `new_export` moves it back.

    Example:
      check_path(Path("torch_model"))
    """
    for path in (out, *out.parents):
        if path.is_symlink() and not path.exists() and not (path == out and _is_moved_away(out)):
            target = os.readlink(path)
            raise UserError(
                f"--out: {path} is a link to {target}, which does not exist; choose another folder"
            )
        if path != out and path.exists() and not path.is_dir():
            raise UserError(f"--out: {path} is a file, expected a folder; choose another folder")


@contextmanager
def _only_export(shown: Path, out: Path) -> Iterator[None]:
    """Gives a block that one process at a time runs for a path; others are refused at once."""
    path = out.with_name(f".{out.name}.lock")
    with path.open("a") as lock:
        # The lock is freed when the process dies. An export that ended in this moment has removed
        # the file, and a lock on a file without a name excludes nobody.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = os.path.samestat(os.fstat(lock.fileno()), path.stat())
        except (BlockingIOError, FileNotFoundError):
            is_ours = False
        if not is_ours:
            raise UserError(
                f"--out: another export writes {shown} now; wait until it has ended, or choose "
                "another folder"
            )
        try:
            yield
        finally:
            path.unlink()


def _hidden(out: Path, end: str) -> Path:
    # With the name of the machine: not every shared file system knows the locks of others.
    return out.with_name(f".{out.name}.{socket.gethostname()}.{end}")


def _is_moved_away(out: Path) -> bool:
    """Returns whether a killed export has moved the earlier export away, and nothing back."""
    return _hidden(Path(os.path.realpath(out)), "old").exists()


def _remove_stale(out: Path) -> None:
    """Removes what a killed export to the same path left; an earlier export gets its name back."""
    part, earlier = _hidden(out, "part"), _hidden(out, "old")
    # Killed between the two renames: the earlier export is whole and has lost its name.
    if earlier.exists() and not out.exists():
        earlier.rename(out)
    for folder in (part, earlier):
        shutil.rmtree(folder, ignore_errors=True)

"""Files that are whole or absent: atomic writes, and JSON lines that survive a kill."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON

# Bytes that hold the last lines of a file.
TAIL = 2**16
# Levels of nested JSON; functions that walk through it would reach Python's limit of calls.
DEEPEST = 100
# A file while `write_bytes` writes it: `.NAME.PID`.
PART = re.compile(r"\.(run\.json|result\.json|metrics\.jsonl|preprocessing\.json)\.\d+")


# Errors of a machine that cannot write now: the command was right, and no other path helps.
EXHAUSTED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ENOMEM, errno.ESTALE),
)

# A file is not there, or something else is in its place. With any other error, such as too many
# open files, it may be there and whole.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)


def check_workdir(folder: Path, marker: str) -> None:
    """Raises UserError for a path that is not a folder, or a folder of something else.

    Args:
      folder: the folder of a run or a study; it may be absent or empty.
      marker: the file that identifies it. It is written first, so that a killed run has it too.
    """
    if problem := name_problem(str(folder)):
        raise UserError(f"workdir: got {str(folder)!r}, {problem}")
    # The folders above it count, too: `mkdir` would fail at the first that is not a folder.
    for place in (folder, *folder.parents):
        if place.is_symlink() and not place.exists():
            target = place.readlink()
            raise UserError(f"workdir: {place} is a link to {target}, which does not exist")
        if place.exists():
            if not place.is_dir():
                raise UserError(f"workdir: {place} is not a folder")
            break
    # A hidden file may be a part that a killed process left.
    foreign = folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())
    if foreign and not (folder / marker).is_file():
        others = {"run.json": "a run", "study.json": "a study"}
        for other, what in others.items():
            if (folder / other).is_file():
                raise UserError(f"workdir: {folder} holds {what}; choose another folder")
        raise UserError(f"workdir: {folder} is not empty and holds no {marker}; choose another")


def name_problem(name: str) -> str | None:
    """Returns why a name cannot be the path of results, as the end of a message; or None.

    Such names would be written as they are into commands, messages and pages.

    Args:
      name: the path.
    """
    if not name:
        return "expected the path of a folder"
    # Control characters; line ends; the surrogates for which Python takes bytes that are no text.
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "expected a path without control characters, in UTF-8"
    if long := next((part for part in Path(name).parts if len(part.encode()) > 255), None):
        return f"expected names of at most 255 bytes, not {len(long.encode())}"
    return None


def write_text(path: Path, text: str) -> None:
    """Writes a file at once: a reader sees the old content or the new, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # One name per process and not a random one: the next write replaces what a kill left.
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        # An error of a write does not name the file, as that of a full disk.
        raise OSError(error.errno, error.strerror, str(path)) from error


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk, so that a power failure loses none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot do it for folders, and nothing else can be done there.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Gives a block that one process at a time runs.

    Args:
      path: a file for the lock alone. A hidden one: if the process is killed here, the folder still
        counts as empty.

    Example:
      with locked(folder / ".lock"):
          change(folder)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        # The lock is freed when the process dies, so a kill leaves nothing to clean up.
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_json(path: Path, data: JSON) -> None:
    """Writes JSON at once; a number that is not finite becomes null."""
    write_text(path, json_text(data))


def json_text(data: JSON) -> str:
    """Returns JSON as `write_json` writes it."""
    return json.dumps(finite(data), indent=2) + "\n"


def finite(data: JSON) -> JSON:
    """Returns JSON-ready data with null for numbers that JSON does not know."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    if isinstance(data, float) and not abs(data) < float("inf"):
        return None
    return data


def flatten(data: dict[str, JSON], prefix: str = "") -> dict[str, JSON]:
    """Returns nested sections as dotted keys."""
    flat: dict[str, JSON] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differences(before: JSON, now: JSON) -> str:
    """Returns the settings in which two records differ, as text: `optim.lr: 0.1, now 0.2`.

    Args:
      before, now: two nested dicts. A field that one of them lacks counts as None.
    """
    old, new = flatten(before), flatten(now)
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    shown = [f"{name}: {old.get(name)!r}, now {new.get(name)!r}" for name in changed[:3]]
    return ", ".join([*shown, "..."] if len(changed) > 3 else shown)


def read_json(path: Path, **kinds: type) -> dict[str, JSON] | None:
    """Reads a JSON object, or returns None for a file that is missing or damaged.

    Args:
      path: the file.
      kinds: keys that the object has to have, with the type of each value. A file without them
        counts as damaged.

    Example:
      read_json(folder / "run.json", id=str, spec=dict)
    """
    try:
        return parse_object(read_if_there(path) or "", kinds)
    except ValueError:
        return None


def read_if_there(path: Path) -> str | None:
    """Returns the text of a file, or None if it is not there.

    Args:
      path: the file.

    Raises:
      OSError: if it may be there, and cannot be read now.
      ValueError: if it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return None


def read_lines(path: Path, having: str = "", **kinds: type) -> list[dict[str, JSON]]:
    """Reads JSON lines up to the first that is damaged; a missing file has none.

    Args:
      path: the file.
      having: reads only lines with this text in them, and spares parsing the others.
      kinds: as in `read_json`, of each line.
    """
    rows: list[dict[str, JSON]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if having in line:
                    rows.append(parse_object(line, kinds))
    except ValueError:
        pass
    except OSError as error:
        if error.errno not in ABSENT:
            raise
    return rows


def read_last_line(path: Path, **kinds: type) -> dict[str, JSON] | None:
    """Returns the last whole JSON line of a file, or None without one; reads only the file's end.

    Args:
      path: the file, to which a process may be writing.
      kinds: as in `read_json`.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return None
    # What follows the last end of a line is a line that is being written, or nothing.
    for line in reversed(lines[:-1]):
        with suppress(ValueError):
            return parse_object(line, kinds)
    return None


def parse_object(text: str, kinds: Mapping[str, type] | None = None) -> dict[str, JSON]:
    """Returns a JSON object with certain keys.

    Args:
      text: JSON.
      kinds: as in `read_json`, or None.

    Raises:
      ValueError: for anything else.

    Example:
      >>> parse_object('{"step": 3}', {"step": int})
      {'step': 3}
    """
    try:
        data = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(data, dict):
        raise ValueError("no object")
    # Counted first: most files have few brackets, and looking at all values takes longer.
    if text.count("{") + text.count("[") > DEEPEST and _is_deep(data):
        raise ValueError("nested too deeply")
    for key, kind in (kinds or {}).items():
        if not isinstance(data.get(key), kind):
            raise ValueError(f"no {key}")
    return data


def _is_deep(data: JSON) -> bool:
    """Returns whether JSON is nested deeper than any file of this package."""
    level = [data]
    for _ in range(DEEPEST):
        inner = [item for item in level if isinstance(item, (dict, list))]
        level = [v for item in inner for v in (item.values() if isinstance(item, dict) else item)]
    return any(isinstance(item, (dict, list)) for item in level)


def valid_by_step(rows: Iterable[dict[str, JSON]], metric: str) -> dict[int, float]:
    """Returns a validation metric by step, where it is finite.

    Args:
      rows: of a run's metrics.jsonl.
      metric: its name.
    """
    return {
        row["step"]: row[metric]
        for row in rows
        if row["split"] == "valid" and isinstance(row.get(metric), (int, float))
    }


def write_lines(path: Path, rows: Iterable[dict[str, JSON]]) -> None:
    """Writes JSON lines at once."""
    write_text(path, json_lines(rows))


def json_lines(rows: Iterable[dict[str, JSON]]) -> str:
    """Returns rows as JSON, one line each; a number that is not finite becomes null."""
    return "".join(json.dumps(finite(row)) + "\n" for row in rows)


def remove_parts(folder: Path) -> None:
    """Removes the parts of files that killed writes of `write_bytes` left in a folder.

    Args:
      folder: a folder that no other process writes to now.
    """
    for path in folder.glob(".*.*"):
        if PART.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)

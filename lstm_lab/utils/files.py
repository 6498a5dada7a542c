"""Files that are whole or absent: atomic writes, and JSON lines that survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON


def check_workdir(folder: Path, marker: str) -> None:
    """Raises UserError for a path that is not a folder, or a folder of something else.

    Args:
      folder: the folder of a run or a study; it may be absent or empty.
      marker: the file that identifies it. It is written first, so that a killed run has it too.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"workdir: {folder} is not a folder")
    # A hidden file may be a part that a killed process left.
    foreign = folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir())
    if foreign and not (folder / marker).is_file():
        raise UserError(f"workdir: {folder} is not empty and holds no {marker}; choose another")


def write_text(path: Path, text: str) -> None:
    """Writes a file at once: a reader sees the old content or the new, never a part."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """The same for bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random too: two containers that share the folder may both be process 1.
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # still there if the disk is full


def fsync_folder(folder: Path) -> None:
    """Returns when the names of the files in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, data: JSON) -> None:
    """Writes JSON at once; a number that is not finite becomes null."""
    write_text(path, json.dumps(finite(data), indent=2) + "\n")


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


def read_json(path: Path) -> JSON:
    """Reads JSON, or returns None for a file that is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # Python's parser gives up on deep nesting.
    except (OSError, ValueError, RecursionError):
        return None


def read_lines(path: Path, having: str = "") -> list[dict[str, JSON]]:
    """Reads JSON lines up to the first that is damaged; a missing file has none.

    Args:
      path: the file.
      having: reads only lines with this text in them, and spares parsing the others.
    """
    rows: list[dict[str, JSON]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if having in line:
                    rows.append(json.loads(line))
    except (OSError, ValueError, RecursionError):
        pass
    return rows


def valid_by_step(rows: Iterable[dict[str, JSON]], metric: str) -> dict[int, float]:
    """Returns a validation metric by step, where it is finite.

    Args:
      rows: of a run's metrics.jsonl.
      metric: its name.
    """
    return {
        row["step"]: row[metric]
        for row in rows
        if row["split"] == "valid" and row[metric] is not None
    }


def write_lines(path: Path, rows: Iterable[dict[str, JSON]]) -> None:
    """Writes JSON lines at once."""
    write_text(path, "".join(json.dumps(finite(row)) + "\n" for row in rows))

"""The files of a run's folder. A file of another shape counts as damaged, like a missing one.

In: the folder of a run. Out: dicts that have the keys on which all readers rely. `training` and
`studies` write the files. Read `intact` next, which compares them with their hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from lstm_lab.results.plan_schema import is_layout
from lstm_lab.utils.curve import read_curves
from lstm_lab.utils.files import (
    json_text,
    parse_object,
    read_if_there,
    read_json,
    read_last_line,
    read_lines,
    write_text,
)
from lstm_lab.utils.types import JSON

METRICS = "metrics.jsonl"
# The last entry of result.json: the hash of the text before it.
SEAL = "sha256"


def lease_folder(folder: Path) -> Path:
    """Returns where the process that trains a single run keeps its lease.

    A hidden folder: if the process is killed before it writes run.json, the run's folder still
    counts as empty.

    Args:
      folder: the folder of a run.

    Example:
      current_owner(lease_folder(Path("runs/imdb")))
    """
    return folder / ".lease"


def read_head(folder: Path) -> dict[str, JSON] | None:
    """Returns the content of run.json, or None if it is missing or damaged.

    Args:
      folder: the folder of a run.

    Example:
      >>> read_head(Path("runs/imdb"))["status"]
      'completed'
    """
    return read_json(folder / "run.json", status=str)


def read_settings(folder: Path) -> dict[str, JSON] | None:
    """Returns the content of a run.json with the settings of the run in `spec`, or None.

    The run.json of an archived result has no settings.

    Args:
      folder: the folder of a run.

    Example:
      >>> read_settings(Path("runs/imdb"))["spec"]["model"]["hidden"]
      128
    """
    head = read_json(folder / "run.json", status=str, id=str, spec=dict, layout=dict)
    named = head is not None and all(
        isinstance(head["spec"].get(section), dict)
        and isinstance(head["spec"][section].get(name), str)
        for section, name in (("task", "name"), ("model", "cell"))
    )
    placed = head is not None and is_layout(head["layout"])
    repeated = head is not None and _are_restarts(
        head.get("resumed_at", []), head.get("rollbacks", [])
    )
    return head if named and placed and repeated else None


def _are_restarts(resumed_at: JSON, rollbacks: JSON) -> bool:
    if not isinstance(resumed_at, list) or not isinstance(rollbacks, list):
        return False
    steps = all(isinstance(step, int) for step in resumed_at)
    return steps and all(
        isinstance(entry, dict) and isinstance(entry.get("rows"), int) for entry in rollbacks
    )


def read_result(folder: Path) -> dict[str, JSON] | None:
    """Returns the content of result.json without its hash, or None if it is missing or damaged.

    Results of earlier versions have no hash, and name no files.

    Args:
      folder: the folder of a run.

    Example:
      >>> read_result(Path("runs/imdb"))["best"]["step"]
      800
    """
    try:
        text = read_if_there(folder / "result.json") or ""
        result = parse_object(text)
    except ValueError:
        return None
    # A changed digit of a score is still JSON.
    sealed = "files" in result or SEAL in result
    if sealed and result.pop(SEAL, None) != _seal(text.rpartition(f'"{SEAL}"')[0]):
        return None
    return result if is_result(result) else None


def write_result(folder: Path, result: Mapping[str, JSON], files: Mapping[str, JSON]) -> None:
    """Writes result.json at once, with a hash of its content; it marks the run as done.

    Args:
      folder: the folder of a run.
      result: its status, scores and so on.
      files: the other files of the run, as `intact.record_files` returns them.

    Example:
      write_result(folder, result, record_files(folder))
    """
    before, _, after = json_text({**result, "files": files, SEAL: ""}).rpartition(f'"{SEAL}"')
    sealed = after.replace('""', f'"{_seal(before)}"')
    write_text(folder / "result.json", f'{before}"{SEAL}"{sealed}')


def _seal(text: str) -> str:
    """Returns the SHA-256 of text; of text and not of bytes, since git may change line ends."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_result(result: Mapping[str, JSON]) -> bool:
    """Returns whether data are a result: a status, scores that are numbers or null, and curves.

    Args:
      result: the content of a result.json, or of a row of an archive.

    Example:
      >>> is_result({"status": "completed", "best": {"valid": {}}, "test": {"mse": "good"}})
      False
    """
    best, test, trivial = result.get("best"), result.get("test"), result.get("trivial", {})
    if not isinstance(best, dict) or not isinstance(trivial, dict):
        return False
    if read_curves(result.get("curves", {})) is None:
        return False
    numbers = [best.get("step"), *map(result.get, ("steps", "parameters", "wall_s"))]
    for metrics in (best.get("valid"), test, *trivial.values()):
        if not isinstance(metrics, dict):
            return False
        numbers += metrics.values()
    return isinstance(result.get("status"), str) and all(
        value is None or isinstance(value, (int, float)) for value in numbers
    )


def read_progress(folder: Path) -> float:
    """Returns the share of its optimizer steps that a run has recorded; 0 for a run not begun.

    A run that stops early ends before it reaches 1.

    Args:
      folder: the folder of a run.

    Example:
      >>> read_progress(Path("runs/imdb"))
      0.25
    """
    head = read_json(folder / "run.json", planned_steps=int)
    row = read_last_line(folder / METRICS, step=int)
    if head is None or row is None:
        return 0.0
    return min(float(row["step"] / max(head["planned_steps"], 1)), 1.0)


def read_rows(folder: Path, having: str = "") -> list[dict[str, JSON]]:
    """Returns the rows of metrics.jsonl up to the first that is damaged.

    Args:
      folder: the folder of a run.
      having: reads only lines with this text in them, and spares parsing the others.

    Example:
      >>> read_rows(Path("runs/imdb"))[0]["split"]
      'train'
    """
    return read_lines(folder / METRICS, having, step=int, split=str)

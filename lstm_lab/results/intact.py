"""Whether the files of a finished run are still those that it wrote.

A run ends with result.json, whose `files` has size and SHA-256 of the other files. `problems`
compares them. It never repairs: a result may have cost days, and counts without its curve or its
weights. Results of earlier versions and of archives name no files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from lstm_lab.results.run_files import METRICS, read_rows, read_settings
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from lstm_lab.utils.types import JSON

# In the folder of a checkpoint: the hash of each of its files.
HASHES = "sha256.json"
# Files that do not change after the end of a run. Events of TensorBoard repeat metrics.jsonl.
FIXED = ("run.json", METRICS, "preprocessing.json", "cell.py", "task.py")
# Larger files are compared by size alone: nobody wants to wait until gigabytes are hashed. What
# uses weights compares their hashes.
HASHED = 2**20
TRAIN_AGAIN = "delete result.json and train the run again"


def record_files(folder: Path) -> dict[str, JSON]:
    """Returns what result.json holds of the other files of a run: size and SHA-256.

    Args:
      folder: the folder of a run, whose files are complete.

    Example:
      >>> record_files(Path("runs/imdb"))["metrics.jsonl"]["bytes"]
      18203
    """
    hashes = sorted(folder.glob(f"checkpoints/best/*/{HASHES}"))
    files: dict[str, JSON] = {}
    for path in (*(folder / name for name in FIXED), *hashes):
        if path.is_file():
            content = path.read_bytes()
            sha256 = hashlib.sha256(content).hexdigest()
            files[path.relative_to(folder).as_posix()] = {"bytes": len(content), "sha256": sha256}
    for path in hashes:
        sizes = [(path.parent / name).stat().st_size for name in read_json(path) or {}]
        files[path.relative_to(folder).as_posix()]["weights"] = sum(sizes)
    return files


def problems(folder: Path, result: Mapping[str, JSON], quick: bool = False) -> list[str]:
    """Returns a line for each file of a finished run that is missing or damaged.

    Args:
      folder: the folder of the run.
      result: the content of its result.json.
      quick: whether a file of the right size is read only if it is newer than result.json, which
        was written last. It spares reading ten files for each of thousands of runs.

    Example:
      >>> problems(Path("runs/imdb"), read_result(Path("runs/imdb")))
      []
    """
    files = result.get("files")
    if files is None:
        return _problems_of_earlier_versions(folder, result)
    # Older files count as whole. Without `quick`, none is old enough.
    end = os.stat(f"{folder}/result.json").st_mtime_ns if quick else 0
    lines = []
    for name, recorded in files.items():
        wrong = _wrong(f"{folder}/{name}", recorded, end)
        if "weights" in recorded:
            # Their hashes are as they were; now the weights themselves.
            wrong = f"{HASHES} {wrong}" if wrong else _wrong_weights(folder / name, recorded, end)
        if wrong:
            lines.append(_line(folder, name, wrong, result))
    return lines


def curve_problem(folder: Path, result: Mapping[str, JSON]) -> str:
    """Returns what is wrong with the metrics.jsonl of a finished run, or nothing.

    Args:
      folder: the folder of the run.
      result: the content of its result.json.

    Example:
      >>> curve_problem(Path("runs/imdb"), read_result(Path("runs/imdb")))
      ''
    """
    recorded = (result.get("files") or {}).get(METRICS)
    wrong = "" if recorded is None else _wrong(f"{folder}/{METRICS}", recorded)
    return _line(folder, METRICS, wrong, result) if wrong else ""


def read_preprocessing(folder: Path, head: Mapping[str, JSON], setting: str) -> dict[str, JSON]:
    """Returns the content of preprocessing.json; nothing for a run without preprocessing.

    Args:
      folder: the folder of a run.
      head: the content of its run.json.
      setting: what named the folder, for errors.

    Raises:
      UserError: if it is damaged, or not what the run wrote.

    Example:
      >>> read_preprocessing(Path("runs/imdb"), read_head(Path("runs/imdb")), "workdir")["outputs"]
      ['0', '1']
    """
    path = folder / "preprocessing.json"
    expected = head.get("preprocessing_sha256")
    # Runs of earlier versions recorded no hash; those without preprocessing have no file.
    if expected is not None and not (path.is_file() and _sha256(path) == expected):
        raise UserError(f"{setting}: {path} is missing or damaged; {TRAIN_AGAIN}")
    content = read_json(path)
    if content is None and path.exists():
        raise UserError(f"{setting}: {path} is damaged; {TRAIN_AGAIN}")
    return content or {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _line(folder: Path, name: str, wrong: str, result: Mapping[str, JSON]) -> str:
    """Returns the line for a file that is missing or damaged: what is lost, and the repair."""
    if name == METRICS:
        rows = read_rows(folder)
        left = f"ends at step {rows[-1]['step']} of {result.get('steps')}" if rows else "is lost"
        return f"{folder / name} {wrong}: the curve {left}, the result counts; {TRAIN_AGAIN}"
    if not name.endswith(HASHES):
        return f"{folder / name} {wrong}; {TRAIN_AGAIN}"
    weights = (folder / name).parent
    if not weights.is_dir():
        return f"the weights of {folder} are missing; {TRAIN_AGAIN}"
    return f"the weights in {weights} are damaged: {wrong}; {TRAIN_AGAIN}"


def _wrong(path: str, recorded: Mapping[str, JSON], end: int = 0) -> str:
    """Returns how a file differs from its record: "is missing", "has changed", or nothing.

    Args:
      path: the file.
      recorded: its size in bytes and its SHA-256.
      end: files that were changed before this time, in ns, are compared by size alone.
    """
    try:
        info = os.stat(path)
        if recorded["bytes"] > HASHED or (info.st_mtime_ns <= end and stat.S_ISREG(info.st_mode)):
            return "" if info.st_size == recorded["bytes"] else "has changed"
        with open(path, "rb") as file:
            content = file.read(HASHED + 1)
    except FileNotFoundError:
        return "is missing"
    # A folder or a link to itself in its place, or a disk that does not read it.
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if hashlib.sha256(content).hexdigest() == recorded["sha256"] else "has changed"


def _wrong_weights(hashes: Path, recorded: Mapping[str, JSON], end: int) -> str:
    """Returns what is wrong with the files of a checkpoint whose hashes are whole, or nothing.

    Args:
      hashes: its file of hashes.
      recorded: what result.json holds of it.
      end: as in `_wrong`.
    """
    total = 0
    for name, sha256 in (read_json(hashes) or {}).items():
        path = f"{hashes.parent}/{name}"
        try:
            info = os.stat(path)
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        total += info.st_size
        # Read and not only counted, as far as that costs little: most models are small.
        old = info.st_mtime_ns <= end and stat.S_ISREG(info.st_mode)
        wrong = ""
        if recorded["weights"] <= HASHED and not old:
            wrong = _wrong(path, {"bytes": 0, "sha256": sha256})
        if wrong:
            return f"{name} {wrong}"
    right = total == recorded["weights"]
    return "" if right else f"its files have {total} bytes, expected {recorded['weights']}"


def _problems_of_earlier_versions(folder: Path, result: Mapping[str, JSON]) -> list[str]:
    """Returns a line if a run whose result names no files has lost its best weights."""
    try:
        if any(name.isdecimal() for name in os.listdir(folder / "checkpoints" / "best")):
            return []
    except OSError:
        pass
    # A result from an archive has neither settings nor weights.
    if result["status"] != "completed" or read_settings(folder) is None:
        return []
    return [f"the weights of {folder} are missing; {TRAIN_AGAIN}"]

"""A study's results in one file with one row per run, to commit, send, or resume from.

`pack` writes experiments/results/STUDY/runs.jsonl.gz. `unpack` gives a new folder those results, so
that a study reports, or grows, without training everything again.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from lstm_lab.results.run_files import is_result, read_head, read_result, write_result
from lstm_lab.results.study_file import read_plan, run_folder
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import finite, write_bytes, write_json
from lstm_lab.utils.types import JSON

# These identify a run in an archive. Ids do not: a new schema of ids would orphan old results.
IDENTITY = {"variant": str, "stage": str, "point": dict, "seed": int}
PACKED = "rows that `lstm-lab pack` wrote"


def pack(workdir: Path, path: Path) -> int:
    """Writes the results of a study's runs to a gzipped file of JSON lines.

    Args:
      workdir: the study's folder.
      path: the file.

    Returns:
      The number of runs in it.

    Raises:
      UserError: for a folder without a study.
    """
    rows = []
    for run, row in read_plan(workdir)["runs"].items():
        folder = run_folder(workdir, run)
        result, head = read_result(folder), read_head(folder) or {}
        if result is not None:
            # The sizes and hashes of files that are not in the archive.
            result.pop("files", None)
            made_by = {name: head.get(name) for name in ("versions", "git", "machine", "layout")}
            meaning = {"redefined": changed} if (changed := head.get("redefined")) else {}
            ours = {name: row[name] for name in IDENTITY}
            rows.append({**ours, **meaning, "result": result, **made_by})
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    # gzip stores a time by default. Without it, equal results give equal bytes: no noise in git.
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
    return len(rows)


class RunSlot(NamedTuple):
    """The identity of a run without its point, which tuning may not have chosen yet.

    Attributes:
      variant, stage, seed: as in the plan.
      redefined: which settings came to mean something else, as `config.ids.redefinitions` has them.
        A result of the earlier meaning is not one of the run.
    """

    variant: str
    stage: str
    seed: int
    redefined: tuple[tuple[str, int], ...]


def slot_of(row: dict[str, JSON], redefined: Mapping[str, int]) -> RunSlot:
    """Returns the slot of a planned or an archived run."""
    meaning = tuple(sorted(redefined.items()))
    return RunSlot(row["variant"], row["stage"], row["seed"], meaning)


def archived_slots(rows: Iterable[dict[str, JSON]]) -> Counter[RunSlot]:
    """Returns the number of results for each slot.

    Args:
      rows: as `read_archive` returns them.
    """
    return Counter(slot_of(row, row.get("redefined", {})) for row in rows)


def count_slots(path: Path) -> Counter[RunSlot]:
    """Returns the number of runs that an archive holds for each slot."""
    return archived_slots(read_archive(path))


def read_archive(path: Path, setting: str = "--results") -> list[dict[str, JSON]]:
    """Returns the rows of an archive.

    Args:
      path: the file.
      setting: the flag or argument that names it, for messages.

    Raises:
      UserError: for any other file.
    """
    try:
        content = path.read_bytes()
        if not content:
            raise EOFError("the file is empty")  # gzip reads it as an empty archive
        rows = [json.loads(line) for line in gzip.decompress(content).splitlines()]
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{setting}: {path} is no archive of `lstm-lab pack`: {reason}") from None
    for number, row in enumerate(rows, 1):
        sound = (
            isinstance(row, dict)
            and all(isinstance(row.get(key), kind) for key, kind in IDENTITY.items())
            and isinstance(row.get("result"), dict)
            and is_result(row["result"])
        )
        if not sound:
            raise UserError(f"{setting}: {path}: line {number} is no result; expected {PACKED}")
    return rows


def unpack(path: Path, workdir: Path, redefined: Mapping[str, dict[str, int]]) -> int:
    """Copies results into a study's folder, for planned runs that have none there.

    Args:
      path: a file that `pack` wrote.
      workdir: the study's folder, with its plan.
      redefined: `redefinitions` of planned runs, by id. Results of another meaning of the same
        settings are left out.

    Returns:
      The number of runs that got a result.
    """
    # Matched by slot and point, not by id: ids change with the schema.
    planned = {identity(row): run for run, row in read_plan(workdir)["runs"].items()}
    count = 0
    for row in read_archive(path):
        run = planned.get(identity(row))
        if run is None or row.get("redefined", {}) != redefined.get(run, {}):
            continue
        folder = run_folder(workdir, run)
        if read_result(folder) is not None:
            continue
        head = {k: v for k, v in row.items() if k != "result"}
        write_json(folder / "run.json", {**head, "status": row["result"]["status"]})
        # result.json last: its existence marks the run as done. It gets the run's present id.
        write_result(folder, {**row["result"], "id": run}, {})
        count += 1
    return count


def identity(row: dict[str, JSON]) -> str:
    """Returns what identifies a planned or an archived run in its study."""
    return json.dumps({name: row[name] for name in IDENTITY}, sort_keys=True)

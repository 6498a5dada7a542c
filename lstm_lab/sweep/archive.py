"""A study's results as one file, a row a run: to commit, to send, and to go on from."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import finite, read_json, write_bytes, write_json

ROW = ("variant", "stage", "point", "seed")


def pack(workdir: Path, path: Path) -> int:
    """Writes the results of a study's runs into a gzipped file of JSON lines.

    Args:
      workdir: the study's folder.
      path: the file.

    Returns:
      How many runs it holds.

    Raises:
      UserError: for a folder that holds no study.
    """
    plan = read_json(workdir / "study.json")
    if plan is None:
        raise UserError(f"workdir: {workdir} holds no study (study.json is missing or damaged)")
    rows = []
    for run, row in plan["runs"].items():
        result = read_json(workdir / "runs" / run / "result.json")
        head = read_json(workdir / "runs" / run / "run.json") or {}
        if result is not None:
            made = {name: head.get(name) for name in ("versions", "git", "machine", "layout")}
            rows.append({**{name: row[name] for name in ROW}, "result": result, **made})
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    # Without a time in it, the same results are the same file.
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
    return len(rows)


class Place(NamedTuple):
    """Where in a study a run belongs, but for its point, which tuning may still have to choose."""

    variant: str
    stage: str
    seed: int


def place(row: dict[str, Any]) -> Place:
    """Returns the place of a planned or an archived run."""
    return Place(row["variant"], row["stage"], row["seed"])


def places(path: Path) -> Counter[Place]:
    """Returns how many runs an archive holds for each place."""
    return Counter(place(row) for row in _rows(path))


def _rows(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def unpack(path: Path, workdir: Path) -> int:
    """Puts results into a study's folder for planned runs that have none there.

    Runs are matched by variant, stage, point and seed: their ids may have changed since.

    Args:
      path: what `pack` wrote.
      workdir: the study's folder, with its plan.

    Returns:
      How many runs it gave a result.
    """
    plan = read_json(workdir / "study.json")
    planned = {_key(row): run for run, row in plan["runs"].items()}
    given = 0
    for row in _rows(path):
        run = planned.get(_key(row))
        if run is None or (workdir / "runs" / run / "result.json").exists():
            continue
        head = {k: v for k, v in row.items() if k != "result"}
        write_json(workdir / "runs" / run / "run.json", {**head, "status": row["result"]["status"]})
        write_json(workdir / "runs" / run / "result.json", {**row["result"], "id": run})
        given += 1
    return given


def _key(row: dict[str, Any]) -> str:
    return json.dumps({name: row[name] for name in ROW}, sort_keys=True)

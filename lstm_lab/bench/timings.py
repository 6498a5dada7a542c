"""Writes the results of the suite `backends` to timings.json, which `auto` reads.

In: the result of `run_suite`. Out: a table with one row per cost family and shape. Read
`recurrence/dispatch.py` for how `auto` uses it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.cells import get_variant
from lstm_lab.recurrence.dispatch import family
from lstm_lab.utils.files import write_text

COMMAND = "lstm-lab bench --suite=backends"
SHAPE = ("members", "B", "T", "D", "H")


def update_timings(path: Path, result: dict[str, Any]) -> None:
    """Replaces the rows of one kind of device in a table of timings.

    Args:
      path: the table, as recurrence/timings.json; created if it does not exist.
      result: the result of `run_suite` for the suite `backends`.
    """
    machine = result["machine"]
    rows: dict[str, dict[str, Any]] = {}
    for row in result["rows"]:
        case, backend = row["case"], row["contender"].removeprefix("lstm_lab ")
        shape = {name: case[name] for name in SHAPE}
        # By family: variants of the same cost share the row of the one that was timed.
        entry = {"cell": family(get_variant(case["cell"]).spec), **shape, "ms": {}}
        merged = rows.setdefault(row["label"], entry)
        merged["ms"][backend] = round(float(np.median(row["ms"])), 4)
    versions = {name: machine["versions"][name] for name in ("jax", "jaxlib")}
    head = {**machine, "versions": versions, "command": COMMAND}
    table = {**head, "rows": list(rows.values())}
    tables = json.loads(path.read_text())["tables"] if path.exists() else []
    # Other devices keep their rows: one file serves all machines.
    tables = [old for old in tables if old["device"] != table["device"]]
    write_text(path, _lines([*tables, table]))


def _lines(tables: list[dict[str, Any]]) -> str:
    """Returns the tables as JSON with one row per line, so that diffs are readable."""
    texts = []
    for table in tables:
        head = json.dumps({**table, "rows": []}).removesuffix("]}")
        rows = ",\n  ".join(json.dumps(row) for row in table["rows"])
        texts.append(f"{head}\n  {rows}\n]}}")
    return '{"tables": [\n' + ",\n".join(texts) + "\n]}\n"

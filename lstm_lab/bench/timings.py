"""Writes what the suite `backends` measured into the table from which `auto` chooses."""

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


def renew(path: Path, result: dict[str, Any]) -> None:
    """Puts a bench's rows into a table, in place of what it had for the same kind of device.

    Args:
      path: the table, as recurrence/timings.json; made where it is missing.
      result: what `run_suite` gave for the suite `backends`.
    """
    machine = result["machine"]
    rows: dict[str, dict[str, Any]] = {}
    for row in result["rows"]:
        case, backend = row["case"], row["contender"].removeprefix("lstm_lab ")
        shape = {name: case[name] for name in SHAPE}
        entry = {"cell": family(get_variant(case["cell"]).spec), **shape, "ms": {}}
        kept = rows.setdefault(row["label"], entry)
        kept["ms"][backend] = round(float(np.median(row["ms"])), 4)
    versions = {name: machine["versions"][name] for name in ("jax", "jaxlib")}
    head = {**machine, "versions": versions, "command": COMMAND}
    table = {**head, "rows": list(rows.values())}
    tables = json.loads(path.read_text())["tables"] if path.exists() else []
    tables = [old for old in tables if old["device"] != table["device"]]
    write_text(path, _lines([*tables, table]))


def _lines(tables: list[dict[str, Any]]) -> str:
    """Returns the tables as JSON with a row a line, so that what changed can be read."""
    written = []
    for table in tables:
        head = json.dumps({**table, "rows": []}).removesuffix("]}")
        rows = ",\n  ".join(json.dumps(row) for row in table["rows"])
        written.append(f"{head}\n  {rows}\n]}}")
    return '{"tables": [\n' + ",\n".join(written) + "\n]}\n"

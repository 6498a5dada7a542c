"""The tables of compiled.md: what XLA made of each program, before and after its loops changed.

Command: python docs/measurements/compiled.py TARGET, for v5e-1 and for h100.
In: compiled.jsonl, which `lstm-lab compile --all --out` writes, and compiled_before.jsonl, the
memory and the counts of the loops before. Printed: a table in Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from lstm_lab.utils.files import read_lines
from lstm_lab.utils.tables import markdown_table
from lstm_lab.utils.types import JSON

HERE = Path(__file__).parent
HEAD = "config or variant,compiles,memory (MiB),forward,backward,kernels,collectives,at least"
Row = Mapping[str, JSON]


def counts(row: Row) -> list[str]:
    """Returns memory, kernels per time step in both passes, and kernels per optimizer step."""
    launches = row["launches"]
    return [
        f"{row['memory']['total'] / 2**20:,.0f}",
        *(f"{max(launches[side], default=0.0):.1f}" for side in ("forward", "backward")),
        f"{launches['total']:,.0f}",
    ]


def cells(row: Row, before: Row | None) -> list[str]:
    """Returns a line of the table; `before → now` for what is counted in both files."""
    if row["refused"]:
        return [row["name"], str(row["refused"]), *[""] * 6]
    now, collectives = counts(row), str(row["launches"]["collectives"])
    if before:
        now = [f"{old} → {new}" for old, new in zip(counts(before), now, strict=True)]
    bound = 1e6 * row["cost"]["seconds"]
    least = f"{bound:,.0f} µs" if bound >= 100 else f"{bound:.3g} µs"
    return [row["name"], f"{row['seconds']:.0f} s", *now, collectives, least]


def table(target: str) -> str:
    """Returns the table of a target."""
    now, before = (
        {row["name"]: row for row in read_lines(HERE / file) if row["target"] == target}
        for file in ("compiled.jsonl", "compiled_before.jsonl")
    )
    lines = [cells(row, before.get(name)) for name, row in now.items()]
    return markdown_table([HEAD.split(","), *lines])


if __name__ == "__main__":
    print(table(sys.argv[1]))

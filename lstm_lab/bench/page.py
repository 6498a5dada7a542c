"""The page of a result: machine, command, chart and tables, for the documentation.

In: a result and its tables. Out: SUITE.md, SUITE.png and SUITE.json in a folder.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from lstm_lab.bench.chart import draw
from lstm_lab.bench.compare import summary
from lstm_lab.utils.files import finite, write_bytes, write_text

TITLES = {
    "layer": "One layer and one stack",
    "train": "A training step of a whole model",
    "population": "A population",
    "backends": "The backends, by cost of the cell",
    "cells": "The backends, cell by cell",
    "costs": "Cold start, compile time and memory",
    "streaming": "One step of a stream",
    "errors": "Deviations from float64",
    "trials": "Whole trials",
}
DPI = 150
READING = (
    "Times are medians over rounds in which the contenders take turns, each in a process of its "
    "own. Ratios are medians over the rounds, with minimum and maximum."
)


def write_page(folder: Path, result: dict[str, Any], tables: str) -> list[Path]:
    """Writes the page of a result.

    Args:
      folder: the folder; several suites may share it.
      result: the result of a suite.
      tables: its tables as Markdown, which begin with the machine.

    Returns:
      The files that were written.
    """
    suite = result["suite"]
    machine, _, rest = tables.partition("\n\n")
    lines = [f"# Measured: {TITLES[suite]}", "", machine, "", READING, ""]
    if command := result.get("command"):
        lines += ["```", command, "```", ""]
    files = [folder / f"{suite}.md", folder / f"{suite}.json"]
    figure = draw(result) if suite not in ("errors", "trials") else None
    if figure is not None:
        files.append(folder / f"{suite}.png")
        content = io.BytesIO()
        # Without the version of matplotlib: the same result gives the same file.
        figure.savefig(
            content, format="png", dpi=DPI, facecolor="white", metadata={"Software": None}
        )
        write_bytes(files[-1], content.getvalue())
        lines += [f"![{_alt(result)}]({suite}.png)", ""]
    lines += [rest, "", f"All times: [{suite}.json]({suite}.json).", ""]
    write_text(files[0], "\n".join(lines))
    write_text(files[1], _compact(result))
    return files


def _alt(result: dict[str, Any]) -> str:
    """Returns a description of the chart for who cannot see it."""
    rows = [row for row in result["rows"] if not row["memory_settings"]]
    start = "Ratios of times per shape on a logarithmic axis, with their range over the rounds."
    if result["suite"] in ("cells", "backends", "costs"):
        return start
    return " ".join([start, *summary(rows)])


def _compact(result: dict[str, Any]) -> str:
    """Returns a result as JSON with one line per row."""
    rows = ",\n".join(json.dumps(finite(row)) for row in result["rows"])
    # `rows` is moved to the end, where its lines can follow.
    rest = {key: value for key, value in result.items() if key != "rows"}
    start = json.dumps(finite({**rest, "rows": []})).removesuffix("[]}")
    return f"{start}[\n{rows}\n]}}\n"

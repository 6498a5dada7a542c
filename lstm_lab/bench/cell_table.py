"""The table of what each backend serves: times over those of `scan`, and deviations from it.

In: the result of the suite `cells`. Out: Markdown, one table per shape with one line per cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_lab.bench.compare import geometric_mean, ratios
from lstm_lab.bench.table import error_lines, head
from lstm_lab.utils.tables import markdown_table

SCAN = "lstm_lab scan"
LEGEND = (
    "Milliseconds forward + backward. In brackets: the time over that of scan, as the median, "
    "minimum and maximum over the rounds; then the largest deviation from scan of the outputs / of "
    "any gradient, over the largest magnitude of that array. Empty: the backend does not serve the "
    "cell. `auto` is the backend that is taken by default."
)


def markdown(result: dict[str, Any]) -> str:
    """Returns one table per shape.

    Args:
      result: what `run_suite` returned for the suite `cells`.
    """
    lines = [*head(result), "", LEGEND]
    shapes: dict[str, list[dict[str, Any]]] = {}
    for row in result["rows"]:
        cell = row["case"]["cell"]
        shapes.setdefault(row["label"].removeprefix(f"{cell}, "), []).append(row)
    for shape, rows in shapes.items():
        lines += ["", f"**{shape}**", "", _table(rows)]
    return "\n".join([*lines, *error_lines(result)])


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(row["contender"] for row in rows))
    by_cell: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_cell.setdefault(row["case"]["cell"], {})[row["contender"]] = row
    lines = [["cell", "auto", *(name.removeprefix("lstm_lab ") for name in names)]]
    medians: dict[str, list[float]] = {name: [] for name in names}
    for cell, found in by_cell.items():
        auto = next((row["auto"] for row in found.values() if "auto" in row), "")
        line = [cell, auto]
        for name in names:
            line.append(_entry(found.get(name), found.get(SCAN)))
            if name != SCAN and name in found and SCAN in found:
                medians[name].append(ratios(found[name]["ms"], found[SCAN]["ms"])[0])
        lines.append(line)
    means = [f"{geometric_mean(medians[n]):.2f}" if medians[n] else "" for n in names]
    lines.append(["geometric mean over scan", "", *means])
    return markdown_table(lines)


def _entry(row: dict[str, Any] | None, scan: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    text = f"{np.median(row['ms']):.3g}"
    if scan is None or row is scan:
        return text
    median, low, high = ratios(row["ms"], scan["ms"])
    text += f" ({median:.2f}; {low:.2f}-{high:.2f}"
    if deviation := row.get("deviation"):
        text += f"; {deviation['outputs']:.0e} / {deviation['gradients']:.0e}"
    return f"{text})"

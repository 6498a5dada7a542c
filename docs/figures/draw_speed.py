"""Draws docs/figures/speed.png from the first table of docs/benchmarks.md.

Command: python docs/figures/draw_speed.py
"""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from lstm_lab.report.render.figures.style import ACCENT, COLORS, INK, apply_style

FOLDER = Path(__file__).parent
HEADING = "**Forward + backward**, to weights and inputs"
LIBRARIES = {"torch": "PyTorch", "flax": "Flax", "keras": "Keras", "haiku": "Haiku"}
LIBRARIES |= {"equinox": "Equinox"}


def read_ratios(text: str) -> dict[str, list[float]]:
    """Returns their time divided by ours, for each library and shape; the mean comes last.

    Args:
      text: docs/benchmarks.md.
    """
    table = text.partition(HEADING)[2].strip().split("\n\n")[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    ratios: dict[str, list[float]] = {}
    for name in LIBRARIES:
        cells = [row[header.index(name)] for row in rows]
        # "9.32 (0.91; 0.76-0.97)": our time over theirs is the first number in brackets.
        ours = [
            float(re.search(r"\((\d\.\d+);|^(\d\.\d+)$", cell)[0].strip("(;")) for cell in cells
        ]
        ratios[name] = [1 / value for value in ours]
    return ratios


def draw(ratios: dict[str, list[float]]) -> Figure:
    """Draws one row of points per library; a line marks the geometric mean.

    Args:
      ratios: from `read_ratios`.
    """
    figure = Figure(figsize=(7.2, 2.5), layout="constrained")
    axes = figure.subplots()
    apply_style(axes)
    for row, values in enumerate(reversed(ratios.values())):
        *shapes, mean = values
        axes.plot(shapes, [row] * len(shapes), "o", color=COLORS[0], ms=5, alpha=0.6, mew=0)
        axes.plot([mean, mean], [row - 0.3, row + 0.3], color=ACCENT, lw=2)
        axes.annotate(
            f"{mean:.1f} \N{MULTIPLICATION SIGN}",
            (mean, row + 0.32),
            ha="center",
            color=ACCENT,
            fontsize=8,
        )
    axes.set_yticks(range(len(ratios)), [LIBRARIES[name] for name in reversed(ratios)])
    axes.set_ylim(-0.5, len(ratios) - 0.2)
    axes.set_xscale("log")
    axes.axvline(1.0, color=INK, lw=1)
    axes.set_xticks([0.8, 1, 1.5, 2, 3, 5, 10, 20])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g} \N{MULTIPLICATION SIGN}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(
        "their time divided by ours, forward and backward pass of one layer, 2 CPU cores"
    )
    return figure


if __name__ == "__main__":
    measured = read_ratios((FOLDER.parent / "benchmarks.md").read_text(encoding="utf-8"))
    draw(measured).savefig(FOLDER / "speed.png", dpi=130, facecolor="white")

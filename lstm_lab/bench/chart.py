"""The chart of a bench: ratios per shape on a logarithmic axis, with 1 marked.

In: a result. Out: a matplotlib figure. `page.py` writes it. The figure is narrow and tall, so that
its text stays legible on the screen of a phone.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lstm_lab.bench.compare import CaseRatios, backend_ratios, case_ratios
from lstm_lab.bench.table import MODEL_TITLES
from lstm_lab.report.render.figures.style import COLORS, GRID_LINE, INK, MUTED, apply_style

WIDTH = 5.2  # inches; a screen of 390 pixels shows text of 9 points at about its size
ROW, PANEL, FRAME = 0.4, 0.6, 0.9  # inches of a row, of a panel's title, of legend and axis
TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
MARKERS = "osD^v"


def draw(result: dict[str, Any]) -> Figure | None:
    """Draws the ratios of a result, one panel per kind of work or shape; None without ratios.

    Args:
      result: the result of a suite, of which the default memory settings are drawn.
    """
    rows = [row for row in result["rows"] if not row["memory_settings"]]
    if result["suite"] in ("cells", "backends"):
        found, quotient = backend_ratios(rows), "time of the backend / time of scan"
    elif result["suite"] == "costs":
        found, quotient = case_ratios(rows, "cold_s"), "our cold start / theirs"
    else:
        found, quotient = case_ratios(rows), "our time / theirs"
    found = [case for case in found if case.others]
    if not found:
        return None
    panels: dict[str, list[CaseRatios]] = {}
    for case in found:
        panels.setdefault(case.group, []).append(case)
    heights = [len(cases) * ROW + PANEL for cases in panels.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) + FRAME), layout="constrained")
    grid = figure.subplots(
        len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    series = list(dict.fromkeys(name for case in found for name in case.others))
    for axes, (group, cases) in zip(grid[:, 0], panels.items(), strict=True):
        _panel(axes, cases, series)
        axes.set_title(MODEL_TITLES.get(group, group), loc="left", fontsize=10, color=INK, x=0.0)
    _ratio_axis(grid[-1, 0], found)
    grid[-1, 0].set_xlabel(f"{quotient}; left of 1 is faster", fontsize=9, color=INK)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(
        unique.values(),
        unique.keys(),
        loc="outside upper left",
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=2,
    )
    return figure


def _panel(axes: Axes, cases: list[CaseRatios], series: list[str]) -> None:
    """Draws one row per case: a point and a bar from minimum to maximum for each opponent."""
    apply_style(axes)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.axvline(1.0, color=INK, lw=1.2)
    step = 0.36 / max(len(series), 1)
    for row, case in enumerate(cases):
        # The name stands above the points: on their left it would take half of a narrow screen.
        axes.annotate(
            case.label,
            (0.0, row - 0.3),
            xycoords=("axes fraction", "data"),
            fontsize=8.5,
            color=INK,
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
        )
        axes.axhline(row + 0.5, color=GRID_LINE, lw=0.8)
        for place, name in enumerate(series):
            if name not in case.others:
                continue
            ratio, color = case.others[name], COLORS[place % len(COLORS)]
            y = row + 0.05 + step * place
            axes.plot([ratio.low, ratio.high], [y, y], color=color, lw=1.8, alpha=0.6)
            marker = MARKERS[place % len(MARKERS)]
            axes.plot(ratio.median, y, marker, color=color, ms=5, ls="none", label=name)
    axes.set_yticks([])
    axes.set_ylim(len(cases) - 0.5, -0.6)
    # The scale below every panel: a long chart is read piece by piece.
    axes.tick_params(labelsize=9, labelbottom=True)


def _ratio_axis(axes: Axes, found: list[CaseRatios]) -> None:
    """Makes the x axis logarithmic, with ticks such as 0.2, 0.5, 1, 2."""
    ratios = [ratio for case in found for ratio in case.others.values()]
    low = min([0.8, *(ratio.low for ratio in ratios)])
    high = max([1.25, *(ratio.high for ratio in ratios)])
    axes.set_xscale("log")
    axes.set_xlim(low / 1.08, high * 1.08)
    few = high / low < 4
    wide = high / low > 50
    subs = TICKS if few else (1.0,) if wide else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", color=MUTED)

"""What all figures share: colors, axes, line styles, and output as SVG and PNG.

In: a `Comparison` and matplotlib axes. Out: `ReportFigure`, whose caller closes the figures. A page
replaces the theme colors by CSS variables, so figures follow its light or dark mode.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    StrMethodFormatter,
)

from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.utils.escape import visible

INK, MUTED, ACCENT, GRID_LINE = "#1f2933", "#829ab1", "#c05621", "#e4e7eb"
# Only these colors change between light and dark mode: `svg` replaces them in its text. Labels and
# axes must use them; another dark gray would stay dark on a dark page.
CSS_VARIABLES = {INK: "ink", MUTED: "muted", ACCENT: "accent", GRID_LINE: "line"}
# A y axis shows most of the curves, not all, if all of them need more than this times its height.
FLATTENED = 5
# More curves than this cannot be told apart.
MAX_CURVES = 8
# Distinguishable from each other, from ACCENT, and readable on white and on a dark page.
COLORS = (
    "#2b6cb0",
    "#2f855a",
    "#6b46c1",
    "#b7791f",
    "#0987a0",
    "#b83280",
    "#718096",
    "#68a02b",
)
# A name of matplotlib; or an offset, and lengths of dashes and gaps in units of the line width.
Dashes = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dashes, ...] = (
    *("-", "--", ":", "-."),
    *((0, (8, 3)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 3)), (0, (8, 1.5, 3, 1.5))),
)


@dataclass(frozen=True)
class ReportFigure:
    """A figure of a report.

    Attributes:
      name: the stem of its files.
      title: its heading.
      alt: a description in one sentence, for screen readers and as caption.
      figure: the matplotlib figure.
    """

    name: str
    title: str
    alt: str
    figure: Figure


def svg(figure: Figure, *, themed: bool = False) -> str:
    """Returns a figure as an SVG element.

    Args:
      figure: the figure.
      themed: whether to use the page's CSS variables and a transparent background. A file on its
        own has no page, so it keeps the colors of light mode.
    """
    file = io.StringIO()
    # Text stays text, and no date or random id enters: the same report gives the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lstm_lab"}):
        figure.savefig(file, format="svg", transparent=themed, metadata={"Date": None})
    text = file.getvalue()
    # Without the XML header, which is not allowed inside of HTML.
    text = text[text.index("<svg") :]
    if themed:
        for color, name in CSS_VARIABLES.items():
            text = text.replace(color, f"var(--{name})")
    return text


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG on a white background.

    Args:
      figure: the figure.

    Returns:
      The content of the file, 110 pixels per inch.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, facecolor="white")
    return file.getvalue()


def name_label(name: str) -> str:
    """Returns the name of a variant for a figure, in one line.

    Args:
      name: any text. matplotlib would take what stands between two `$` for a formula.
    """
    return " ".join(visible(name).splitlines()).replace("$", r"\$")


def new_axes(height: float = 3.6, width: float = 7.2) -> tuple[Figure, Axes]:
    """Returns a figure with one pair of axes in the report's style.

    Args:
      height, width: in inches.
    """
    # Without pyplot, which keeps every figure alive and, in a notebook, shows it a second time.
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    apply_style(axes)
    return figure, axes


def height_of(n_rows: int) -> float:
    """Returns the height in inches of a figure with one row per variant.

    Args:
      n_rows: the number of rows.
    """
    return max(2.4, 0.34 * n_rows + 1.0)


def apply_style(axes: Axes) -> None:
    """Applies the report's style to axes.

    Args:
      axes: the axes; their labels may still change.
    """
    axes.set_axisbelow(True)
    axes.grid(color=GRID_LINE)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(MUTED)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(9)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def logarithmic_x(axes: Axes, values: np.ndarray) -> None:
    """Makes the x axis logarithmic, with ticks at 1, 2 and 5 if it spans few decades.

    By default, matplotlib would write the labels of an axis from 20 to 90 as powers: 2 x 10^1.

    Args:
      axes: the axes.
      values: the positive values that they show.
    """
    axes.set_xscale("log")
    # The minor ticks of this axis are black by default, on a dark page as well.
    axes.tick_params(which="both", color=MUTED)
    few_decades = np.ptp(np.log10(values)) < 2.5
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few_decades else (1.0,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if few_decades:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def limit_to_most(axes: Axes, curves: Mapping[str, np.ndarray]) -> None:
    """Limits the y axis to most of the curves if a few far ones would flatten them.

    Far values lie outside Tukey's fences: 1.5 interquartile ranges beyond the quartiles of the
    curves' lowest and highest values. A note above the axes names the curves that leave them.

    Args:
      axes: the axes.
      curves: the values of each curve, by the name in the note.
    """
    lows, highs = (np.array([end(y) for y in curves.values()]) for end in (np.min, np.max))
    low = lows[lows >= _fences(lows)[0]].min()
    high = highs[highs <= _fences(highs)[1]].max()
    if highs.max() - lows.min() <= FLATTENED * (high - low):
        return
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    outside = [name for name, y in curves.items() if y.min() < low or y.max() > high]
    # After the name of the task, if the axes are the panel of one.
    task = axes.get_title(loc="left")
    note = f"partly outside: {', '.join(outside)}"
    title = f"{task}; {note}" if task else note
    axes.set_title(title, color=INK, fontsize=8, loc="left")


def _fences(values: np.ndarray) -> tuple[float, float]:
    """Returns Tukey's lower and upper fence."""
    q1, q3 = np.quantile(values, (0.25, 0.75))
    return q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1)


def rows_to_draw(c: Comparison, condition: Callable[[VariantRow], bool]) -> list[VariantRow]:
    """Returns the rows to draw as curves: the best `MAX_CURVES`, the baseline and the last.

    Args:
      c: the comparison.
      condition: whether a row has what the figure draws.
    """
    rows = [row for row in c.rows if condition(row)]
    extra = [row for row in rows[MAX_CURVES:] if row.variant == c.baseline or row is rows[-1]]
    return [*rows[:MAX_CURVES], *extra]


def label_without_task(c: Comparison, row: VariantRow) -> str:
    """Returns the variant without the settings of its task, such as its cell.

    Args:
      c: the comparison.
      row: the variant.
    """
    return c.labels[row.variant][1] or row.variant


def line_style(c: Comparison, row: VariantRow) -> dict[str, Any]:
    """Returns the color and dashes of a variant; its color is the same in all figures of a report.

    Variants that differ in their task alone share a color. They have different dashes, unless each
    task has its own panel. The baseline has the accent color. Dashes also tell variants apart if
    there are more than colors.

    Args:
      c: the comparison; the place of the row in it decides.
      row: the variant.

    Returns:
      Arguments of matplotlib's `plot`.
    """
    # By the place among all rows, not among those of one figure.
    labels = {other.variant: label_without_task(c, other) for other in c.rows}
    label = labels[row.variant]
    same_label = [variant for variant in labels if labels[variant] == label]
    number = 0 if c.crosses_tasks else same_label.index(row.variant)
    if c.baseline in same_label:
        return {"color": ACCENT, "ls": DASHES[number % len(DASHES)]}
    turn, place = divmod([*dict.fromkeys(labels.values())].index(label), len(COLORS))
    return {"color": COLORS[place], "ls": DASHES[(turn + number) % len(DASHES)]}


def add_legend(axes: Axes, c: Comparison, rows: list[VariantRow], hidden: int) -> None:
    """Adds a legend of variants, and a note if there are too many to draw all of them.

    Args:
      axes: the axes with labeled lines.
      c: the comparison.
      rows: the variants that are drawn.
      hidden: how many more have what the figure draws.
    """
    axes.legend(frameon=False, fontsize=8, loc="best", ncols=1 + (len(rows) > 5), labelcolor=INK)
    if hidden:
        extra = ", the baseline and the last" if c.baseline is not None else " and the last"
        note = f"the best {MAX_CURVES}{extra}"
        axes.set_title(note, color=INK, fontsize=8, loc="right")

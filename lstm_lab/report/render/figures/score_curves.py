"""One line per variant: a curve of the test split, such as the accuracy over the length.

In: a `Comparison`, or the curves of one run. Out: one figure per curve. Variants on different data
have a panel per task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.figures.panels import add_panel_legend, curve_panels, line_arguments
from lstm_lab.report.render.figures.style import (
    COLORS,
    DASHES,
    MUTED,
    Dashes,
    ReportFigure,
    new_axes,
)
from lstm_lab.report.score_curves import MeanCurve, mean_curves
from lstm_lab.utils.curve import Curve

# A curve of more points is averaged over neighbors: a test of few examples at each of 500 lengths
# would draw its noise, and hide the lines of the other variants.
MAX_POINTS = 60


def score_curves(c: Comparison) -> list[ReportFigure]:
    """Draws the mean of each curve over the runs, with bands of its 95 % interval.

    Args:
      c: the comparison.
    """
    names = dict.fromkeys(name for row in c.rows for name in row.score_curves)
    return [_figure(c, name) for name in names]


def curves_of_run(curves: Mapping[str, Curve]) -> list[ReportFigure]:
    """Draws the curves of one run.

    Args:
      curves: the curves, by name.
    """
    figures = []
    for name, curve in mean_curves([curves]).items():
        figure, axes = new_axes()
        curve = curve.averaged(MAX_POINTS)
        _line(axes, curve, color=COLORS[0], ls=DASHES[0], label="")
        _finish(axes, [curve])
        figures.append(_report_figure(name, curve, "of the run", figure))
    return figures


def _figure(c: Comparison, name: str) -> ReportFigure:
    curves = {
        row.variant: row.score_curves[name].averaged(MAX_POINTS)
        for row in c.rows
        if name in row.score_curves
    }
    drawn = curve_panels(c, lambda row: row.variant in curves)
    if drawn is None:
        raise ValueError(f"no variant has the curve {name}")
    figure, panels = drawn
    for panel in panels:
        for row in panel.rows:
            _line(panel.axes, curves[row.variant], **line_arguments(c, row))
        # The same limits in all panels: these are values of one metric, so panels can be compared.
        _finish(panel.axes, list(curves.values()))
    add_panel_legend(figure, panels, c)
    shown = "by variant: mean over runs, 95 % interval (Student's t)"
    return _report_figure(name, next(iter(curves.values())), shown, figure)


def _report_figure(name: str, curve: MeanCurve, shown: str, figure: Figure) -> ReportFigure:
    alt = f"Test {curve.y_name} over {curve.x_name} {shown}"
    if curve.places > 1:
        alt += f"; a point is the mean of at most {curve.places} values"
    alt += "." if curve.mark is None else f"; dashed: {curve.mark_name}, {curve.mark:g}."
    return ReportFigure(name, name.replace("_", " ").capitalize(), alt, figure)


def _line(axes: Axes, curve: MeanCurve, *, color: str, ls: Dashes, label: str) -> None:
    axes.plot(curve.x, curve.mean, color=color, ls=ls, lw=1.4, label=label)
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, lw=0)


def _finish(axes: Axes, curves: Sequence[MeanCurve]) -> None:
    curve, means = curves[0], np.concatenate([curve.mean for curve in curves])
    if means.size:
        # Of the means: bands of few runs may be far wider, and compress all lines.
        margin = 0.05 * (np.ptp(means) or 1.0)
        axes.set_ylim(means.min() - margin, means.max() + margin)
    if curve.mark is not None:
        axes.axvline(curve.mark, color=MUTED, lw=1, ls="--", zorder=0)
    axes.set_xlabel(curve.x_name)
    axes.set_ylabel(f"test {curve.y_name}")

"""One line per variant: a curve of the test split, such as the accuracy over the length.

In: a `Comparison`, or the curves of one run. Out: one figure per curve. Variants on different data
have a panel per task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.report.render.figures.style import (
    COLORS,
    DASHES,
    INK,
    MAX_CURVES,
    MUTED,
    Dashes,
    ReportFigure,
    add_legend,
    apply_style,
    label_without_task,
    line_style,
    name_label,
    new_axes,
    rows_to_draw,
)
from lstm_lab.report.score_curves import MeanCurve, mean_curves
from lstm_lab.utils.curve import Curve

COLUMNS = 3


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
        _line(axes, curve, COLORS[0], DASHES[0], "")
        _finish(axes, [curve])
        figures.append(_report_figure(name, curve, "of the run", figure))
    return figures


def _figure(c: Comparison, name: str) -> ReportFigure:
    rows = [row for row in c.rows if name in row.score_curves]
    curve = rows[0].score_curves[name]
    tasks = {c.labels[row.variant][0] for row in rows}
    draw = _one_panel if len(tasks) == 1 else _panels
    shown = "by variant: mean over runs, 95 % interval (Student's t)"
    return _report_figure(name, curve, shown, draw(c, name))


def _report_figure(name: str, curve: MeanCurve, shown: str, figure: Figure) -> ReportFigure:
    alt = f"Test {curve.y_name} over {curve.x_name} {shown}"
    alt += "." if curve.mark is None else f"; dashed: {curve.mark_name}, {curve.mark:g}."
    return ReportFigure(name, name.replace("_", " ").capitalize(), alt, figure)


def _one_panel(c: Comparison, name: str) -> Figure:
    rows = rows_to_draw(c, lambda row: name in row.score_curves)
    figure, axes = new_axes()
    for row in rows:
        style = line_style(c, row)
        _line(axes, row.score_curves[name], style["color"], style["ls"], name_label(row.variant))
    _finish(axes, [row.score_curves[name] for row in rows])
    add_legend(axes, c, rows)
    return figure


def _panels(c: Comparison, name: str) -> Figure:
    """Draws one panel per task; a cell has the same color in all of them."""
    # In the order of the study, and not of the scores, which are those of different tasks.
    rows = {row.variant: row for row in c.rows if name in row.score_curves}
    by_task: dict[str, list[VariantRow]] = {}
    for variant, (task, _) in c.labels.items():
        if variant in rows:
            by_task.setdefault(task, []).append(rows[variant])
    n_rows = -(-len(by_task) // COLUMNS)
    figure = Figure(figsize=(10.8, 2.5 * n_rows + 0.4), layout="constrained")
    panels: Sequence[Axes] = list(figure.subplots(n_rows, COLUMNS, squeeze=False).flat)
    drawn: dict[str, Line2D] = {}
    for axes, (task, of_task) in zip(panels, by_task.items(), strict=False):
        for row in of_task[:MAX_CURVES]:
            style = line_style(c, row, one_task=True)
            label = label_without_task(c, row)
            curve = row.score_curves[name]
            drawn[label] = _line(axes, curve, style["color"], style["ls"], name_label(label))
        apply_style(axes)
        _finish(axes, [row.score_curves[name] for row in of_task])
        axes.set_title(name_label(task), color=INK, fontsize=9, loc="left")
    for axes in panels[len(by_task) :]:
        axes.set_visible(False)
    figure.legend(
        drawn.values(),
        [name_label(label) for label in drawn],
        loc="outside upper right",
        frameon=False,
        fontsize=8,
        ncols=min(len(drawn), MAX_CURVES),
        labelcolor=INK,
    )
    return figure


def _line(axes: Axes, curve: MeanCurve, color: str, dashes: Dashes, label: str) -> Line2D:
    (line,) = axes.plot(curve.x, curve.mean, color=color, ls=dashes, lw=1.4, label=label)
    axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.15, lw=0)
    return line


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

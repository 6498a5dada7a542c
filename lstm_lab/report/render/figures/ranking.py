"""One row per variant: means with intervals and published scores, and the spread of all trials.

In: a `Comparison`. Out: figures, or None if there is nothing to draw.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.figures.panels import (
    Panel,
    panel_label,
    panels_of_rows,
    rows_by_task,
)
from lstm_lab.report.render.figures.style import (
    ACCENT,
    GRID_LINE,
    INK,
    MUTED,
    ReportFigure,
    height_of,
    name_label,
    new_axes,
)

# A metric whose trials span more than this factor, such as a loss with diverging trials, would
# put nearly all boxes at one border of a linear axis.
LOG_RATIO = 20


def ranking(c: Comparison) -> ReportFigure | None:
    """Draws each variant's mean, its 95 % interval and its single runs.

    The runs are drawn because five values can hide an outlier in a mean and an interval.

    Args:
      c: the comparison.
    """
    by_task = rows_by_task(c, lambda row: bool(row.scores))
    if not by_task:
        return None
    figure, panels = panels_of_rows(by_task, height_of(max(map(len, by_task.values()))))
    for panel in panels:
        _draw_scores(c, panel)
    alt = f"Mean test {c.test_metric} by variant with 95 % intervals"
    if not c.crosses_tasks:
        best = [row.variant for row in c.best_of(c.labels)]
        alt += f"; {'tied for best are' if len(best) > 1 else 'best is'} {', '.join(best)}"
    return ReportFigure("ranking", "Ranking", f"{alt}.", figure)


def _draw_scores(c: Comparison, panel: Panel) -> None:
    # Reversed: y grows upwards, and the best variant should be on top.
    axes, rows = panel.axes, panel.rows[::-1]
    for y, row in enumerate(rows):
        color = ACCENT if row.variant == c.baseline else INK
        axes.plot(row.scores, [y - 0.25] * len(row.scores), "o", color=MUTED, ms=3, zorder=1)
        if np.isfinite(row.mean.low):
            axes.plot(row.mean[1:], [y, y], color=color, lw=2, zorder=2)
        axes.plot(row.mean.estimate, y, "o", color=color, ms=6, zorder=3)
    _add_references(axes, c, [row.variant for row in rows])
    axes.set_yticks(range(len(rows)), [panel_label(c, row) for row in rows])
    shown = "" if c.crosses_tasks else ": mean, 95 % interval, single runs"
    axes.set_xlabel(f"test {c.test_metric}{shown}")
    axes.grid(axis="x", color=GRID_LINE)
    baseline = next((row for row in rows if row.variant == c.baseline), None)
    if baseline is not None:
        title = f"baseline {panel_label(c, baseline)}"
        axes.set_title(title, color=ACCENT, fontsize=9, loc="right")


def _add_references(axes: Axes, c: Comparison, variants: list[str]) -> None:
    """Draws published scores: as a marker on the variant's row, or as a vertical line."""
    top = len(variants) - 0.5
    for reference in c.references:
        value = reference["value"]
        if reference["variant"] in variants:
            y = variants.index(reference["variant"])
            axes.plot(value, y, "D", color=MUTED, mfc="none", ms=6, label="published", zorder=3)
        # Of which task a published score without a variant is, the study does not say.
        if reference["variant"] in variants or c.crosses_tasks:
            continue
        axes.axvline(value, color=MUTED, lw=1, ls="--", zorder=0)
        axes.annotate(
            name_label(reference["label"]),
            (value, top),
            xytext=(3, 0),
            textcoords="offset points",
            color=MUTED,
            fontsize=8,
            va="bottom",
        )
        # Each label has its own height: published scores are often close to each other.
        top += 0.45
    axes.set_ylim(-0.6, top)
    # One legend entry for all markers.
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if handles:
        axes.legend(
            handles.values(), handles.keys(), fontsize=8, frameon=False, loc="best", labelcolor=INK
        )


def trials(c: Comparison) -> ReportFigure | None:
    """Draws boxes over all tuning trials, and ticks at those that are compared.

    Args:
      c: the comparison.
    """
    # A box of fewer than five values would draw nearly every value as a quartile.
    rows = [row for row in c.rows if len(row.trials) > 4][::-1]
    if not rows:
        return None
    figure, axes = new_axes(height=height_of(len(rows)))
    line = {"color": INK, "lw": 1.2}
    axes.boxplot(
        [row.trials for row in rows],
        orientation="horizontal",
        positions=range(len(rows)),
        widths=0.5,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": ACCENT, "lw": 2},
        flierprops={"marker": ".", "ms": 3, "markeredgecolor": MUTED},
    )
    if not c.seeds:
        for y, row in enumerate(rows):
            axes.plot(row.scores, [y] * len(row.scores), "|", color=ACCENT, ms=9)
    axes.set_yticks(range(len(rows)), [name_label(row.variant) for row in rows])
    scores = np.concatenate([row.trials for row in rows])
    if np.min(scores) > 0 and np.max(scores) > LOG_RATIO * np.min(scores):
        axes.set_xscale("log")
    ticks = "" if c.seeds else f"; ticks: the best {c.top:.0%} on validation"
    # The box of a variant whose trials diverge has only the good ones.
    which = "all" if set(c.counts) == {"completed"} else "all completed"
    axes.set_xlabel(f"test {c.test_metric} of {which} trials{ticks}")
    axes.grid(axis="x", color=GRID_LINE)
    alt = (
        f"Distribution of the test {c.test_metric} of {which} trials of each variant, as box plots."
    )
    return ReportFigure("trials", "Distribution of trials", alt, figure)

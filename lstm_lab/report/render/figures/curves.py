"""One curve per variant: validation over training steps, and the expected best over trials.

In: a `Comparison`. Out: figures, or None if there is nothing to draw.
"""

from __future__ import annotations

import numpy as np

from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.report.render.figures.panels import (
    Panel,
    add_panel_legend,
    curve_panels,
    line_arguments,
)
from lstm_lab.report.render.figures.style import ReportFigure, limit_to_most, logarithmic_x


def learning_curves(c: Comparison) -> ReportFigure | None:
    """Draws mean validation curves with bands of one standard error.

    A curve shows the steps at which all of its runs were evaluated, so it ends where the first of
    them stopped early: elsewhere, a mean over fewer runs would jump although no run changes.

    Args:
      c: the comparison.
    """
    drawn = curve_panels(c, lambda row: bool(_shared_steps(row)))
    if drawn is None:
        return None
    figure, panels = drawn
    for panel in panels:
        _draw_learning_curves(c, panel)
    add_panel_legend(figure, panels, c)
    alt = f"Validation {c.metric} over optimizer steps, mean and standard error by variant."
    return ReportFigure("curves", "Learning curves", alt, figure)


def _draw_learning_curves(c: Comparison, panel: Panel) -> None:
    axes = panel.axes
    lowest, highest = [], []
    for row in panel.rows:
        steps, curves = _shared_steps(row), [dict(curve) for curve in row.curves]
        values = np.array([[curve[step] for step in steps] for curve in curves])
        mean = values.mean(0)
        error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0 * mean
        style = line_arguments(c, row)
        axes.plot(steps, mean, **style, lw=1.6)
        axes.fill_between(steps, mean - error, mean + error, color=style["color"], alpha=0.15, lw=0)
        # The worst tenth of each curve may be cut off: the first evaluations, which are the worst,
        # would compress the rest. Of a short curve, nothing is cut off.
        cut = len(mean) // 10
        lowest.append(np.sort(mean - error)[cut if c.direction == "max" else 0])
        highest.append(np.sort(mean + error)[-1 - (cut if c.direction == "min" else 0)])
    margin = 0.05 * (max(highest) - min(lowest) or 1.0)
    axes.set_ylim(min(lowest) - margin, max(highest) + margin)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel(f"validation {c.metric}")


def _shared_steps(row: VariantRow) -> list[int]:
    """Returns the steps at which all runs were evaluated; trials may differ in their steps."""
    steps = [{step for step, _ in curve} for curve in row.curves]
    return sorted(set.intersection(*steps)) if steps else []


def expected_best(c: Comparison) -> ReportFigure | None:
    """Draws the expected test score of the best of k trials over k.

    It shows how a ranking depends on the tuning budget: a variant that needs many trials may be the
    best of 100 and the worst of 5.

    Args:
      c: the comparison.
    """
    drawn = curve_panels(c, lambda row: len(row.expected_best) > 1)
    if drawn is None:
        return None
    figure, panels = drawn
    for panel in panels:
        axes, curves = panel.axes, {}
        for row in panel.rows:
            style, curve = line_arguments(c, row), np.array(row.expected_best)
            axes.plot(np.arange(1, len(curve) + 1), curve, **style, lw=1.6)
            curves[style["label"]] = curve
        limit_to_most(axes, curves)
        # Most of the gain comes from the first trials.
        logarithmic_x(axes, np.array([1, max(map(len, curves.values()))]))
        axes.set_xlabel("trials k")
        axes.set_ylabel(f"expected test {c.test_metric}")
    add_panel_legend(figure, panels, c)
    alt = (
        f"Expected test {c.test_metric} of the best of k trials, selected on validation, by "
        "variant."
    )
    if c.has_diverged_trials:
        of_task = " on its task" if c.crosses_tasks else ""
        alt += f" A trial that diverged counts as the worst score of all trials{of_task}."
    return ReportFigure("best_of", "Expected best of k trials", alt, figure)

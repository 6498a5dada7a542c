"""Draws all figures of a comparison."""

from __future__ import annotations

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.figures.by_task import scores_by_task
from lstm_lab.report.render.figures.curves import expected_best, learning_curves
from lstm_lab.report.render.figures.marginals import marginals
from lstm_lab.report.render.figures.ranking import ranking, trials
from lstm_lab.report.render.figures.score_curves import score_curves
from lstm_lab.report.render.figures.significance import critical_differences, significance
from lstm_lab.report.render.figures.style import ReportFigure

# In the order of the page. Each returns None if the comparison lacks the runs that it draws.
FIGURES = (
    scores_by_task,
    ranking,
    learning_curves,
    expected_best,
    trials,
    significance,
    critical_differences,
    marginals,
)


def draw_figures(comparison: Comparison) -> list[ReportFigure]:
    """Draws every figure that a comparison has the runs for.

    Args:
      comparison: the comparison.

    Returns:
      The figures, in the order of the page. The caller closes them, after it has written them.
    """
    figures = [draw(comparison) for draw in FIGURES]
    # First, if there are any: a curve shows what the mean of it hides.
    figures = [*score_curves(comparison), *figures]
    return [figure for figure in figures if figure is not None]

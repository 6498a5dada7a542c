"""A map of mean scores: one row per task, one column per cell, or whatever else the study crosses.

In: a `Comparison`. Out: a figure, or None for a study of one task.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.figures.ranking import LOG_RATIO
from lstm_lab.report.render.figures.style import INK, ReportFigure, name_label, new_axes

# From the worst to the best score of a task. The worst is translucent, for light and dark pages.
SCORE_COLORS = LinearSegmentedColormap.from_list("scores", ["#8080801f", "#486581"])
# White text is readable from this share of the way to the dark end.
DARK = 0.55
# Names of columns with at most this many characters stand upright, side by side.
MAX_LEVEL = 10


def scores_by_task(c: Comparison) -> ReportFigure | None:
    """Draws the mean score of each task and cell as a number and a shade.

    The darker, the better within a row: the scores of different tasks do not compare.

    Args:
      c: the comparison.
    """
    if not c.crosses_tasks:
        return None
    means = {c.labels[row.variant]: row.mean.estimate for row in c.rows if row.scores}
    tasks = list(c.tasks)
    others = list(dict.fromkeys(other for _, other in c.labels.values()))
    scores = np.array([[means.get((task, other), np.nan) for other in others] for task in tasks])
    if np.isnan(scores).all():
        return None
    shades = np.array([_shades(of_task, c.test_direction) for of_task in scores])
    longest = max(map(len, others))
    # Long names of columns stand at an angle, and need the height of their text.
    slanted = longest > MAX_LEVEL
    height = 1.0 + 0.3 * len(tasks) + (0.05 * longest if slanted else 0.0)
    figure, axes = new_axes(height=height, width=max(5.6, 2.6 + 0.75 * len(others)))
    axes.grid(visible=False)
    axes.imshow(shades, cmap=SCORE_COLORS, vmin=0, vmax=1, aspect="auto")
    for i, j in zip(*np.nonzero(~np.isnan(scores)), strict=True):
        color = "white" if shades[i, j] > DARK else INK
        text = f"{scores[i, j]:#.3g}"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(others)), [name_label(other) for other in others])
    axes.set_yticks(range(len(tasks)), [name_label(task) for task in tasks])
    if slanted:
        axes.tick_params(axis="x", labelrotation=45)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("left")
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    axes.set_xlabel(f"mean test {c.test_metric}; darker is better within a row")
    for spine in axes.spines.values():
        spine.set_visible(False)
    alt = f"Mean test {c.test_metric} by task and variant; darker is better within a row."
    return ReportFigure("scores_by_task", "Scores by task", alt, figure)


def _shades(scores: np.ndarray, direction: str) -> np.ndarray:
    """Returns how good each score of a task is: 1 for the best, 0 for the worst; NaN stays NaN."""
    known = scores[~np.isnan(scores)]
    if not len(known):
        return scores
    if direction == "min" and known.min() > 0 and known.max() > LOG_RATIO * known.min():
        scores, known = np.log(scores), np.log(known)
    best = known.min() if direction == "min" else known.max()
    # If all are equal, all are the best.
    return np.asarray(1.0 - np.abs(scores - best) / (np.ptp(known) or 1.0))

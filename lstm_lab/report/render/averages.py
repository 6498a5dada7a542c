"""Tables of averages: scores by task, of groups of variants, and curves over ranges.

In: a `Comparison`. Out: rows of text. `report/groups.py` and `report/score_curves.py` compute the
numbers.
"""

from __future__ import annotations

import numpy as np

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.render.formats import bounds, number
from lstm_lab.report.render.metric_ranges import range_note
from lstm_lab.report.score_curves import ranges
from lstm_lab.statistics.estimates import Interval

BY_TASK_NOTE = (
    "Mean test score with half of its 95 % interval (Student's t over the compared runs). Scores "
    "of different tasks do not compare: tests and ranks are within tasks."
)
GROUPS_NOTE = (
    "The scores of all variants of a group are averaged for each seed; the interval is Student's t "
    "over seeds."
)
GROUPS_OF_TRIALS_NOTE = (
    "Mean of the means of all variants of a group; the interval is Student's t over the compared "
    "trials of each variant."
)
SCORE_CURVE_NOTE = (
    "Mean over the compared runs and over all places of a range, each with the same weight, on the "
    "test split. Ranges end at the marks of the figure, such as the longest trained length."
)


def score_curve(c: Comparison, name: str) -> list[list[str]]:
    """Returns the mean of a curve of the test split over ranges of its x, by variant.

    Args:
      c: the comparison.
      name: the name of the curve.
    """
    curves = {row.variant: row.score_curves.get(name) for row in c.rows}
    parts = ranges([curve for curve in curves.values() if curve is not None])
    table = [["variant", *(f"{first:g} to {last:g}" for first, last in parts)]]
    for variant, curve in curves.items():
        means = (None if curve is None else curve.mean_over(*part) for part in parts)
        table.append([variant, *map(number, means)])
    return table


def scores_by_task(c: Comparison) -> list[list[str]]:
    """Returns one row per task, one column for each setting that is not the task's.

    Args:
      c: the comparison, which crosses tasks.
    """
    rows = {c.labels[row.variant]: row for row in c.rows}
    columns = list(dict.fromkeys(other for _, other in c.labels.values()))
    table = [["task", *columns]]
    for task in c.tasks:
        cells = [rows.get((task, column)) for column in columns]
        table.append([task, *("" if row is None else _mean_and_half(row.mean) for row in cells)])
    return table


def _mean_and_half(mean: Interval) -> str:
    if not np.isfinite(mean.low):
        return number(mean.estimate)
    return f"{number(mean.estimate)} ± {number(mean.high - mean.estimate)}"


def groups(c: Comparison) -> list[list[str]]:
    """Returns the mean score of each group of variants.

    Args:
      c: the comparison, with groups.
    """
    table = [["group", "seeds" if c.seeds else "trials", f"test {c.test_metric}", "95 % interval"]]
    for name, (mean, n) in c.groups.items():
        table.append([name, str(n), number(mean.estimate), bounds(mean)])
    return table


def groups_note(c: Comparison) -> str:
    """Returns how to read the table of groups.

    Args:
      c: the comparison, with groups.
    """
    note = GROUPS_NOTE if c.seeds else GROUPS_OF_TRIALS_NOTE
    return f"{note} {range_note(c.test_metric, [mean for mean, _ in c.groups.values()])}".strip()

"""Means of scores that are equal whenever the scores have the same mean.

In: scores. Out: the mean, correctly rounded. Everything in a report that orders means uses it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from lstm_lab.statistics.estimates import Interval, mean_interval


def exact_mean(values: Sequence[float]) -> float:
    """Returns the mean of finite values, correctly rounded.

    A sum of floats depends on their order, and NumPy's mean of three times 0.7 is not 0.7. Runs
    often agree, for example in an accuracy of 1, and rounding must not decide which one is better.

    Args:
      values: [n] scores, at least one.

    Example:
      exact_mean([0.9, 0.8, 0.7]) == exact_mean([0.7, 0.8, 0.9])  # True
    """
    # With fractions: not even math.fsum(values) / n is exact, since it rounds twice.
    return float(statistics.mean(map(float, values)))


def interval_of_mean(values: Sequence[float]) -> Interval:
    """Returns the mean, correctly rounded, and its interval as `mean_interval` computes it.

    Args:
      values: [n] scores.
    """
    interval = mean_interval(values)
    return interval._replace(estimate=exact_mean(values)) if len(values) else interval

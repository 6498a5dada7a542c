"""The ranges of metrics, and a note where an interval exceeds one.

In: intervals of means. Out: a sentence for a table, or nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from lstm_lab.statistics.estimates import Interval

# `tasks.metrics` has the names; it needs JAX, which a report does not import.
SHARE, NOT_NEGATIVE = (0.0, 1.0), (0.0, math.inf)
RANGES = {
    "accuracy": SHARE,
    "last_accuracy": SHARE,
    "sequence_accuracy": SHARE,
    "long_accuracy": SHARE,
    "macro_f1": SHARE,
    "span_f1": SHARE,
    "auc": SHARE,
    "bleu": (0.0, 100.0),
    "smape": (0.0, 200.0),
    "nll": NOT_NEGATIVE,
    "piece_nll": NOT_NEGATIVE,
    "bits": NOT_NEGATIVE,
    "perplexity": (1.0, math.inf),
    "mse": NOT_NEGATIVE,
    "mae": NOT_NEGATIVE,
    "mase": NOT_NEGATIVE,
    "first_failing_n": NOT_NEGATIVE,
}


def range_note(metric: str, intervals: Iterable[Interval]) -> str:
    """Returns a sentence if one of the intervals exceeds the range of the metric; else nothing.

    The bounds are not clipped: what they exceed shows how far from normal the scores are.

    Args:
      metric: its name; one of a user's task has no known range.
      intervals: Student's intervals of means of this metric.
    """
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    # As the tables round it. Comparisons with the bounds of too few runs, which are NaN, are false.
    bounds = [(round(interval.low, 4), round(interval.high, 4)) for interval in intervals]
    if not any(low < least or high > most for low, high in bounds):
        return ""
    span = f"{least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
    return (
        f"Some intervals exceed the range of {metric} ({span}), since Student's t assumes normal "
        "scores."
    )

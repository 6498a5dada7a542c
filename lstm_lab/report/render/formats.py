"""How numbers of a report are written: scores, p-values and intervals."""

from __future__ import annotations

import numpy as np

from lstm_lab.statistics.estimates import Interval


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number for a table; empty for None and NaN.

    Args:
      value: the number.
      digits: digits after the point; fixed, so that the points of a column are aligned.
    """
    if value is None or np.isnan(value):
        return ""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0 turns -0.0 into 0.0


def p_value(value: float) -> str:
    """Returns a p-value for a table; empty for NaN.

    Args:
      value: from 0 to 1, or NaN.
    """
    if np.isnan(value):
        return ""
    # Not "0.0000", which would look like a p-value of exactly zero.
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def bounds(interval: Interval) -> str:
    """Returns the bounds of an interval for a table; empty if they are not finite."""
    if not np.isfinite(interval.low):
        return ""
    return f"{number(interval.low)} to {number(interval.high)}"

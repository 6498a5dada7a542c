"""Curves of the test split, averaged over runs: such as the accuracy over the length of a sequence.

In: the curves of the results of one variant. Out: `MeanCurve` by name. `render/` draws them and
writes their table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from lstm_lab.utils.curve import Curve


@dataclass(frozen=True)
class MeanCurve:
    """The mean of the curves of several runs.

    Attributes:
      x_name, y_name, mark, mark_name: as in `Curve`.
      x: the places that all runs have, rising [K].
      mean: the mean over the runs [K].
      low, high: its 95 % interval by Student's t [K]; NaN for one run.
    """

    x_name: str
    y_name: str
    mark: float | None
    mark_name: str
    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def mean_over(self, first: float, last: float) -> float:
        """Returns the mean of the values from one place to another, both included; NaN for none."""
        inside = (self.x >= first) & (self.x <= last)
        return float(self.mean[inside].mean()) if inside.any() else float("nan")


def mean_curves(runs: Sequence[Mapping[str, Curve]]) -> dict[str, MeanCurve]:
    """Returns the mean of each curve, by name.

    Args:
      runs: the curves of each run, by name; a run without a curve does not enter its mean.
    """
    names = dict.fromkeys(name for curves in runs for name in curves)
    return {name: _mean([curves[name] for curves in runs if name in curves]) for name in names}


def _mean(curves: Sequence[Curve]) -> MeanCurve:
    known = [
        {x: y for x, y in zip(curve.x, curve.y, strict=True) if y is not None} for curve in curves
    ]
    # Places that a run lacks are left out: a mean over fewer runs would jump there.
    x = sorted(set.intersection(*map(set, known)))
    values_RK = np.array([[values[place] for place in x] for values in known])
    mean_K, count = values_RK.mean(0), len(curves)
    half_K = np.full(len(x), np.nan)
    if count > 1:
        t = scipy.stats.t.ppf(0.975, count - 1)
        half_K = t * values_RK.std(0, ddof=1) / np.sqrt(count)
    first = curves[0]
    return MeanCurve(
        first.x_name,
        first.y_name,
        first.mark,
        first.mark_name,
        np.array(x, float),
        mean_K,
        mean_K - half_K,
        mean_K + half_K,
    )


# Parts of equal width beyond the mark, in a table.
PARTS = 4


def ranges(curves: Sequence[MeanCurve]) -> list[tuple[float, float]]:
    """Returns the ranges of x for which a table shows a mean: up to each mark, then equal parts.

    Args:
      curves: curves of one name, of variants that may differ in their marks.

    Returns:
      The first and the last place of each range; places between two ranges do not exist.
    """
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    marks = sorted({curve.mark for curve in curves if curve.mark is not None})
    upto_marks = np.split(x, np.searchsorted(x, marks, side="right"))
    parts = [*upto_marks[:-1], *np.array_split(upto_marks[-1], PARTS)]
    return [(float(part[0]), float(part[-1])) for part in parts if len(part)]

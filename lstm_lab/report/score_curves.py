"""Curves of the test split, averaged over runs: such as the accuracy over the length of a sequence.

In: the curves of the results of one variant. Out: `MeanCurve` by name. `render/` draws them and
writes their table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.stats

from lstm_lab.utils.curve import Curve


@dataclass(frozen=True)
class MeanCurve:
    """The mean of the curves of several runs.

    Attributes:
      x_name, y_name, mark, mark_name: as in `Curve`.
      x: the places that all runs have, rising [K].
      y: the values of the runs there [R, K].
      places: the largest number of places that one value is the mean of.
    """

    x_name: str
    y_name: str
    mark: float | None
    mark_name: str
    x: np.ndarray
    y: np.ndarray
    places: int = 1

    @cached_property
    def mean(self) -> np.ndarray:
        """The mean over the runs [K]."""
        return np.asarray(self.y.mean(0))

    @property
    def low(self) -> np.ndarray:
        """The lower end of the mean's 95 % interval by Student's t [K]; NaN for one run."""
        return self.mean - self._half_width

    @property
    def high(self) -> np.ndarray:
        """The upper end of the mean's 95 % interval by Student's t [K]; NaN for one run."""
        return self.mean + self._half_width

    @cached_property
    def _half_width(self) -> np.ndarray:
        runs, places = self.y.shape
        if runs < 2:
            return np.full(places, np.nan)
        t = scipy.stats.t.ppf(0.975, runs - 1)
        return np.asarray(t * self.y.std(0, ddof=1) / np.sqrt(runs))

    def averaged(self, points: int) -> MeanCurve:
        """Returns the curve with about this many points at most: each run's means over neighbors.

        The places up to the mark and those beyond it are averaged apart, since a score often breaks
        there.

        Args:
          points: more places than these are averaged.
        """
        width = -(-len(self.x) // points)
        if width < 2:
            return self
        marked = self.x <= (np.inf if self.mark is None else self.mark)
        parts = [
            window
            for inside in (np.flatnonzero(marked), np.flatnonzero(~marked))
            # Windows of about the same width: a narrow last one would be noisier than the others.
            for window in np.array_split(inside, -(-len(inside) // width) or 1)
            if window.size
        ]
        starts = [window[0] for window in parts]
        counts = np.array([window.size for window in parts])
        return replace(
            self,
            x=np.add.reduceat(self.x, starts) / counts,
            y=np.add.reduceat(self.y, starts, axis=1) / counts,
            places=width,
        )

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
    y_RK = np.array([[values[place] for place in x] for values in known], float)
    first = curves[0]
    return MeanCurve(
        first.x_name,
        first.y_name,
        first.mark,
        first.mark_name,
        np.array(x, float),
        y_RK,
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

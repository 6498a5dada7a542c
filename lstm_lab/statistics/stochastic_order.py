"""Almost stochastic order: whether one side scores higher than the other at every quantile.

In: scores of two sides. Out: a `StochasticOrder`. Welch's test compares means; this compares whole
distributions, so it also sees a variant whose mean is higher because of a few lucky runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

N_RESAMPLES = 1000
# Below it, an order counts as shown: the threshold that Ulmer et al. 2022 advise. The definition
# would allow 0.5, which equal distributions fall below far too often: docs/benchmarks.md.
THRESHOLD = 0.2
# With fewer scores on a side, bootstrap samples are too similar, and the bound is too low:
# docs/benchmarks.md, "Statistics".
MIN_SCORES = 5


class StochasticOrder(NamedTuple):
    """How nearly one side is stochastically above the other.

    Attributes:
      ratio: the violation ratio of "a is above b": 0 if each quantile of a is above that of b, 1 if
        each is below.
      a_above_b: the upper confidence bound of the ratio (eps_min); a small value shows that a is
        better.
      b_above_a: the upper confidence bound of 1 - ratio, the violation ratio of "b is above a".
    """

    ratio: float
    a_above_b: float
    b_above_a: float


NO_ORDER = StochasticOrder(*[float("nan")] * 3)


def violation_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the share of the squared Wasserstein distance where b is above a.

    With the quantile functions A and B of both samples:

        integral of max(B(t) - A(t), 0)^2 dt  /  integral of (B(t) - A(t))^2 dt,   0 < t < 1

    The quantile functions of samples are step functions, so the integrals are exact sums.

    Args:
      a, b: scores [..., n] and [..., m], higher is better; the leading axes are the same.

    Returns:
      [...] ratios; 0.5 where both samples are equal.

    Source: del Barrio, Cuesta-Albertos and Matrán 2018, An Optimal Transportation Approach for
    Assessing Almost Stochastic Order, equation 4.
    """
    n, m = a.shape[-1], b.shape[-1]
    # In units of 1 / (n m), so that steps of both at the same place are equal numbers.
    steps = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    starts, widths = steps[:-1], np.diff(steps) / (n * m)
    difference = np.sort(b)[..., starts // n] - np.sort(a)[..., starts // m]
    squares = difference**2 * widths
    distance = squares.sum(-1)
    violated = (squares * (difference > 0)).sum(-1)
    equal = distance == 0.0
    return np.where(equal, 0.5, violated / np.where(equal, 1.0, distance))


def almost_stochastic_order(
    a: Sequence[float],
    b: Sequence[float],
    *,
    alpha: float = 0.05,
    comparisons: int = 1,
    seed: int = 0,
) -> StochasticOrder:
    """Returns how nearly a is stochastically above b, with confidence bounds.

        eps_min = ratio + z_{1 - alpha / comparisons} sigma sqrt((n + m) / (n m))

    sigma sqrt((n + m) / (n m)) is the standard deviation of the ratio over bootstrap samples of
    both sides. Bounds are clipped to [0, 1].

    Args:
      a, b: scores [n], [m], higher is better; they need not be paired.
      alpha: the level of the bounds.
      comparisons: the number of comparisons, by which Bonferroni's correction divides alpha.
      seed: of the bootstrap.

    Returns:
      The ratio and its bounds; NaN for fewer than two scores on a side.

    Example:
      >>> order = almost_stochastic_order([0.9, 0.91, 0.92, 0.9, 0.93], [0.8, 0.82, 0.8, 0.81, 0.8])
      >>> order.a_above_b
      0.0

    Source: Dror, Shlomov and Reichart 2019, Deep Dominance; Ulmer, Hardmeier and Frellsen 2022,
    deep-significance, for the threshold. Equal to deepsig 1.2.8 in a test, except its correction:
    deepsig sets the confidence to 0.95 + 0.05 / comparisons, which is Bonferroni's for two only.
    """
    if len(a) < 2 or len(b) < 2:
        return NO_ORDER
    x, y = np.asarray(a, float), np.asarray(b, float)
    ratio = float(violation_ratio(x, y))
    # A fixed seed: the same runs give the same report.
    rng = np.random.default_rng(seed)
    resampled = [
        values[rng.integers(len(values), size=(N_RESAMPLES, len(values)))] for values in (x, y)
    ]
    deviation = float(np.std(violation_ratio(*resampled)))
    margin = float(scipy.stats.norm.isf(alpha / comparisons)) * deviation
    low, high = (float(np.clip(bound, 0.0, 1.0)) for bound in (ratio - margin, ratio + margin))
    return StochasticOrder(ratio, high, 1.0 - low)

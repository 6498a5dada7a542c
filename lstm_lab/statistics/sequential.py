"""Group sequential tests: when repeated looks at growing data may stop, at a level that holds.

In: the share of the data at each look, and a level. Out: the limits of the statistic, or the
verdict of one look. `studies/sequential.py` applies them to the seeds of a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats

from lstm_lab.statistics.bayes import posterior_of_means
from lstm_lab.statistics.hypotheses import welch

LookVerdict = Literal["better", "worse", "equivalent", "no score", "undecided"]

# Nodes of the integral over the statistic at one look. Limits of 30 looks then have six digits.
NODES = 400
# The posterior probability of a difference within rope that ends a comparison as equivalent.
EQUIVALENT = 0.95


class Look(NamedTuple):
    """What one look at a comparison says.

    Attributes:
      p: the p-value of Welch's two-sided test, as if this were the only look; NaN for fewer than
        two scores on a side.
      equal: the posterior probability of a difference within rope; NaN without a rope.
      verdict: better, worse or equivalent; "no score" if a side has none; or undecided.
    """

    p: float
    equal: float
    verdict: LookVerdict


def judge_look(ours: Sequence[float], theirs: Sequence[float], limit: float, rope: float) -> Look:
    """Judges a comparison at one look.

    Better or worse: p < limit. Else equivalent: the posterior probability of a difference within
    rope is above 0.95. To stop for equivalence cannot raise the share of false differences.

    Args:
      ours, theirs: scores, higher is better.
      limit: of the p-value, from `nominal_levels`.
      rope: the largest difference that does not matter; 0 never ends a comparison as equivalent.
    """
    p = welch(ours, theirs)
    equal = posterior_of_means(ours, theirs, rope).equal if rope else float("nan")
    if not ours or not theirs:
        return Look(p, equal, "no score")
    # A comparison with NaN is false: too few scores decide nothing.
    if p < limit:
        return Look(p, equal, "better" if np.mean(ours) > np.mean(theirs) else "worse")
    return Look(p, equal, "equivalent" if equal > EQUIVALENT else "undecided")


def spent_level(share: float, alpha: float) -> float:
    """Returns the part of a two-sided level that may be spent until a share of the data.

        4 (1 - Phi(z_{1 - alpha / 4} / sqrt(share)))

    Nearly nothing at first, so that the last look has almost the whole level.

    Args:
      share: of all data, above 0, at most 1.
      alpha: the level.

    Source: Lan and DeMets 1983, Discrete Sequential Boundaries for Clinical Trials, alpha_1*, which
    is like the boundary of O'Brien and Fleming; each side spends half.
    """
    return float(4.0 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 4.0) / np.sqrt(share)))


class _Walk(NamedTuple):
    """The distribution of a statistic that has stayed within all limits so far.

    The statistic is Z sqrt(share), a sum of independent steps whose variances are the differences
    of the shares.

    Attributes:
      nodes: [N] values.
      masses: [N] their probabilities.
      share: of the data.
    """

    nodes: np.ndarray
    masses: np.ndarray
    share: float


START = _Walk(np.zeros(1), np.ones(1), 0.0)


def _crossing(walk: _Walk, limit: float, share: float) -> float:
    """Returns the probability that |Z| exceeds a limit at the next look, and not before."""
    step = np.sqrt(share - walk.share)
    # Not scipy.stats, whose checks of arguments take most of the time of the search for a limit.
    above = scipy.special.ndtr((walk.nodes - limit * np.sqrt(share)) / step)
    return float(2.0 * walk.masses @ above)


def _within(walk: _Walk, limit: float, share: float) -> _Walk:
    """Returns the walk after a look at which |Z| has stayed within a limit."""
    step = np.sqrt(share - walk.share)
    points, weights = _quadrature()
    end = limit * np.sqrt(share)
    nodes = end * points
    distances = (nodes[:, None] - walk.nodes) / step
    density = np.exp(-0.5 * distances**2) @ walk.masses / (step * np.sqrt(2.0 * np.pi))
    return _Walk(nodes, end * weights * density, share)


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Returns nodes and weights of Gauss and Legendre on [-1, 1]."""
    points, weights = np.polynomial.legendre.leggauss(NODES)
    return points, weights


def crossing_probabilities(limits: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Returns the probability, under equality, that |Z| first exceeds its limit at each look.

    By recursive integration over the values within the limits.

    Args:
      limits: of |Z| at each look.
      shares: of all data at each look, increasing, the last one 1.

    Source: Armitage, McPherson and Rowe 1969, Repeated Significance Tests on Accumulating Data;
    Jennison and Turnbull 2000, chapter 19.
    """
    walk, probabilities = START, []
    for limit, share in zip(limits, shares, strict=True):
        probabilities.append(_crossing(walk, limit, share))
        walk = _within(walk, limit, share)
    return probabilities


def spending_limits(shares: Sequence[float], alpha: float) -> list[float]:
    """Returns the limits of |Z| at each look that spend a level by `spent_level`.

    Args:
      shares: of all data at each look, increasing, the last one 1.
      alpha: the two-sided level of all looks together.

    Example:
      >>> [round(limit, 2) for limit in spending_limits([0.2, 0.4, 0.6, 0.8, 1.0], 0.05)]
      [4.88, 3.36, 2.68, 2.29, 2.03]

    Source: as `spent_level`.
    """
    walk, limits, before = START, [], 0.0
    for share in shares:
        spent = spent_level(share, alpha)
        limits.append(_limit(walk, share, spent - before))
        walk, before = _within(walk, limits[-1], share), spent
    return limits


def _limit(walk: _Walk, share: float, level: float) -> float:
    """Returns the limit that is exceeded with a probability."""
    # Beyond 40, a normal probability is 0 in float64.
    return float(scipy.optimize.brentq(lambda z: _crossing(walk, z, share) - level, 0.0, 40.0))


def nominal_levels(looks: Sequence[int], alpha: float) -> list[float]:
    """Returns the limit of the two-sided p-value at each look.

    A t statistic of few scores is not normal. Its p-value is uniform under equality all the same,
    so it is compared with the p-value of the limit, 2 (1 - Phi(limit)).

    Args:
      looks: the number of scores on each side at each look; the last one is the largest.
      alpha: the two-sided level of all looks together.

    Example:
      >>> nominal_levels([5, 10], 0.05)  # doctest: +ELLIPSIS
      [0.00305..., 0.0489...]
    """
    limits = spending_limits([n / looks[-1] for n in looks], alpha)
    return [float(2.0 * scipy.stats.norm.sf(limit)) for limit in limits]

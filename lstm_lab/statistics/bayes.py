"""Bayesian comparison: how probable it is that a variant is better, equal or worse.

In: scores of two sides. Out: a `Posterior` of the difference of their means. A p-value says how
surprising the data are if both sides are equal; this says what to believe after seeing them. The
region of practical equivalence (rope) holds the differences that do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from lstm_lab.statistics.estimates import mean_and_std

# Points of the quantiles over which a difference of two distributions is integrated.
POINTS = 4001


class Posterior(NamedTuple):
    """The posterior of the difference a - b of two means.

    Attributes:
      difference: its mean.
      low, high: bounds of its central 95 %.
      better, equal, worse: probabilities that it is above rope, within, and below -rope.
    """

    difference: float
    low: float
    high: float
    better: float
    equal: float
    worse: float


NO_POSTERIOR = Posterior(*[float("nan")] * 6)


def posterior_of_means(a: Sequence[float], b: Sequence[float], rope: float = 0.0) -> Posterior:
    """Returns the posterior of mean a - mean b for two independent samples.

    With a flat prior of the means and of the logarithms of the deviations, each mean is distributed
    as Student's t around that of its sample:

        mean_a | a  ~  t(n_a - 1; mean(a), std(a) / sqrt(n_a))

    The probabilities of the difference are integrals over the quantiles of one of them.

    Args:
      a, b: scores of runs, higher is better; they need not be paired.
      rope: the largest difference that does not matter, 0 or more.

    Returns:
      The posterior; NaN for fewer than two values on a side.

    Source: the Behrens-Fisher distribution; Kruschke 2013, Bayesian Estimation Supersedes the t
    Test, for the region of practical equivalence.
    """
    if len(a) < 2 or len(b) < 2:
        return NO_POSTERIOR
    quantiles = (np.arange(POINTS) + 0.5) / POINTS
    (center_a, error_a), (center_b, error_b) = _mean_and_error(a), _mean_and_error(b)
    mean_a = center_a + error_a * scipy.stats.t.ppf(quantiles, len(a) - 1)
    mean_b = center_b + error_b * scipy.stats.t.ppf(quantiles, len(b) - 1)

    def above(threshold: float) -> float:
        """Returns P(mean a - mean b > threshold)."""
        margin = mean_a - threshold - center_b
        if error_b == 0.0:
            return float(np.mean((margin > 0) + 0.5 * (margin == 0)))
        return float(np.mean(scipy.stats.t.cdf(margin / error_b, len(b) - 1)))

    # All pairs of some quantiles: enough for bounds, which need no more than three digits.
    some = slice(POINTS // 400 // 2, None, POINTS // 400)
    low, high = np.quantile(np.subtract.outer(mean_a[some], mean_b[some]), (0.025, 0.975))
    better, not_worse = above(rope), above(-rope)
    return Posterior(
        center_a - center_b, float(low), float(high), better, not_worse - better, 1.0 - not_worse
    )


def posterior_of_folds(differences: Sequence[float], folds: int, rope: float = 0.0) -> Posterior:
    """Returns the posterior of the mean difference over the folds of a cross-validation.

    Scores of folds are correlated, since their training data overlap by all but one fold each. The
    variance of the mean is corrected for that, as that of Nadeau and Bengio:

        mean | d  ~  t(n - 1; mean(d), std(d) sqrt(1 / n + 1 / (folds - 1)))

    Args:
      differences: of the scores of equal folds, higher is better; a whole number of repetitions.
      folds: number of folds of one cross-validation.
      rope: as in `posterior_of_means`.

    Returns:
      The posterior; NaN for fewer than two differences.

    Source: Corani and Benavoli 2015, A Bayesian approach for comparing cross-validated algorithms
    on multiple data sets; equal to baycomp's `two_on_single` in a test.
    """
    n = len(differences)
    if n < 2:
        return NO_POSTERIOR
    mean, std = mean_and_std(differences)
    scale = float(std * np.sqrt(1 / n + 1 / (folds - 1)))
    if scale == 0.0:
        better, worse = float(mean > rope), float(mean < -rope)
        if rope == 0.0 and mean == 0.0:
            better = worse = 0.5
        return Posterior(mean, mean, mean, better, 1.0 - better - worse, worse)
    t = scipy.stats.t(n - 1, mean, scale)
    better, worse = float(t.sf(rope)), float(t.cdf(-rope))
    low, high = (float(bound) for bound in t.interval(0.95))
    return Posterior(mean, low, high, better, 1.0 - better - worse, worse)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and its standard error."""
    mean, std = mean_and_std(values)
    return mean, float(std / np.sqrt(len(values)))

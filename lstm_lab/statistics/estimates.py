"""Estimates of a comparison: means, interquartile means, intervals, effect sizes.

In: scores of runs. Out: `Interval` or a number; NaN if there are too few values, never an error,
because a report is also built while a study runs. Read `hypotheses` for the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

# Each bound of a 95 % interval then lies between the 50th and the 51st most extreme resample.
N_RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate and its confidence interval; the bounds are NaN if there are too few values."""

    estimate: float
    low: float
    high: float


def mean_and_std(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Returns the mean and the sample standard deviation, exact if all values are equal.

    The rounded mean of three times 0.1 is not 0.1: NumPy gives a deviation of 1e-17, which divides
    the next effect to something huge. Runs often agree, for example in an accuracy of 1.

    Args:
      values: [n] scores, at least two, or one whose deviation counts as 0.

    Example:
      mean_and_std([0.1, 0.1, 0.1])  # (0.1, 0.0)
    """
    if np.min(values) == np.max(values):  # not Python's, which would skip a NaN
        return float(values[0]), 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the mean and its interval by Student's t.

    mean ± t_{(1 + confidence) / 2, n - 1} s / sqrt(n)

    Reports use it for means instead of a bootstrap: of normal values it covers the mean in exactly
    95 % of the cases; a percentile bootstrap of five values did so in 82 % of 600 samples
    (docs/benchmarks.md, "Statistics").

    Args:
      values: [n] scores.
      confidence: the coverage of the interval.

    Returns:
      The interval; NaN bounds for one value, NaN everywhere for none.

    Example:
      mean_interval([0.95, 0.96, 0.94, 0.97, 0.95])  # Interval(0.954, 0.9398, 0.9682)
    """
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean, std = mean_and_std(values)
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    # Student's quantile, not the normal 1.96: with five values it is 2.78.
    t = scipy.stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    half_width = float(t * std / np.sqrt(len(values)))
    return Interval(mean, mean - half_width, mean + half_width)


def interquartile_mean(values: ArrayLike) -> np.ndarray:
    """Returns the mean of the middle half along the last axis.

    A quarter of the values, rounded down, is removed on each side: less sensitive to outliers than
    the mean and, for nearly normal scores, less noisy than the median.

    Args:
      values: [..., N] scores.

    Returns:
      [...] means. For N = 4 it is the mean of the middle two values; below 4 nothing is removed.

    Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical
    Precipice.
    """
    return np.asarray(scipy.stats.trim_mean(np.asarray(values, float), 0.25, axis=-1))


def bootstrap_interval(
    strata: Sequence[Sequence[float]],
    estimator: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns an estimate over several strata and its stratified percentile bootstrap interval.

    For estimates without a formula for their interval, such as the interquartile mean. It is too
    narrow for few values: below ten, `comparison` shows no interval.

    Args:
      strata: the scores of each task or condition; each stratum is resampled separately.
      estimator: maps the pooled values [..., N] to an estimate [...] along the last axis.
      confidence: the coverage of the interval.
      seed: of the resampling.

    Returns:
      The interval; NaN bounds if a stratum has fewer than two values.
    """
    pooled = np.concatenate([np.asarray(values, float) for values in strata])
    if not len(pooled):
        return Interval(np.nan, np.nan, np.nan)
    estimate = float(estimator(pooled))
    # One value resampled is always itself: its stratum would add nothing to the width.
    if min(map(len, strata)) < 2:
        return Interval(estimate, np.nan, np.nan)
    # A fixed seed: the same runs give the same report, so two reports can be compared as text.
    rng = np.random.default_rng(seed)
    # Within strata: the number of values from each task is part of the design, not random.
    resampled = [
        np.asarray(values, float)[rng.integers(len(values), size=(N_RESAMPLES, len(values)))]
        for values in strata
    ]
    estimates = estimator(np.concatenate(resampled, axis=-1))
    low, high = np.quantile(estimates, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(estimate, float(low), float(high))


def probability_of_improvement(a: Sequence[float], b: Sequence[float]) -> float:
    """Estimates the probability that a run of a scores higher than a run of b.

    P(a > b) + P(a = b) / 2, the Mann-Whitney statistic divided by the number of pairs. It needs no
    unit, so it can be compared between tasks, and an outlier has no more weight than any other
    value.

    Args:
      a, b: scores [n_a], [n_b]; they need not be paired.

    Returns:
      The probability; NaN if a or b is empty.
    """
    if not len(a) or not len(b):
        return float("nan")
    difference = np.subtract.outer(np.asarray(a, float), np.asarray(b, float))
    return float((np.sign(difference) + 1.0).mean() / 2.0)


def hedges_g(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the difference of means in pooled standard deviations, corrected for few values.

    g = J (mean a - mean b) / s, J = 1 - 3 / (4 (n_a + n_b) - 9)

    Without J, the effect would be overestimated by 11 % for five values on each side.

    Args:
      a, b: scores [n_a], [n_b].

    Returns:
      g; NaN for fewer than two values on a side. If no value varies: 0 for equal means, else an
      infinity with the sign of the difference.

    Source: Hedges 1981, Distribution Theory for Glass's Estimator of Effect Size and
    Related Estimators.
    """
    n, m = len(a), len(b)
    if n < 2 or m < 2:
        return float("nan")
    (mean_a, std_a), (mean_b, std_b) = mean_and_std(a), mean_and_std(b)
    difference = mean_a - mean_b
    pooled_variance = ((n - 1) * std_a**2 + (m - 1) * std_b**2) / (n + m - 2)
    # Not an error: runs that all reach an accuracy of 1 do not vary.
    if pooled_variance == 0:
        return float(np.sign(difference)) * float("inf") if difference else 0.0
    return float((1.0 - 3.0 / (4.0 * (n + m) - 9.0)) * difference / np.sqrt(pooled_variance))


def expected_best(selection_scores: Sequence[float], scores: Sequence[float]) -> np.ndarray:
    """Returns the expected score of the best of k trials, for k = 1 to N.

    The mean over all subsets of size k, without replacement. The trial of rank r (0 is the worst)
    is the best of C(r, k - 1) of the C(N, k) subsets:

      E_k = sum_r C(r, k - 1) / C(N, k) score_r

    Args:
      selection_scores: [N] what selects the best trial, such as the validation score; higher is
        better, and NaN is worst.
      scores: [N] what is reported for that trial, such as the test score.

    Returns:
      An array [N]; its last value is the score of the best trial.

    Source: Dodge et al. 2019, Show Your Work; without replacement, as Tang et al. 2020 correct it.
    """
    N = len(scores)
    # NumPy sorts NaN last, as if it were the best.
    selected_by = np.nan_to_num(np.asarray(selection_scores, float), nan=-np.inf)
    # Stable: with ties, the same study must give the same curve on every machine.
    order = np.argsort(selected_by, kind="stable")
    ranked = np.asarray(scores, float)[order]
    # Python's integers: as float64, the binomials of about 1,000 trials would overflow.
    weights = [[comb(r, k - 1) / comb(N, k) for r in range(N)] for k in range(1, N + 1)]
    return np.asarray(weights).reshape(N, N) @ ranked

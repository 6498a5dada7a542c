"""Estimates of a comparison: means, medians, interquartile means, their intervals, effect sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike

RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate with its 95 % interval; bounds are NaN where there are too few values."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the mean and its interval by Student's t; NaN of no values."""
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    t = scipy.stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    half = float(t * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def interquartile_mean(values: ArrayLike) -> np.ndarray:
    """Returns the mean of the middle half along the last axis, a quarter cut off on each side.

    Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical
    Precipice.
    """
    return np.asarray(scipy.stats.trim_mean(np.asarray(values, float), 0.25, axis=-1))


def bootstrap_interval(
    strata: Sequence[Sequence[float]],
    estimate: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Returns an estimate over several strata with its stratified percentile bootstrap interval.

    Args:
      strata: values of each task or condition, resampled within themselves.
      estimate: of values [..., N] of all strata together, along the last axis.
      confidence: of the interval.
      seed: of the resampling.

    Returns:
      The estimate and its interval; NaN bounds where a stratum has fewer than two values.
    """
    everything = np.concatenate([np.asarray(values, float) for values in strata])
    if not len(everything):
        return Interval(np.nan, np.nan, np.nan)
    found = float(estimate(everything))
    if min(map(len, strata)) < 2:
        return Interval(found, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    drawn = [
        np.asarray(values, float)[rng.integers(len(values), size=(RESAMPLES, len(values)))]
        for values in strata
    ]
    estimates = estimate(np.concatenate(drawn, axis=-1))
    low, high = np.quantile(estimates, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(found, float(low), float(high))


def probability_of_improvement(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the probability that a run of a scores higher than one of b; ties count half.

    The Mann-Whitney statistic over the number of pairs; NaN where a side is empty.
    """
    if not len(a) or not len(b):
        return float("nan")
    difference = np.subtract.outer(np.asarray(a, float), np.asarray(b, float))
    return float((np.sign(difference) + 1.0).mean() / 2.0)


def hedges_g(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns the difference of means in pooled standard deviations, corrected for few values.

    g = J (mean a - mean b) / s, J = 1 - 3 / (4 (n_a + n_b) - 9)

    NaN below two values on a side; of values that do not vary, 0 or an infinity.

    Source: Hedges 1981, Distribution Theory for Glass's Estimator of Effect Size.
    """
    n, m = len(a), len(b)
    if n < 2 or m < 2:
        return float("nan")
    difference = float(np.mean(a) - np.mean(b))
    pooled = ((n - 1) * np.var(a, ddof=1) + (m - 1) * np.var(b, ddof=1)) / (n + m - 2)
    if pooled == 0:
        return float(np.sign(difference)) * float("inf") if difference else 0.0
    return float((1.0 - 3.0 / (4.0 * (n + m) - 9.0)) * difference / np.sqrt(pooled))


def expected_best(chosen_by: Sequence[float], scores: Sequence[float]) -> np.ndarray:
    """Returns the expected score of the best of k trials, for k from 1 to all of them.

    The mean over all sets of k of the N trials, without replacement: the trial of rank r by what
    chooses is the best of C(r - 1, k - 1) of the C(N, k) sets.

    Args:
      chosen_by: what chooses a trial, higher is better, such as the validation score.
      scores: what is reported of it, such as the test score.

    Returns:
      An array [N].

    Source: Dodge et al. 2019, Show Your Work; without replacement as Tang et al. 2020 correct it.
    """
    N = len(scores)
    ranked = np.asarray(scores, float)[np.argsort(np.asarray(chosen_by, float), kind="stable")]
    shares = [[comb(r, k - 1) / comb(N, k) for r in range(N)] for k in range(1, N + 1)]
    return np.asarray(shares).reshape(N, N) @ ranked

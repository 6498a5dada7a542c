"""Statistics of a comparison: intervals, Welch's test, Holm's correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats

Alternative = Literal["two-sided", "less", "greater"]


class Interval(NamedTuple):
    """A mean with its 95 % interval by Student's t; bounds are NaN below two values."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Returns the mean and its t interval; NaN of no values."""
    if len(values) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan)
    t = scipy.stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    half = float(t * np.std(values, ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def welch(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> float:
    """Returns the p-value of Welch's unequal-variances t-test that a and b have one mean.

    Below two values on a side it is NaN. Where neither side varies, it is 1 for equal means, and
    else 0 or 1 as the alternative has it: the limit of ever smaller variances.
    """
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    difference = float(np.mean(a) - np.mean(b))
    if np.std(a) == 0 and np.std(b) == 0:
        right = {"two-sided": difference != 0, "less": difference < 0, "greater": difference > 0}
        return 0.0 if right[alternative] else 1.0
    return float(scipy.stats.ttest_ind(a, b, equal_var=False, alternative=alternative).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted by Holm's step-down method; NaN stays and is not counted.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    known = [k for k, p in enumerate(p_values) if not np.isnan(p)]
    adjusted = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, k in enumerate(sorted(known, key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(known) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


class ClaimResult(NamedTuple):
    """A planned comparison's one-sided p-value, and whether it holds, fails or is inconclusive."""

    p: float
    verdict: str


def judge_claim(better: Sequence[float], worse: Sequence[float], alpha: float) -> ClaimResult:
    """Tests that `better` has the higher mean, by Welch's one-sided test.

    It holds where p < alpha, fails where the opposite does, and is inconclusive otherwise.

    Args:
      better, worse: scores, higher is better.
      alpha: the level.
    """
    p = welch(worse, better, "less")
    opposite = welch(better, worse, "less")
    if p < alpha:
        return ClaimResult(p, "holds")
    return ClaimResult(p, "fails" if opposite < alpha else "inconclusive")


def judge_equivalence(
    a: Sequence[float], b: Sequence[float], margin: float, alpha: float
) -> ClaimResult:
    """Tests that two means differ by less than a margin, by two one-sided Welch tests.

    It holds where both p < alpha, fails where a difference beyond the margin is shown at the same
    level, and is inconclusive otherwise: no difference shown is not evidence of equality.

    Args:
      a, b: scores.
      margin: what is no difference that matters.
      alpha: the level.

    Source: Schuirmann 1987, A Comparison of the Two One-Sided Tests Procedure.
    """
    up, down = [v + margin for v in a], [v - margin for v in a]
    p = max(welch(up, b, "greater"), welch(down, b, "less"))
    beyond = min(welch(up, b, "less"), welch(down, b, "greater"))
    if p < alpha:
        return ClaimResult(p, "holds")
    return ClaimResult(p, "fails" if beyond < alpha else "inconclusive")

"""Tests of a comparison: Welch, Wilcoxon, Friedman with Nemenyi's distance, Holm, equivalence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats

Alternative = Literal["two-sided", "less", "greater"]


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


def wilcoxon(
    a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided"
) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test over pairs; NaN below two, 1 if all tie.

    Args:
      a, b: scores of the same seeds and data, in the same order.
      alternative: of a against b.
    """
    difference = np.asarray(a, float) - np.asarray(b, float)
    if len(difference) < 2:
        return float("nan")
    if not difference.any():
        return 1.0
    found = scipy.stats.wilcoxon(difference, zero_method="wilcox", alternative=alternative)
    return float(found.pvalue)


def sign_flip(differences: Sequence[np.ndarray], flips: int = 20_000, seed: int = 0) -> float:
    """Returns the one-sided p-value that paired differences have a mean above zero.

    The mean over strata of their means, beside the same with every pair's sign drawn by a coin: a
    test that keeps its level whatever the distribution, where both sides of a pair are one.

    Args:
      differences: of each stratum, such as a task; NaN of none.
      flips: draws.
      seed: of the draws.

    Source: Fisher 1935, The Design of Experiments; Phipson and Smyth 2010 for the 1 added.
    """
    if not differences:
        return float("nan")
    rng = np.random.default_rng(seed)
    seen = float(np.mean([d.mean() for d in differences]))
    drawn = np.zeros(flips)
    for d in differences:
        signs = rng.integers(0, 2, size=(flips, len(d))) * 2 - 1
        drawn += (signs * d).mean(1) / len(differences)
    # Rounding must not make a tie a win.
    return float((np.sum(drawn >= seen - 1e-12) + 1) / (flips + 1))


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


class Ranks(NamedTuple):
    """Friedman's test over blocks, and mean ranks that may be drawn with a critical difference.

    Attributes:
      p: of Friedman's test that all rank alike; NaN below three of anything.
      ranks: mean rank of each, 1 is best.
      distance: Nemenyi's critical difference: ranks closer than this are not told apart.
      blocks: in how many all took part.
    """

    p: float
    ranks: dict[str, float]
    distance: float
    blocks: int


def friedman(scores: Mapping[str, Sequence[float]], alpha: float = 0.05) -> Ranks:
    """Ranks several variants within blocks, such as seeds or tasks.

    distance = q_alpha sqrt(k (k + 1) / (6 N)), q of the studentised range over sqrt 2

    Args:
      scores: of each variant in the same blocks; higher is better.
      alpha: level of the critical difference.

    Source: Demsar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, eq. 5.
    """
    names = list(scores)
    table = np.array([scores[name] for name in names], float)
    k, blocks = table.shape
    ranks = scipy.stats.rankdata(-table, axis=0).mean(axis=1) if blocks else np.full(k, np.nan)
    q = scipy.stats.studentized_range.ppf(1.0 - alpha, k, np.inf) / np.sqrt(2.0)
    varies = blocks >= 3 and k >= 3 and np.ptp(table, axis=0).any()
    p = float(scipy.stats.friedmanchisquare(*table).pvalue) if varies else float("nan")
    distance = float(q * np.sqrt(k * (k + 1) / (6.0 * blocks))) if blocks else float("nan")
    return Ranks(p, dict(zip(names, map(float, ranks), strict=True)), distance, blocks)


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

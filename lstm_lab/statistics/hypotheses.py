"""Hypothesis tests: Welch, Wilcoxon, sign flips, Holm, Friedman with Nemenyi, equivalence.

In: scores of runs. Out: p-values, or a `ClaimResult`. Like `estimates`, too few values give NaN or
"inconclusive", never an error. Read `verdicts` for how a study's claims use these tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats

from lstm_lab.statistics.estimates import mean_and_std

Alternative = Literal["two-sided", "less", "greater"]
Verdict = Literal["holds", "fails", "inconclusive"]


def welch(a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided") -> float:
    """Returns the p-value of Welch's t-test (unequal variances) of mean a = mean b.

    Not Student's test: its pooled variance assumes equal spreads, but an unstable variant spreads
    more over seeds, and a variant with failed runs has fewer scores.

    Args:
      a, b: scores [n_a], [n_b]; they need not be paired.
      alternative: of the mean of a compared with the mean of b.

    Returns:
      The p-value; NaN for fewer than two values on a side. If neither side varies: 0 if the means
      differ as the alternative says, else 1.

    Source: Welch 1947, The Generalization of Student's Problem when Several Different Population
    Variances are Involved.
    """
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    (mean_a, std_a), (mean_b, std_b) = mean_and_std(a), mean_and_std(b)
    # scipy would divide by zero. It happens: all runs of both sides may reach an accuracy of 1.
    if std_a == 0 and std_b == 0:
        difference = mean_a - mean_b
        rejects = {"two-sided": difference != 0, "less": difference < 0, "greater": difference > 0}
        return 0.0 if rejects[alternative] else 1.0
    # `ttest_ind` gives the same p-value, with a warning if one side does not vary.
    moments = (mean_a, std_a, len(a), mean_b, std_b, len(b))
    test = scipy.stats.ttest_ind_from_stats(*moments, equal_var=False, alternative=alternative)
    return float(test.pvalue)


def wilcoxon(
    a: Sequence[float], b: Sequence[float], alternative: Alternative = "two-sided"
) -> float:
    """Returns the p-value of Wilcoxon's signed-rank test over pairs.

    Pairs remove what both sides share, such as an easy split, and ranks need no normal
    distribution, only differences that are symmetric around their median. The price: with few
    pairs n, the two-sided p-value is never below 2 / 2^n.

    Args:
      a, b: scores of the same seeds and data, in the same order.
      alternative: of a compared with b.

    Returns:
      The p-value; NaN for fewer than two pairs, 1 if all pairs tie.
    """
    difference = np.asarray(a, float) - np.asarray(b, float)
    if len(difference) < 2:
        return float("nan")
    # scipy drops pairs with equal scores, and without any pair left it has no p-value.
    if not difference.any():
        return 1.0
    result = scipy.stats.wilcoxon(difference, zero_method="wilcox", alternative=alternative)
    return float(result.pvalue)


def sign_flip(differences: Sequence[np.ndarray], flips: int = 20_000, seed: int = 0) -> float:
    """Returns the one-sided p-value of a mean above zero over paired differences.

    The statistic is the mean over strata of their means. Its null distribution comes from random
    signs of all pairs. The null hypothesis: the two sides of a pair may be exchanged without any
    effect on the distribution of the data. The sign of each difference is then a fair coin, so the
    test keeps its level whatever this distribution is.

    Args:
      differences: one array of paired differences per stratum, such as a task.
      flips: number of random draws.
      seed: of the draws.

    Returns:
      The p-value; NaN without strata.

    Source: Fisher 1935, The Design of Experiments; Phipson and Smyth 2010 for the added 1.
    """
    if not differences:
        return float("nan")
    rng = np.random.default_rng(seed)
    # Mean of means, so that a task with more seeds has no more weight than the others.
    observed = float(np.mean([d.mean() for d in differences]))
    null = np.zeros(flips)
    for d in differences:
        signs = rng.integers(0, 2, size=(flips, len(d))) * 2 - 1
        null += (signs * d).mean(1) / len(differences)
    # The tolerance counts ties as ties: rounding alone would make some of them smaller. The added 1
    # is the observed signs themselves. Without it p could be 0, and the level would be exceeded.
    return float((np.sum(null >= observed - 1e-12) + 1) / (flips + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted by Holm's step-down method.

    They bound the probability of any false positive among all tests, whatever their dependence.
    This matters here: all variants share one baseline, so their tests are correlated. The method
    rejects whatever Bonferroni's correction rejects, and sometimes more.

    Args:
      p_values: raw p-values, in any order.

    Returns:
      Adjusted p-values in the same order. NaN stays NaN and is not counted as a test.

    Example:
      holm([0.01, 0.04, 0.03, 0.005])  # [0.03, 0.06, 0.06, 0.02]

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    # A variant without scores is no test; it must not make the others' p-values larger.
    tested = [k for k, p in enumerate(p_values) if not np.isnan(p)]
    adjusted = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, k in enumerate(sorted(tested, key=lambda k: p_values[k])):
        # The running maximum keeps the adjusted values in the order of the raw ones.
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


class FriedmanResult(NamedTuple):
    """Friedman's test over blocks, with what a critical-difference diagram shows.

    Attributes:
      p: p-value of equal ranks; NaN for fewer than three variants or blocks, or if all scores of
        each block are equal.
      mean_ranks: the mean rank of each variant; 1 is best.
      critical_difference: Nemenyi's; ranks that are closer do not differ significantly.
      n_blocks: number of blocks, such as seeds or tasks, that all variants share.
    """

    p: float
    mean_ranks: dict[str, float]
    critical_difference: float
    n_blocks: int


def friedman(scores: Mapping[str, Sequence[float]], alpha: float = 0.05) -> FriedmanResult:
    """Ranks several variants within blocks, such as seeds or tasks.

    Ranks compare blocks whose scores have different units or levels; they ignore how large a
    difference is.

    critical difference = q_alpha sqrt(k (k + 1) / (6 N)), for k variants and N blocks; q_alpha is
    the quantile of the studentized range divided by sqrt(2).

    Args:
      scores: the scores of each variant in the same blocks; higher is better.
      alpha: level of the critical difference.

    Returns:
      The result; NaN for what too few variants or blocks cannot give.

    Source: Demsar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, section
    3.2.2.
    """
    names = list(scores)
    table = np.array([scores[name] for name in names], float)
    k, N = table.shape
    # Negated, since `rankdata` gives rank 1 to the smallest. Ties share the mean of their ranks.
    mean_ranks = scipy.stats.rankdata(-table, axis=0).mean(axis=1) if N else np.full(k, np.nan)
    # Infinite degrees of freedom: the variance of ranks is known, not estimated.
    q = scipy.stats.studentized_range.ppf(1.0 - alpha, k, np.inf) / np.sqrt(2.0)
    # Without any difference, the statistic is 0 / 0.
    testable = N >= 3 and k >= 3 and np.ptp(table, axis=0).any()
    p = float(scipy.stats.friedmanchisquare(*table).pvalue) if testable else float("nan")
    difference = float(q * np.sqrt(k * (k + 1) / (6.0 * N))) if N else float("nan")
    by_name = dict(zip(names, map(float, mean_ranks), strict=True))
    return FriedmanResult(p, by_name, difference, N)


class ClaimResult(NamedTuple):
    """The p-value of a planned comparison, and its verdict."""

    p: float
    verdict: Verdict


def superiority_test(better: Sequence[float], worse: Sequence[float], alpha: float) -> ClaimResult:
    """Tests that `better` has the higher mean, by Welch's one-sided test.

    The claim holds if p < alpha, fails if the opposite claim would hold, and is inconclusive
    otherwise. One-sided, because the study named the direction before any result was known.

    Args:
      better, worse: scores; higher is better.
      alpha: the level.

    Returns:
      p of the claim, and the verdict; NaN and inconclusive for fewer than two values on a side.
    """
    p = welch(worse, better, "less")
    opposite = welch(better, worse, "less")
    # Comparisons with NaN are false, so too few runs are inconclusive.
    if p < alpha:
        return ClaimResult(p, "holds")
    return ClaimResult(p, "fails" if opposite < alpha else "inconclusive")


def equivalence_test(
    a: Sequence[float], b: Sequence[float], margin: float, alpha: float
) -> ClaimResult:
    """Tests that two means differ by less than a margin, by two one-sided Welch tests.

    The claim holds if both p < alpha, fails if a difference beyond the margin is significant at
    the same level, and is inconclusive otherwise. A plain t-test cannot do this: no significant
    difference is not evidence of equality.

    Args:
      a, b: scores.
      margin: differences up to this size do not matter, in units of the score.
      alpha: the level.

    Returns:
      The larger p of the two tests, and the verdict.

    Source: Schuirmann 1987, A Comparison of the Two One-Sided Tests Procedure and the Power
    Approach for Assessing the Equivalence of Average Bioavailability.
    """
    up, down = [v + margin for v in a], [v - margin for v in a]
    # The larger one: both have to reject, so two tests at level alpha need no correction.
    p = max(welch(up, b, "greater"), welch(down, b, "less"))
    beyond = min(welch(up, b, "less"), welch(down, b, "greater"))
    if p < alpha:
        return ClaimResult(p, "holds")
    return ClaimResult(p, "fails" if beyond < alpha else "inconclusive")

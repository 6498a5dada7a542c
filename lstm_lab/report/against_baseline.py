"""A variant against the baseline: tests, effect sizes, posterior and stochastic order.

In: the runs of a study. Out: fields of `comparison.VariantRow`, which reads this file. The methods
are in `lstm_lab.statistics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lstm_lab.report.runs import RunRow, StudyRuns, scores_by_seed, scores_of
from lstm_lab.statistics.bayes import (
    NO_POSTERIOR,
    Posterior,
    posterior_of_folds,
    posterior_of_means,
)
from lstm_lab.statistics.estimates import hedges_g, probability_of_improvement
from lstm_lab.statistics.hypotheses import welch, wilcoxon
from lstm_lab.statistics.stochastic_order import (
    MIN_SCORES,
    NO_ORDER,
    StochasticOrder,
    almost_stochastic_order,
)

# The usual level. Claims carry their own, which the study declares.
ALPHA = 0.05
NAN = float("nan")


def against_baseline(
    runs: StudyRuns,
    name: str,
    baseline: str | None,
    compared: Mapping[str, list[RunRow]],
    all_scores: Mapping[str, list[float]],
) -> dict[str, Any]:
    """Returns the tests and effect sizes of a variant against the baseline, as fields of a row.

    The verdict rests on Welch's test and not on pairs of seeds: with five pairs, Wilcoxon's p-value
    is never below 0.0625. It is shown as a second opinion.

    Args:
      runs: the study.
      name: the variant.
      baseline: the variant to compare it with; None for one on another task, whose scores do not
        compare.
      compared: the runs of each variant that are compared.
      all_scores: their test scores.

    Returns:
      Fields of `comparison.VariantRow`; NaN for the baseline itself, or without one.
    """
    # NaN and not 1: `holm` must not count the baseline as a test against itself.
    if baseline in (None, name):
        names = ("p_welch", "p_wilcoxon", "hedges_g", "improvement")
        return {**dict.fromkeys(names, NAN), "posterior": NO_POSTERIOR, "order": NO_ORDER}
    # A variant that a look decided has fewer seeds than the baseline, which continues with the
    # others: it is compared over the seeds that it has.
    seeds = runs.planned_seeds(name)
    of_baseline = [run for run in compared[baseline] if not seeds or run.seed in seeds]
    scores, reference = all_scores[name], scores_of(of_baseline)
    sign = runs.test_sign
    # With `sign`, higher is better for both directions of the metric.
    ours, theirs = [sign * v for v in scores], [sign * v for v in reference]
    # The compared trials are each variant's own best, so equal seeds do not make a pair.
    paired = reference and runs.study["seeds"]
    return {
        "p_welch": welch(scores, reference),
        "p_wilcoxon": _paired_p(compared[name], of_baseline) if paired else NAN,
        "hedges_g": hedges_g(ours, theirs),
        "improvement": probability_of_improvement(ours, theirs),
        "posterior": _posterior(runs, ours, theirs, compared[name], of_baseline, sign),
        "order": _order(runs, ours, theirs, all_scores),
    }


def _order(
    runs: StudyRuns, ours: list[float], theirs: list[float], scores: Mapping[str, list[float]]
) -> StochasticOrder:
    """Returns the stochastic order of a variant and the baseline, corrected for all variants."""
    if runs.study.get("folds") or min(len(ours), len(theirs)) < MIN_SCORES:
        return NO_ORDER
    # One of those with enough scores is the baseline itself.
    comparisons = sum(len(values) >= MIN_SCORES for values in scores.values()) - 1
    return almost_stochastic_order(ours, theirs, alpha=ALPHA, comparisons=comparisons)


def _posterior(
    runs: StudyRuns,
    ours: list[float],
    theirs: list[float],
    a: list[RunRow],
    b: list[RunRow],
    sign: float,
) -> Posterior:
    """Returns the posterior of a difference; over folds if the study is a cross-validation."""
    rope, folds = runs.study.get("rope", 0.0), runs.study.get("folds")
    if not folds:
        return posterior_of_means(ours, theirs, rope)
    pairs = [sign * (x - y) for x, y in _pairs(a, b)]
    return posterior_of_folds(pairs, folds, rope)


def _pairs(a: list[RunRow], b: list[RunRow]) -> list[tuple[float, float]]:
    """Returns the scores of the seeds that both have."""
    # A seed that failed on one side drops its pair on both.
    scores_a, scores_b = scores_by_seed(a), scores_by_seed(b)
    shared = sorted(set(scores_a) & set(scores_b))
    return [(scores_a[seed], scores_b[seed]) for seed in shared]


def _paired_p(a: list[RunRow], b: list[RunRow]) -> float:
    """Returns Wilcoxon's p-value over the seeds that both have."""
    pairs = _pairs(a, b)
    return wilcoxon([x for x, _ in pairs], [y for _, y in pairs])

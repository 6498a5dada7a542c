"""Named groups of variants: the mean score of each.

In: the runs of each variant. Out: an interval per group, which `comparison` stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from lstm_lab.report.means import exact_mean, interval_of_mean
from lstm_lab.report.runs import RunRow, StudyRuns, scores_by_seed, scores_of
from lstm_lab.statistics.estimates import Interval, mean_and_std, mean_interval


def group_means(
    runs: StudyRuns, compared: Mapping[str, list[RunRow]]
) -> dict[str, tuple[Interval, int]]:
    """Returns the mean score of each group of variants, and the number of seeds.

    The scores of all variants of a group are averaged for each seed first, so that the interval is
    over seeds. A seed that one of the variants lacks is left out.

    Without final seeds, the compared runs are the best trials of each variant, which do not form
    pairs. The mean is then that of the variants' means, and the number that of the trials.

    Args:
      runs: the study; `groups` in it are names of variants, by the name of the group.
      compared: the compared runs of each variant.
    """
    means = {}
    for name, variants in runs.study.get("groups", {}).items():
        of_variants = [compared[variant] for variant in variants]
        if not runs.study["seeds"]:
            means[name] = _mean_of_trials([scores_of(trials) for trials in of_variants])
            continue
        by_seed = [scores_by_seed(of_variant) for of_variant in of_variants]
        seeds = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
        scores = [exact_mean([of_variant[seed] for of_variant in by_seed]) for seed in seeds]
        means[name] = interval_of_mean(scores), len(seeds)
    return means


def _mean_of_trials(scores: Sequence[Sequence[float]]) -> tuple[Interval, int]:
    """Returns the mean of the variants' means with its 95 % interval, and the number of scores.

    The standard error adds up those of the variants; Welch-Satterthwaite gives the degrees of
    freedom. Of one variant, it is Student's interval of its mean.
    """
    if not scores or not all(scores):
        return mean_interval([]), 0
    n = sum(map(len, scores))
    mean = exact_mean([exact_mean(of_variant) for of_variant in scores])
    if min(map(len, scores)) < 2:
        return Interval(mean, np.nan, np.nan), n
    variances = [mean_and_std(of_variant)[1] ** 2 / len(of_variant) for of_variant in scores]
    if not any(variances):
        return Interval(mean, mean, mean), n
    pairs = zip(variances, scores, strict=True)
    freedom = sum(variances) ** 2 / sum(v**2 / (len(values) - 1) for v, values in pairs)
    error = np.sqrt(sum(variances)) / len(scores)
    half_width = float(scipy.stats.t.ppf(0.975, freedom) * error)
    return Interval(mean, mean - half_width, mean + half_width), n

"""Named groups of variants: the mean score of each.

In: the runs of each variant. Out: an interval per group, which `comparison` stores.
"""

from __future__ import annotations

from collections.abc import Mapping

from lstm_lab.report.means import exact_mean, interval_of_mean
from lstm_lab.report.runs import RunRow, scores_by_seed
from lstm_lab.statistics.estimates import Interval


def group_means(
    groups: Mapping[str, list[str]], compared: Mapping[str, list[RunRow]]
) -> dict[str, tuple[Interval, int]]:
    """Returns the mean score of each group of variants, and the number of seeds.

    The scores of all variants of a group are averaged for each seed first, so that the interval is
    over seeds. A seed that one of the variants lacks is left out.

    Args:
      groups: names of variants, by the name of the group.
      compared: the compared runs of each variant.
    """
    means = {}
    for name, variants in groups.items():
        by_seed = [scores_by_seed(compared[variant]) for variant in variants]
        seeds = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
        scores = [exact_mean([of_variant[seed] for of_variant in by_seed]) for seed in seeds]
        means[name] = interval_of_mean(scores), len(seeds)
    return means

"""Named groups of variants: the mean score of each, and what the variants of a study differ in.

In: `StudyRuns`. Out: an interval per group; labels. `comparison` stores both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_lab.report.runs import RunRow
from lstm_lab.report.stats import Interval, mean_interval

# Settings that determine which data a variant sees.
TASK = "task."


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
        by_seed = [
            {run.seed: run.test for run in compared[variant] if run.scored} for variant in variants
        ]
        seeds = sorted(set.intersection(*map(set, by_seed))) if by_seed else []
        scores = [float(np.mean([of_variant[seed] for of_variant in by_seed])) for seed in seeds]
        means[name] = mean_interval(scores), len(seeds)
    return means


def split_labels(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Returns for each variant the label of its task's settings, and that of its other settings.

    Args:
      variants: the settings of each variant, by dotted path.

    Example:
      >>> split_labels({"a": {"task.length": 9, "model.cell": "gru"}})
      {'a': ('9', 'gru')}
    """
    return {
        name: (
            _label({path: value for path, value in point.items() if path.startswith(TASK)}),
            _label({path: value for path, value in point.items() if not path.startswith(TASK)}),
        )
        for name, point in variants.items()
    }


def _label(point: Mapping[str, Any]) -> str:
    if len(point) == 1:
        return str(next(iter(point.values())))
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())

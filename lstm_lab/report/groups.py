"""Groups of variants: those that a study names, and those that have the same task.

In: the runs of each variant, or its settings. Out: an interval per group; labels; the variants of
each task. `comparison` stores all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm_lab.report.runs import RunRow
from lstm_lab.statistics.estimates import Interval, mean_interval

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


def variants_by_task(labels: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the variants of each task, in the order of the study.

    Scores on different tasks do not compare: a cell is not worse because its problem is harder. A
    study whose variants differ in nothing but the task compares just that, so it counts as one
    task, whose name is empty; and so does a study of a single task.

    Args:
      labels: as `split_labels` returns them.

    Example:
      >>> variants_by_task({"a": ("9", "gru"), "b": ("9", "rnn"), "c": ("20", "gru")})
      {'9': ['a', 'b'], '20': ['c']}
    """
    tasks, others = ({pair[k] for pair in labels.values()} for k in (0, 1))
    if len(tasks) < 2 or len(others) < 2:
        return {"": list(labels)}
    by_task: dict[str, list[str]] = {}
    for variant, (task, _) in labels.items():
        by_task.setdefault(task, []).append(variant)
    return by_task


def _label(point: Mapping[str, Any]) -> str:
    if len(point) == 1:
        return str(next(iter(point.values())))
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())

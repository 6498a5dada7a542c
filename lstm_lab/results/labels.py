"""What the variants of a study differ in: settings of the task, and others.

In: the settings of each variant. Out: short labels, and the variants of each task. `studies` checks
with them what a study may compare, `report` arranges its tables and figures by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Settings that determine which data a variant sees.
TASK = "task."
# The label of a variant without a setting where others have one.
BASE = "base"


def split_labels(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Returns for each variant the label of its task's settings, and that of its other settings.

    A single setting is named by its value alone, unless different settings would get one label.

    Args:
      variants: the settings of each variant, by dotted path.

    Example:
      >>> split_labels({"a": {"task.length": 9, "model.cell": "gru"}})
      {'a': ('9', 'gru')}
    """
    tasks = _labels([_of_task(point) for point in variants.values()])
    others = _labels([_of_others(point) for point in variants.values()])
    some = [any(half) for half in (tasks, others)]
    return {
        name: (task or BASE * some[0], other or BASE * some[1])
        for name, task, other in zip(variants, tasks, others, strict=True)
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


def _of_task(point: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in point.items() if path.startswith(TASK)}


def _of_others(point: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in point.items() if not path.startswith(TASK)}


def _labels(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a label for each of some settings; different settings have different labels."""
    different = {repr(sorted(point.items(), key=lambda item: item[0])) for point in points}
    for names in (_value_alone, short_names, full_names):
        labels = [names(point) for point in points]
        if len(set(labels)) == len(different):
            break
    return labels


def _value_alone(point: Mapping[str, Any]) -> str:
    return str(next(iter(point.values()))) if len(point) == 1 else short_names(point)


def short_names(point: Mapping[str, Any]) -> str:
    """Returns settings by the last parts of their paths.

    Example:
      >>> short_names({"task.length": 9, "model.cell": "gru"})
      'length=9 cell=gru'
    """
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())


def full_names(point: Mapping[str, Any]) -> str:
    """Returns settings by their whole paths.

    Example:
      >>> full_names({"task.length": 9, "model.cell": "gru"})
      'task.length=9 model.cell=gru'
    """
    return " ".join(f"{path}={value}" for path, value in point.items())

"""What the variants of a study differ in: settings of the task, and others.

In: the settings of each variant. Out: short labels, and the variants of each task. `studies` checks
with them what a study may compare, `report` arranges its tables and figures by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Settings that determine which data a variant sees.
TASK = "task."
# The label of a variant without a setting where others have one.
BASE = "base"


def split_labels(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Returns for each variant the label of its task's settings, and that of its other settings.

    A single setting is named by its value alone, unless two variants would get the same labels.

    Args:
      variants: the settings of each variant, by dotted path.

    Example:
      >>> split_labels({"a": {"task.length": 9, "model.cell": "gru"}})
      {'a': ('9', 'gru')}
    """
    for names in (_value_alone, _short_names, _full_names):
        labels = {name: _split(point, names) for name, point in variants.items()}
        if len(set(labels.values())) == len({_key(point) for point in variants.values()}):
            break
    some = [any(pair[k] for pair in labels.values()) for k in (0, 1)]
    return {
        name: (task or BASE * some[0], other or BASE * some[1])
        for name, (task, other) in labels.items()
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


def _split(point: Mapping[str, Any], names: Callable[[Mapping[str, Any]], str]) -> tuple[str, str]:
    task = {path: value for path, value in point.items() if path.startswith(TASK)}
    other = {path: value for path, value in point.items() if not path.startswith(TASK)}
    return names(task), names(other)


def _value_alone(point: Mapping[str, Any]) -> str:
    return str(next(iter(point.values()))) if len(point) == 1 else _short_names(point)


def _short_names(point: Mapping[str, Any]) -> str:
    return " ".join(f"{path.rpartition('.')[2]}={value}" for path, value in point.items())


def _full_names(point: Mapping[str, Any]) -> str:
    return " ".join(f"{path}={value}" for path, value in point.items())


def _key(point: Mapping[str, Any]) -> str:
    return repr(sorted(point.items(), key=lambda item: item[0]))

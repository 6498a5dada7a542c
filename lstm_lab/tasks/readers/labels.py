"""One label for each example: its number, its weight, and how examples are split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lstm_lab.tasks.base import Examples, Split
from lstm_lab.utils.errors import UserError


def label_numbers(path: Path, names: Sequence[str], labels: tuple[str, ...]) -> np.ndarray:
    """Returns the numbers of labels [N].

    Raises:
      UserError: for one that is not among those allowed; it names the example.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    for place, name in enumerate(names, 1):
        if name not in numbers:
            allowed = ", ".join(labels)
            raise UserError(f"data: {path} example {place} has {name!r}, expected {allowed}")
    return np.array([numbers[name] for name in names], np.int32)


def split_examples(
    x: np.ndarray, y: np.ndarray, parts: Mapping[str, np.ndarray], classes: int, balanced: bool
) -> dict[str, Split]:
    """Returns the splits of labeled examples.

    Args:
      x, y: inputs and labels of all examples.
      parts: which examples each split has.
      classes: how many labels there are.
      balanced: give examples weights by which all classes of the training part weigh the same.
    """
    weights_C = class_weights(y[parts["train"]], classes) if balanced else None
    return {
        split: Examples(x[rows], y[rows], weights=None if weights_C is None else weights_C[y[rows]])
        for split, rows in parts.items()
    }


def class_weights(y_N: np.ndarray, classes: int) -> np.ndarray:
    """Returns a weight for each class [C] by which all classes weigh the same, one on average."""
    counts = np.bincount(y_N, minlength=classes)
    weights = np.where(counts > 0, len(y_N) / np.maximum(counts, 1), 0.0)
    return (weights / (counts > 0).sum()).astype(np.float32)

"""One label per example: numbers of labels, weights of classes, and splits of labeled examples.

In: the names of the labels, and the indices of each split (from splits.py). Out: `Examples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import numpy as np

from lstm_lab.tasks.examples import Examples, Split
from lstm_lab.tasks.readers.rows import names_text
from lstm_lab.utils.errors import UserError

# How programs write a label that is missing. `none` and `?` are more often labels.
_MISSING = ("NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "<NA>")
# More different labels that are all numbers are quantities, unless they are whole and repeated:
# data sets of series have up to 60 numbered classes, with two training series for some.
_FEW_CLASSES, _MANY_CLASSES = 20, 100


def label_numbers(
    places: Sequence[str], names: Sequence[str], labels: tuple[str, ...]
) -> np.ndarray:
    """Returns the number of each example's label [N], int32.

    Args:
      places: where each example is, such as `data: a.csv line 3`, for error messages.
      names: the label of each example.
      labels: all labels, in the order of their numbers.

    Raises:
      UserError: if a label is not among `labels`; the message names its place.
    """
    # The labels come from the config and not from the file: they set the size of the output layer,
    # and a mistyped label must not become a new class.
    numbers = {label: number for number, label in enumerate(labels)}
    for place, name in zip(places, names, strict=True):
        if name not in numbers:
            raise UserError(
                f"{place} has the label {name!r}, expected one of those of the config: "
                f"{names_text(labels)}"
            )
    return np.array([numbers[name] for name in names], np.int32)


def all_labels(
    names: Mapping[str, str], what: str = "the label", forecasts: str = ""
) -> tuple[str, ...]:
    """Returns the labels of a user's file, sorted, so that the order of rows does not matter.

    Args:
      names: the label of each example, by the place of the example, such as `data: a.csv line 3`.
      what: names the label in error messages.
      forecasts: the config that forecasts from the file, or nothing.

    Raises:
      UserError: if there is only one label, if one looks like a label that is missing, or if they
        are quantities and no classes.
    """
    for place, name in names.items():
        if not name:
            raise UserError(f"{place} has no label")
        if name in _MISSING:
            raise UserError(
                f"{place} has the label {name!r}: if it is missing, remove the row; if it is a "
                "label, name all labels in task.labels"
            )
    labels = tuple(sorted(set(names.values())))
    if len(labels) < 2:
        where = next(iter(names)).rpartition(" ")[0].rpartition(" ")[0]
        raise UserError(f"{where} has the label {labels[0]!r} alone, expected two or more")
    if _are_quantities(labels, len(names)):
        hint = f"; for forecasts use {forecasts}" if forecasts else ""
        raise UserError(
            f"task: {what} has {len(labels)} different numbers, expected classes{hint}; if they "
            "are classes, name all in task.labels"
        )
    return labels


def _are_quantities(labels: Sequence[str], examples: int) -> bool:
    """Returns whether labels are numbers of which a classifier would learn nothing.

    Args:
      labels: the different labels.
      examples: the number of examples.
    """
    if len(labels) <= _FEW_CLASSES:
        return False
    with suppress(ValueError):
        # With a decimal comma or point.
        values = [float(label.replace(",", ".")) for label in labels]
        whole = all(value.is_integer() for value in values)
        return not whole or len(labels) > _MANY_CLASSES or 2 * len(labels) > examples
    return False


def check_label_header(what: str, column: str, labels: Iterable[str], hint: str = "") -> None:
    """Raises UserError if the name of the label's column is a label: the file has no header.

    Args:
      what: names the input in error messages.
      column: the name of the column.
      labels: its values.
      hint: how to read a file without a header.
    """
    if column in set(labels):
        raise UserError(
            f"{what} line 1 has {column!r}, one of the labels, where the name of their column is "
            f"expected; add a line with the names{hint}"
        )


def split_examples(
    x: np.ndarray, y: np.ndarray, parts: Mapping[str, np.ndarray], classes: int, balanced: bool
) -> dict[str, Split]:
    """Returns the splits of labeled examples.

    Args:
      x, y: inputs [N,T,D] and labels [N] of all examples.
      parts: indices of the examples of each split.
      classes: number of labels.
      balanced: whether to weight the examples so that all classes of the training split have the
        same total weight.
    """
    # From the training split alone, like everything that a model learns. Weights change the loss
    # only; metrics count every example once.
    weights_C = class_weights(y[parts["train"]], classes) if balanced else None
    return {
        split: Examples(x[rows], y[rows], weights=None if weights_C is None else weights_C[y[rows]])
        for split, rows in parts.items()
    }


def class_weights(y_N: np.ndarray, classes: int) -> np.ndarray:
    """Returns a weight for each class [C], float32, so that all classes have the same total weight.

    Args:
      y_N: labels of the training examples.
      classes: number of labels, C.
    """
    # The mean over the training examples is 1. A class without training examples gets 0, because
    # N / 0 would be infinite.
    counts = np.bincount(y_N, minlength=classes)
    weights = np.where(counts > 0, len(y_N) / np.maximum(counts, 1), 0.0)
    return (weights / (counts > 0).sum()).astype(np.float32)

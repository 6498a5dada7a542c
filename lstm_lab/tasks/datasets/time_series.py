"""Recorded series with a label each: heartbeats, sensors; one file in the UCR archive's form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.labels import label_numbers, split_examples
from lstm_lab.tasks.readers.splits import check_filled, check_folds, check_shares, parts_of
from lstm_lab.tasks.readers.text import check_unchanged, read_text, sha256_of
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Waves(Task):
    """Which label a series of numbers has.

    A line of the file is a label and then the values, with commas, semicolons or spaces between.

    Attributes:
      file: the file.
      labels: all labels.
      values_per_step: values that are read at once; they divide the series' length.
      balanced: let every class weigh the same in the loss.
      folds, fold: k-fold cross-validation: how many parts, and which of them is the test split; the
        one after it validates. Without them the splits are held out at random.
      valid_share, test_share: of what is held out.
      split_seed: of the order, the same for every run.
      sha256: hash of the file, for one of the user's own; see `options`.
    """

    file: str
    labels: tuple[str, ...]
    values_per_step: int = 1
    balanced: bool = False
    folds: int | None = None
    fold: int | None = None
    valid_share: float = 0.15
    test_share: float = 0.2
    split_seed: int = 0
    sha256: str | None = None

    name: ClassVar[str] = "waves"
    metric: ClassVar[str] = "accuracy"
    files: ClassVar[tuple[str, ...]] = ("file",)

    def __post_init__(self) -> None:
        if self.values_per_step < 1:
            raise ValueError(f"values_per_step: got {self.values_per_step}, expected 1 or more")
        check_folds(self.folds, self.fold)
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Vectors:
        """The values of a step."""
        return Vectors(self.values_per_step)

    @property
    def target(self) -> Categorical:
        """The label."""
        return Categorical(
            len(self.labels), metrics=("accuracy", "macro_f1"), weighted=self.balanced
        )

    def load(self, data_dir: Path) -> Dataset:
        """Reads the series.

        Raises:
          UserError: for a file that is missing, changed or not of this form, or an unknown label.
        """
        path = locate(self.file, data_dir)
        check_unchanged([path], self.sha256)
        names, values_NT = read_series(path)
        if values_NT.shape[1] % self.values_per_step:
            raise UserError(
                f"task.values_per_step: got {self.values_per_step}, which does not divide the "
                f"{values_NT.shape[1]} values of a series"
            )
        x_NTD = values_NT.reshape(len(values_NT), -1, self.values_per_step)
        y = label_numbers(path, names, self.labels)
        shares = {"valid": self.valid_share, "test": self.test_share}
        parts = parts_of(len(y), self.folds, self.fold, shares, self.split_seed)
        check_filled(path, parts)
        splits = split_examples(x_NTD, y, parts, len(self.labels), self.balanced)
        return Dataset(splits, {"outputs": self.labels})


def read_series(path: Path) -> tuple[list[str], np.ndarray]:
    """Reads labels, and values [N,T], of a file with a series a line.

    Raises:
      UserError: for a line that is no label and numbers, or has not as many as the first.
    """
    names, rows = [], []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        parts = line.replace(",", " ").replace(";", " ").split()
        if not parts:
            continue
        try:
            rows.append([float(part) for part in parts[1:]])
        except ValueError as error:
            raise UserError(f"data: {path} line {number}: {error}") from None
        if len(rows[-1]) != len(rows[0]) or not rows[0]:
            raise UserError(
                f"data: {path} line {number} has {len(rows[-1])} values, expected as many as the "
                f"first line, {len(rows[0])}, and one or more"
            )
        names.append(_label(parts[0]))
    return names, np.array(rows, np.float32)


def _label(text: str) -> str:
    """Returns a label as it is meant: 1.0000000e+00 is 1."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def options(file: str, data_dir: Path = Path()) -> dict[str, Any]:
    """Returns the task's options for a file of the user's own: its labels and its hash.

    Args:
      file: the file.
      data_dir: where else to look for it.

    Raises:
      UserError: as `Waves.load`.
    """
    path = locate(file, data_dir)
    names, _ = read_series(path)
    return {
        "name": Waves.name,
        "file": file,
        "labels": tuple(sorted(set(names))),
        "sha256": sha256_of([path]),
    }

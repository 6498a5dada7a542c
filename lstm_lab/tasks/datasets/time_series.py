"""Recorded series with one label each, such as heartbeats or sensor signals.

In: one text file in the format of the UCR archive. Out: sequences of equal length with a class
each. forecasting.py predicts the next values of a series instead.
"""

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

    Each line of the file has a label, then the values, separated by commas, semicolons or spaces.
    Values are read as they are and are not standardized.

    Attributes:
      file: the file.
      labels: all labels, in the order of their numbers.
      values_per_step: number of values per time step; it must divide the length of a series.
      balanced: whether all classes have the same total weight in the loss.
      folds, fold: k-fold cross-validation: the number of parts, and the index of the part that
        tests; the next part validates. Without them, the splits are held out at random.
      valid_share, test_share: shares of these splits without folds.
      split_seed: seed of the random split, the same for all runs.
      sha256: hash of the user's own file, or None; see `options`.

    Example:
      Waves("beats.csv", ("normal", "abnormal"), values_per_step=4).inputs  # Vectors(features=4)
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
        """The values of one step, one after another in time."""
        return Vectors(self.values_per_step)

    @property
    def target(self) -> Categorical:
        """The label of the series."""
        return Categorical(
            len(self.labels), metrics=("accuracy", "macro_f1"), weighted=self.balanced
        )

    def load(self, data_dir: Path) -> Dataset:
        """Reads the series.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if the file is missing, changed or malformed, has an unknown label, or has
            series whose length `values_per_step` does not divide.
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
    """Reads a file with one series per line.

    Args:
      path: the file.

    Returns:
      The label of each series, and the values [N,T], float32.

    Raises:
      UserError: if a line is not a label followed by numbers, or has another number of values than
        the first line.
    """
    names, rows = [], []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        # Editions of the archive differ in their separators.
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
    """Returns a label in its shortest spelling: 1.0000000e+00 becomes 1."""
    # Some files have every number of a line in this format, the label too.
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def options(file: str, data_dir: Path = Path()) -> dict[str, Any]:
    """Returns the options of the task for a user's own file: its labels and its hash.

    Args:
      file: the file.
      data_dir: another folder in which to look for the file.

    Raises:
      UserError: if the file is missing or malformed.
    """
    path = locate(file, data_dir)
    names, _ = read_series(path)
    return {
        "name": Waves.name,
        "file": file,
        "labels": tuple(sorted(set(names))),
        "sha256": sha256_of([path]),
    }

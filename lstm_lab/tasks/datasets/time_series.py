"""Recorded series with one label each, such as heartbeats or sensor signals.

In: a text file in the format of the UCR archive, or one per split. Out: sequences of equal length
with a class each. forecasting.py predicts the next values of a series instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.files import is_parquet, read_bytes, read_text
from lstm_lab.tasks.readers.labels import all_labels, label_numbers, split_examples
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.rows import RawTable, parse_table
from lstm_lab.tasks.readers.splits import (
    check_filled,
    check_folds,
    check_shares,
    find_splits,
    parts_of,
)
from lstm_lab.tasks.readers.tables import (
    TableFormat,
    fill,
    is_missing,
    kind_of,
    numbers,
    read_table,
)
from lstm_lab.tasks.readers.text import sha256_of
from lstm_lab.utils.errors import UserError


class LabeledSeries(NamedTuple):
    """The series of a file.

    Attributes:
      places: where each series is, for error messages.
      names: the label of each series.
      values: [N,T], float64, NaN where a number is missing.
      header: the names of the columns.
    """

    places: list[str]
    names: list[str]
    values: np.ndarray
    header: list[str]


@dataclass(frozen=True)
class Waves(TableFormat, Task):
    """Which label a series of numbers has.

    Each line of the file has a label, then the values, separated by commas, semicolons, tabs or
    spaces. Values are read as they are and are not standardized.

    Attributes:
      file: the file.
      valid, test: files of these splits; without them, series are held out of `file`.
      header: whether the first line has the names of the columns.
      labels: all labels, in the order of their numbers.
      values_per_step: number of values per time step; it must divide the length of a series.
      balanced: whether all classes have the same total weight in the loss.
      folds, fold: k-fold cross-validation: the number of parts, and the index of the part that
        tests; the next part validates. Without them, the splits are held out at random.
      valid_share, test_share: shares of these splits without folds.
      split_seed: seed of the random split, the same for all runs.
      sha256: hash of the user's own file, or None; see `complete`.

    Example:
      Waves("beats.csv", ("normal", "abnormal"), values_per_step=4).inputs  # Vectors(features=4)
    """

    file: str
    labels: tuple[str, ...]
    valid: str | None = None
    test: str | None = None
    header: bool = False
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
    files: ClassVar[tuple[str, ...]] = ("file", "valid", "test")

    def __post_init__(self) -> None:
        if self.values_per_step < 1:
            raise ValueError(f"values_per_step: got {self.values_per_step}, expected 1 or more")
        check_folds(self.folds, self.fold, self.valid, self.test)
        check_shares(valid_share=self.valid_share, test_share=self.test_share)
        self.check_format()

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the labels and the hash of a user's files.

        Args:
          options: the options that were given.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, or has only one label.
        """
        options = set_options(options)
        if not incomplete(options, cls.files, ("labels",), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        task = cls(**{**options, "labels": ()})
        series = [task.read_series(path) for path in paths.values()]
        names: dict[str, str] = {}
        for part in series:
            names |= zip(part.places, part.names, strict=True)
        labels = options.get("labels") or all_labels(
            names, "the first value of a line, its label,", f"series:{task.file}"
        )
        sha256 = options.get("sha256", sha256_of(paths.values()))
        return {**options, "labels": labels, "sha256": sha256}

    @property
    def inputs(self) -> Vectors:
        """The values of one step, one after another in time; with `missing=mask` also marks."""
        return Vectors(self.values_per_step * (2 if self.missing == "mask" else 1))

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
          UserError: if a file is missing, changed or malformed, has an unknown label, or has series
            of another length, or of a length that `values_per_step` does not divide.
        """
        paths = find_splits(self, partial(locate, data_dir=data_dir))
        series = {split: self.read_series(path) for split, path in paths.items()}
        T = series["train"].values.shape[1]
        for split, part in series.items():
            if part.values.shape[1] != T:
                raise UserError(
                    f"data: {paths[split]} has series of {part.values.shape[1]} values, expected "
                    f"{T} as in {paths['train']}"
                )
        if T % self.values_per_step:
            raise UserError(
                f"task.values_per_step: got {self.values_per_step}, which does not divide the "
                f"{T} values of a series"
            )
        x_NTD = self._steps(np.concatenate([part.values for part in series.values()]))
        places = [place for part in series.values() for place in part.places]
        names = [name for part in series.values() for name in part.names]
        y = label_numbers(places, names, self.labels)
        shares = {"valid": self.valid_share, "test": self.test_share}
        counts = {split: len(part.names) for split, part in series.items()}
        parts = parts_of(counts, self.folds, self.fold, shares, self.split_seed)
        check_filled(paths["train"], parts)
        splits = split_examples(x_NTD, y, parts, len(self.labels), self.balanced)
        source = {"reads": [f"{T} values"], "predicts": ["the first value"], "rows_read": len(y)}
        preprocessing: dict[str, Any] = {"outputs": self.labels, "length": T}
        if self.header:
            preprocessing["header"] = series["train"].header
        return Dataset(splits, preprocessing, source)

    def read_series(self, path: Path) -> LabeledSeries:
        """Reads a file with one series per line.

        Args:
          path: the file.

        Raises:
          UserError: if a line is not a label followed by numbers, or has another number of values
            than the first line.
        """
        if is_parquet(read_bytes(path)):
            return self._labeled(read_table(path, self))
        what, text = f"data: {path}", read_text(path)
        spaces = self._separated_by_spaces(text)
        if spaces:
            # Runs of spaces align the columns; one space separates the values here.
            text = re.sub(r"[ \t]+", " ", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", text))
        delimiter = " " if spaces else self.mark
        table = parse_table(what, text, delimiter, self.header, self.decimal)
        if len(table.names) < 2:
            raise UserError(f"{what} line 1 has 1 value, expected a label and its series")
        return self._labeled(table)

    def _separated_by_spaces(self, text: str) -> bool:
        """Returns whether a line is values between spaces, without another delimiter."""
        if self.mark is not None:
            return self.mark == " "
        first = next((line for line in text.split("\n") if line.strip()), "")
        marks = {",", ";", "|", "\t"} - {self.decimal}
        # Tabs between values may have spaces around them, which are no delimiters then.
        return not any(mark in first for mark in marks) and " " in first.strip()

    def _labeled(self, table: RawTable) -> LabeledSeries:
        label, *columns = table.names
        names = [whole_label(text) for text in table.frame[label]]
        lines = table.frame.index
        empty = [line for line, name in zip(lines, names, strict=True) if not name]
        if empty:
            raise UserError(f"{table.place(empty[0])} has no label")
        if self.missing == "drop":
            keep = [not is_missing(row).any() for row in table.frame[columns].to_numpy()]
            table = RawTable(table.what, table.frame[keep], table.unit)
            names = [name for name, kept in zip(names, keep, strict=True) if kept]
            if not names:
                raise UserError(f"{table.what} has no series without missing numbers")
        values_NT = numbers(table, columns, self)
        # Along the time of each series, so the rows and columns change places.
        filled = fill(values_NT.T, self.missing).T
        places = [table.place(line) for line in table.frame.index]
        if self.missing != "mask" and np.isnan(filled).any():
            place = places[int(np.isnan(filled).any(1).argmax())]
            raise UserError(
                f"{place} begins with a missing number, and no value before it can fill it; use "
                "task.missing=drop or mask"
            )
        return LabeledSeries(places, names, filled, [label, *columns])

    def _steps(self, values_NT: np.ndarray) -> np.ndarray:
        """Returns values as steps [N,T,D]; missing ones are 0, with a mark each if asked."""
        missing = np.isnan(values_NT)
        parts = [np.where(missing, 0.0, values_NT)]
        if self.missing == "mask":
            parts.append(missing)
        steps = [p.reshape(len(p), -1, self.values_per_step) for p in parts]
        return np.concatenate(steps, -1).astype(np.float32)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts the values of a line, one step after the other, to a sequence [T,D].

        Args:
          line: the values without a label; with `--stream`, some steps of a series.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if a value is not a finite number, or the values do not fill whole steps.
        """
        return self._sequence(self._values("input", line), "input", line)

    def read_inputs(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:
        """Yields the series of an input, one per line, with or without labels and header.

        Args:
          lines: the lines.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: for a malformed line, or one with another number of values than in training.
        """
        T = preprocessing.get("length")
        filled = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        for k, (number, line) in enumerate(filled):
            if k == 0 and self.header and self._is_header(line, preprocessing):
                continue
            what = f"input line {number}"
            values = self._values(what, line)
            if T is not None and len(values) == T + 1 and whole_label(values[0]) in self.labels:
                values = values[1:]
            x_TD = self._sequence(values, what, line)
            # Runs of earlier versions did not record the length.
            if T is not None and len(values) != T:
                raise UserError(
                    f"{what}: got {len(values)} values, expected {T} as in training, or a label "
                    f"and {T} values"
                )
            yield x_TD

    def _is_header(self, line: str, preprocessing: Mapping[str, Any]) -> bool:
        """Returns whether a line has names and no series."""
        values = self._values("input", line)
        # Names may be numbers, as those of steps. Runs of earlier versions did not record them.
        names = list(preprocessing.get("header", ()))
        return values in (names, names[1:]) or kind_of(values[1:] or values, self) == "words"

    def _values(self, what: str, line: str) -> list[str]:
        if self._separated_by_spaces(line):
            return line.split()
        if self.delimiter is None and self.decimal == "." and ";" in line and "," in line:
            raise UserError(f"{what}: got {line.strip()!r}, expected numbers with one delimiter")
        table = parse_table(what, line, self.mark, header=False, decimal=self.decimal)
        return [str(value) for value in table.frame.iloc[0]]

    def _sequence(self, values: list[str], what: str, line: str) -> np.ndarray:
        from pandas import DataFrame

        form = self if self.missing != "drop" else replace(self, missing=None)
        frame = DataFrame([values], columns=[str(k) for k in range(len(values))], index=[1])
        try:
            numbers_1T = numbers(RawTable("input", frame), list(frame.columns), form)
        except UserError:
            raise UserError(f"{what}: got {line.strip()!r:.80}, expected numbers") from None
        if not values or len(values) % self.values_per_step:
            raise UserError(
                f"{what}: got {len(values)} numbers, expected {self.values_per_step} per step"
            )
        filled = fill(numbers_1T.T, self.missing).T
        if self.missing != "mask" and np.isnan(filled).any():
            raise UserError(f"{what}: got {line.strip()!r:.80}, expected a number at the start")
        return self._steps(filled)[0]


def whole_label(text: str) -> str:
    """Returns a label as it is written; a whole number with decimals without them.

    Some editions of the archive write every number of a line as 1.0000000e+00, the label too.

    Args:
      text: the label.

    Example:
      whole_label("1.0000000e+00"), whole_label("1000001"), whole_label("1.5")  # "1", ...
    """
    if re.fullmatch(r"[+-]?[0-9]+\.[0-9]+([eE][+-]?[0-9]{1,3})?", text):
        # Decimal and not float, which would round a long label.
        number = Decimal(text)
        if number == number.to_integral_value():
            return str(int(number))
    return text

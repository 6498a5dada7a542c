"""Tables, such as credit applications: the attributes of a row as a sequence.

In: a table with one column of labels, or one table per split. Out: one time step per attribute.
Logistic regression on the same numbers is the trivial baseline.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Direction, Task, Vectors
from lstm_lab.tasks.examples import Examples, Stored
from lstm_lab.tasks.readers.attributes import (
    Column,
    check_words,
    doubtful_categories,
    encode_columns,
    fit_column,
    label_column,
    typed_columns,
    without_missing,
)
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.labels import (
    all_labels,
    check_label_header,
    label_numbers,
    split_examples,
)
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.rows import (
    RawTable,
    find_delimiter,
    names_text,
    one_row,
    parse_table,
)
from lstm_lab.tasks.readers.splits import (
    check_filled,
    check_folds,
    check_shares,
    find_splits,
    parts_of,
)
from lstm_lab.tasks.readers.tables import TableFormat, numbers, read_table, resolve_columns
from lstm_lab.tasks.readers.text import sha256_of
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Table(TableFormat, Task):
    """Which label a row of attributes has.

    Each attribute is one time step. Its vector has three parts: which attribute it is (one-hot),
    its number (standardized by the training split) and its category (one-hot). A column has numbers
    if all of its values are numbers, and categories otherwise. With `missing=mask`, the vector ends
    in a mark: 1 if the value is missing.

    Attributes:
      file: a table with one row per example.
      labels: all labels, in the order of their numbers.
      attributes: number of columns that are read, without the label.
      categories: largest number of categories of an attribute.
      valid, test: files of these splits; without them, rows are held out of `file`.
      header: whether the first row has the names of the columns; without, they are called 1, 2, ...
      label: the column of the label; None takes the last one.
      columns: the columns that are read; none takes all but the label.
      categorical: columns whose numbers are names, such as postal codes.
      balanced: whether all classes have the same total weight in the loss.
      folds, fold: as in `Waves`.
      valid_share, test_share: shares of these splits without folds.
      split_seed: seed of the random split, the same for all runs.
      sha256: hash of the user's own files, or None; see `complete`.

    Example:
      task = Table("wine.csv", ("red", "white"), attributes=11, categories=0, folds=5, fold=0)
      task.inputs  # Vectors(features=12): which attribute (one-hot), and its number
    """

    file: str
    labels: tuple[str, ...]
    attributes: int
    categories: int
    valid: str | None = None
    test: str | None = None
    header: bool = True
    label: str | None = None
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    balanced: bool = False
    folds: int | None = None
    fold: int | None = None
    valid_share: float = 0.15
    test_share: float = 0.2
    split_seed: int = 0
    sha256: str | None = None

    name: ClassVar[str] = "table"
    # The AUC is no sum over batches, so it cannot choose checkpoints.
    metric: ClassVar[str] = "nll"
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"auc": "max"}
    files: ClassVar[tuple[str, ...]] = ("file", "valid", "test")

    def __post_init__(self) -> None:
        for name in ("attributes", "categories"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 0 or more")
        check_folds(self.folds, self.fold, self.valid, self.test)
        check_shares(valid_share=self.valid_share, test_share=self.test_share)
        self.check_format()
        if self.missing in ("ffill", "interpolate"):
            raise ValueError(
                f"missing: got {self.missing!r}, expected drop or mask: rows of a table have no "
                "order"
            )

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the labels, sizes and the hash of a user's files.

        Args:
          options: the options that were given.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, or has only one label.
        """
        determined = ("labels", "attributes", "categories")
        options = set_options(options)
        if not incomplete(options, cls.files, determined, data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        task = cls(**{**options, "labels": (), "attributes": 0, "categories": 0})
        tables = [task._table(path) for path in paths.values()]
        names = task._names(tables[0])
        columns = typed_columns(tables, names, task, task.categorical)
        # Counted in all rows: an upper bound for the training rows of every split.
        counts = [len({*column} - {""}) for column in columns if isinstance(column, list)]
        label = task._label(tables[0])
        labels = {
            table.place(line): name
            for table in tables
            for line, name in zip(table.frame.index, label_column(table, label), strict=True)
        }
        if task.header:
            check_label_header(tables[0].what, label, labels.values(), ", or task.header=false")
        added = {
            "labels": options.get("labels")
            or all_labels(labels, f"the label {label!r}", f"series:{task.file}"),
            "attributes": len(names),
            "categories": max(counts, default=0),
            "columns": names if task.columns else (),
            "label": label if task.label else None,
        }
        return {**options, **added, "sha256": options.get("sha256", sha256_of(paths.values()))}

    @property
    def inputs(self) -> Vectors:
        """Which attribute (one-hot), its number, its category (one-hot), and a mark if asked."""
        return Vectors(self.attributes + 1 + self.categories + (self.missing == "mask"))

    @property
    def target(self) -> Categorical:
        """The label of the row."""
        return Categorical(
            len(self.labels), metrics=("accuracy", "macro_f1"), weighted=self.balanced
        )

    def load(self, data_dir: Path) -> Dataset:
        """Reads the table.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or malformed, or has an unknown label.
        """
        paths = find_splits(self, partial(locate, data_dir=data_dir))
        tables = {split: self._table(path) for split, path in paths.items()}
        names = self._names(tables["train"])
        if len(names) != self.attributes:
            raise UserError(
                f"{tables['train'].what} has {len(names)} columns to read ({names_text(names)}), "
                f"expected {self.attributes} (task.attributes)"
            )
        places = [t.place(line) for t in tables.values() for line in t.frame.index]
        train = tables["train"]
        label = self._label(train)
        labels = [name for table in tables.values() for name in label_column(table, label)]
        y = label_numbers(places, labels, self.labels)
        shares = {"valid": self.valid_share, "test": self.test_share}
        counts = {split: len(table.frame) for split, table in tables.items()}
        parts = parts_of(counts, self.folds, self.fold, shares, self.split_seed)
        check_filled(paths["train"], parts)
        # The type of a column comes from all rows, so that all splits and folds agree on it. Means
        # and categories come from the training rows.
        columns = typed_columns(list(tables.values()), names, self, self.categorical)
        fitted = [fit_column(column, parts["train"]) for column in columns]
        x_NTD = encode_columns(columns, fitted, self.inputs.features, self.missing == "mask")
        splits = split_examples(x_NTD, y, parts, len(self.labels), self.balanced)
        preprocessing = {"outputs": self.labels, "columns": fitted, "names": list(names)}
        preprocessing |= {"header": train.names, "delimiter": train.delimiter}
        left_out = {
            name: "not used" if name else "no name"
            for name in train.names
            if name not in (*names, label)
        }
        notes = doubtful_categories(names, columns)
        source = {"reads": list(names), "predicts": [label], "left_out": left_out, "notes": notes}
        return Dataset(splits, preprocessing, {**source, "rows_read": len(y)})

    def _table(self, path: Path) -> RawTable:
        """Reads a file; rows with missing values are left out with `missing=drop`."""
        table = read_table(path, self, self.header)
        if len(table.names) < 2:
            raise UserError(
                f"{table.what} has the column {table.names[0]!r} alone, expected attributes and a "
                "label; is its delimiter another one (task.delimiter)?"
            )
        if self.missing != "drop":
            return table
        return without_missing(
            table, [*self._names(table), self._label(table)], self, self.categorical
        )

    def _label(self, table: RawTable) -> str:
        """Returns the column of the label."""
        if self.label is None:
            return next(name for name in reversed(table.names) if name)
        return resolve_columns((self.label,), table.names, "task.label")[0]

    def _names(self, table: RawTable) -> tuple[str, ...]:
        """Returns the columns that are read."""
        label = self._label(table)
        if self.columns:
            names = resolve_columns(self.columns, table.names, "task.columns")
            if label in names:
                raise UserError(f"task.columns: {label!r} is the label (task.label)")
            return names
        return tuple(name for name in table.names if name and name != label)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a row to a sequence [T,D].

        Args:
          line: the values of the attributes, in the order of the training file; the other columns,
            such as the label, may be there or not.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if the number of values is wrong, or a value is not a number where training had
            numbers.
        """
        return self._row(1, line, preprocessing)

    def _row(self, number: int, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts the line with this number to a sequence [T,D]."""
        from pandas import DataFrame

        what = "input" if number == 1 else f"input line {number}"
        values = one_row(what, line, self._delimiter(line, preprocessing))
        # Runs of earlier versions did not record the names.
        names = preprocessing.get("names") or [str(k) for k in range(self.attributes)]
        header = preprocessing.get("header") or names
        if len(values) not in (len(names), len(header)):
            whole = f", or {len(header)} with all columns" if len(header) > len(names) else ""
            expected = f"{len(names)} ({names_text(names)}){whole}"
            raise UserError(f"{what}: got {len(values)} values, expected {expected}")
        columns = names if len(values) == len(names) else header
        frame = DataFrame([values], columns=list(columns), index=[number])
        return self._converted(RawTable("input", frame), preprocessing, names)[0]

    def read_inputs(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:
        """Yields the rows of an input, with or without the header of the training file.

        Args:
          lines: the lines.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: as `read_line`, or for a header without one of the columns.
        """
        filled = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
        first = next(filled, None)
        if first is None:
            return
        names = preprocessing.get("names", [])
        delimiter = self._delimiter(first[1], preprocessing)
        known = sum(name in names for name in one_row("input", first[1], delimiter))
        # Half of the names: a header that lacks a column is still no row of values.
        if not self.header or 2 * known < max(len(names), 1):
            for number, line in chain([first], filled):
                yield self._row(number, line, preprocessing)
            return
        text = "\n".join([first[1], *(line for _, line in filled)])
        table = parse_table("input", text, delimiter, True, self.decimal)
        yield from self._converted(table, preprocessing, names)

    def _delimiter(self, line: str, preprocessing: Mapping[str, Any]) -> str:
        """Returns the delimiter of an input: that of training, if the line has it."""
        trained = self.mark or preprocessing.get("delimiter", ",")
        # A file that another program wrote may have another one, unless the user named it.
        if self.mark or trained in line or self.attributes == 1:
            return trained
        return find_delimiter("input", line, self.decimal)

    def _converted(
        self, table: RawTable, preprocessing: Mapping[str, Any], names: Sequence[str]
    ) -> np.ndarray:
        """Returns the rows of an input as sequences [N,T,D]."""
        # A row of an input cannot be left out: each has its prediction.
        task = self if self.missing == "mask" else replace(self, missing=None)
        table.require(names)
        columns: list[Column] = []
        for name, encoding in zip(names, preprocessing["columns"], strict=True):
            if isinstance(encoding, dict):
                columns.append(numbers(table, [name], task)[:, 0])
            else:
                check_words(table, name, task)
                columns.append(list(table.frame[name]))
        return encode_columns(
            columns, preprocessing["columns"], self.inputs.features, self.missing == "mask"
        )

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns the outputs of a logistic regression on the same inputs.

        Args:
          dataset: the data.

        Returns:
          Log probabilities [N,C] of the test split, which are valid logits; nothing if all training
          rows have one label, from which there is nothing to learn.
        """
        from sklearn.linear_model import LogisticRegression

        train, test = (dataset.splits[split] for split in ("train", "test"))
        assert isinstance(train, Examples)
        assert isinstance(test, Examples)
        if len(np.unique(train.y)) < 2:
            return {}
        # The same class weights as the model. The default of 100 iterations may end too early.
        balanced = "balanced" if self.balanced else None
        model = LogisticRegression(max_iter=5000, class_weight=balanced)
        with warnings.catch_warnings():
            # scikit-learn takes many classes in few rows for a regression.
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
            model.fit(train.x.reshape(len(train.x), -1), train.y)
        # scikit-learn returns no column for a class without training examples. Its logarithm of a
        # probability is set to -30 and not to -inf, so that the NLL stays finite.
        logits_NC = np.full((len(test.x), len(self.labels)), -30.0)
        p_NC = model.predict_log_proba(test.x.reshape(len(test.x), -1))
        logits_NC[:, model.classes_] = p_NC
        return {"logistic_regression": logits_NC}

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the area under the ROC curve (AUC).

        With more than two classes, it is the mean over the classes, each against the rest.

        Args:
          outputs: logits [N,C].
          test: the test split.
          preprocessing: not used.

        Returns:
          The AUC; NaN if a class does not occur in the test split.
        """
        from sklearn.metrics import roc_auc_score

        # A softmax, since `roc_auc_score` rejects rows that do not sum to 1.
        p_NC = np.exp(outputs - outputs.max(-1, keepdims=True))
        p_NC /= p_NC.sum(-1, keepdims=True)
        y_N = test.targets(every_step=False)
        if len(set(y_N.tolist())) < len(self.labels):
            return {"auc": float("nan")}  # undefined without positive or without negative examples
        several = {"multi_class": "ovr", "labels": range(len(self.labels))}
        two = len(self.labels) == 2
        scores, options = (p_NC[:, 1], {}) if two else (p_NC, several)
        return {"auc": float(roc_auc_score(y_N, scores, **options))}

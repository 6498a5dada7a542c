"""Tables, such as credit applications: the attributes of a row as a sequence.

In: a CSV file whose last column is the label. Out: one time step per attribute. Logistic regression
on the same numbers is the trivial baseline.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.examples import Examples, Stored
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.labels import label_numbers, split_examples
from lstm_lab.tasks.readers.splits import check_filled, check_folds, check_shares, parts_of
from lstm_lab.tasks.readers.tables import read_rows
from lstm_lab.tasks.readers.text import check_unchanged, sha256_of
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Table(Task):
    """Which label a row of attributes has.

    Each attribute is one time step. Its vector has three parts: which attribute it is (one-hot),
    its number (standardized by the training split) and its category (one-hot). A column has numbers
    if all of its values are numbers, and categories otherwise.

    Attributes:
      file: a CSV file; the last column is the label.
      labels: all labels, in the order of their numbers.
      attributes: number of columns before the label.
      categories: largest number of categories of an attribute.
      header: whether the first row has the names of the columns.
      balanced: whether all classes have the same total weight in the loss.
      folds, fold: as in `Waves`.
      valid_share, test_share: shares of these splits without folds.
      split_seed: seed of the random split, the same for all runs.
      sha256: hash of the user's own file, or None; see `options`.

    Example:
      task = Table("wine.csv", ("red", "white"), attributes=11, categories=0, folds=5, fold=0)
      task.inputs  # Vectors(features=12): which attribute (one-hot), and its number
    """

    file: str
    labels: tuple[str, ...]
    attributes: int
    categories: int
    header: bool = True
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
    final_metric_names: ClassVar[tuple[str, ...]] = ("auc",)
    files: ClassVar[tuple[str, ...]] = ("file",)

    def __post_init__(self) -> None:
        check_folds(self.folds, self.fold)
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Vectors:
        """Which attribute (one-hot), its number, its category (one-hot)."""
        return Vectors(self.attributes + 1 + self.categories)

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
          UserError: if the file is missing, changed or malformed, or has an unknown label.
        """
        path = locate(self.file, data_dir)
        check_unchanged([path], self.sha256)
        rows = read_rows(path, self.header)
        y = label_numbers(path, [row[-1] for row in rows], self.labels)
        shares = {"valid": self.valid_share, "test": self.test_share}
        parts = parts_of(len(y), self.folds, self.fold, shares, self.split_seed)
        check_filled(path, parts)
        # The type of a column comes from all rows, so that all splits and folds agree on it. Means
        # and categories come from the training rows.
        columns = [_column([row[k] for row in rows]) for k in range(len(rows[0]) - 1)]
        preprocessing = [_fit(column, parts["train"]) for column in columns]
        x_NTD = self._encoded(columns, preprocessing)
        splits = split_examples(x_NTD, y, parts, len(self.labels), self.balanced)
        return Dataset(splits, {"outputs": self.labels, "columns": preprocessing})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a row without its label to a sequence [T,D].

        Args:
          line: the values, in CSV.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if the number of values is wrong, or a value is not a number where training had
            numbers.
        """
        # csv and not `split`: a quoted category may contain a comma.
        values = [value.strip() for value in next(csv.reader([line]))]
        if len(values) != self.attributes:
            raise UserError(f"input: got {len(values)} values, expected {self.attributes}")
        columns = [
            _column([value]) if isinstance(encoding, dict) else [value]
            for value, encoding in zip(values, preprocessing["columns"], strict=True)
        ]
        for value, column, encoding in zip(values, columns, preprocessing["columns"], strict=True):
            if isinstance(encoding, dict) and not isinstance(column, np.ndarray):
                raise UserError(f"input: got {value!r}, expected a number")
        return self._encoded(columns, preprocessing["columns"])[0]

    def _encoded(self, columns: list[Any], preprocessing: list[Any]) -> np.ndarray:
        """Returns the rows as sequences [N,T,D].

        Args:
          columns: for each attribute its values, an array of numbers or a list of strings.
          preprocessing: for each attribute its mean and deviation, or its categories.
        """
        x_NTD = np.zeros((len(columns[0]), self.attributes, self.inputs.features), np.float32)
        for k, (column, encoding) in enumerate(zip(columns, preprocessing, strict=True)):
            # The weights of a cell are the same at all steps, so the input itself says which
            # attribute it is.
            x_NTD[:, k, k] = 1.0
            if isinstance(encoding, dict):
                x_NTD[:, k, self.attributes] = (column - encoding["mean"]) / encoding["std"]
            else:
                # A category that training did not have stays all zeros.
                places = [encoding.index(value) if value in encoding else -1 for value in column]
                for row, place in enumerate(places):
                    if place >= 0:
                        x_NTD[row, k, self.attributes + 1 + place] = 1.0
        return x_NTD

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns the outputs of a logistic regression on the same inputs.

        Args:
          dataset: the data.

        Returns:
          Log probabilities [N,C] of the test split, which are valid logits.
        """
        from sklearn.linear_model import LogisticRegression

        train, test = (dataset.splits[split] for split in ("train", "test"))
        assert isinstance(train, Examples)
        assert isinstance(test, Examples)
        # The same class weights as the model. The default of 100 iterations may end too early.
        balanced = "balanced" if self.balanced else None
        model = LogisticRegression(max_iter=5000, class_weight=balanced)
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


def _column(values: list[str]) -> Any:
    """Returns a column as an array of numbers if all values are numbers, else as it is."""
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return values


def _fit(column: Any, train: np.ndarray) -> Any:
    """Returns the mean and deviation of a column's training rows, or their categories."""
    if isinstance(column, np.ndarray):
        # A dict means numbers and a list means categories. Both are stored as JSON.
        known = column[train]
        return {"mean": float(known.mean()), "std": float(known.std()) or 1.0}
    return sorted({column[k] for k in train})


def options(file: str, header: bool = True, data_dir: Path = Path()) -> dict[str, Any]:
    """Returns the options of the task for a user's own table: its labels, sizes and hash.

    Args:
      file: the file.
      header: whether the first row has the names of the columns.
      data_dir: another folder in which to look for the file.

    Raises:
      UserError: if the file is missing or malformed.
    """
    path = locate(file, data_dir)
    rows = read_rows(path, header)
    columns = [_column([row[k] for row in rows]) for k in range(len(rows[0]) - 1)]
    # Counted in all rows: an upper bound that holds for the training rows of every split and fold.
    categories = [len(set(c)) for c in columns if not isinstance(c, np.ndarray)]
    return {
        "name": Table.name,
        "file": file,
        "header": header,
        "labels": tuple(sorted({row[-1] for row in rows})),
        "attributes": len(columns),
        "categories": max(categories, default=0),
        "sha256": sha256_of([path]),
    }

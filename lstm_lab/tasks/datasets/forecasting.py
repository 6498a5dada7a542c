"""Forecasting: the next values of one or several series.

In: a CSV file with a header and one row per time. Out: overlapping windows of standardized values,
each with the values that follow it, and the forecasts in the units of the file. time_series.py
classifies whole series instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Dataset, Real, Task, Vectors
from lstm_lab.tasks.examples import Stored, Windows
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.splits import check_folds, check_shares
from lstm_lab.tasks.readers.tables import numeric_columns, parse_columns, read_columns
from lstm_lab.tasks.readers.text import check_unchanged, sha256_of
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Series(Task):
    """The next values of one or several series, from the values before.

    The rows are cut, in their order, into train, valid and test. No window crosses a cut, and mean
    and standard deviation are those of the training rows, so no model knows anything of the future.

    Attributes:
      file: a CSV file with a header and one row per time.
      inputs_of: columns that the model reads.
      targets: columns that it forecasts; they must be among `inputs_of`.
      context: number of rows that the model reads.
      horizon: number of rows that it forecasts.
      rows: number of rows of the file to use, from the first row; None means all.
      valid_share, test_share: shares of these rows.
      folds, fold: a rolling origin instead of these shares. The rows are cut into `folds` + 2
        blocks, counted from 0. Fold k trains on blocks 0 to k, validates on block k + 1 and tests
        on block k + 2.
      log: whether to take logarithms first, for series that grow by rates.
      relative: whether to forecast differences to the last row of the context. Errors are the same
        as those of the values.
      season: number of rows of a period, for the trivial forecast that repeats the last period.
      sha256: hash of the user's own file, or None.

    Example:
      task = Series("load.csv", ("load", "heat"), ("load",), context=24, horizon=3)
      task.inputs, task.target  # Vectors(features=2), Real(size=3, every_step=False)
    """

    file: str
    inputs_of: tuple[str, ...]
    targets: tuple[str, ...]
    context: int = 24
    horizon: int = 1
    rows: int | None = None
    valid_share: float = 0.2
    test_share: float = 0.2
    folds: int | None = None
    fold: int | None = None
    log: bool = False
    relative: bool = False
    season: int = 1
    sha256: str | None = None

    name: ClassVar[str] = "series"
    metric: ClassVar[str] = "mse"
    final_metric_names: ClassVar[tuple[str, ...]] = ("smape", "mase")
    files: ClassVar[tuple[str, ...]] = ("file",)
    reads_whole_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("context", "horizon", "season"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")
        check_shares(valid_share=self.valid_share, test_share=self.test_share)
        check_folds(self.folds, self.fold)
        if not self.targets or not set(self.targets) <= set(self.inputs_of):
            raise ValueError(f"targets: got {self.targets}, expected some of {self.inputs_of}")
        # The seasonal forecast finds the last period in the context.
        if self.season > self.context:
            raise ValueError(f"season: got {self.season}, expected up to context, {self.context}")

    @property
    def inputs(self) -> Vectors:
        """One number per column, standardized."""
        return Vectors(len(self.inputs_of))

    @property
    def target(self) -> Real:
        """All target columns of the next row, then those of the row after it, and so on."""
        return Real(self.horizon * len(self.targets))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the series; values are standardized by the training rows.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if the file is missing, changed or too short, if it lacks a column, or if `log`
            meets a value that is not above 0.
        """
        path = locate(self.file, data_dir)
        check_unchanged([path], self.sha256)
        values_ND = read_columns(path, self.inputs_of)[: self.rows]
        if self.log:
            if (values_ND <= 0).any():
                raise UserError(f"task.log: {path} has values that are not above 0")
            values_ND = np.log(values_ND)
        ends = [round(end * len(values_ND)) for end in self._ends()]
        # Cut by time and not at random: a random test row would lie between training rows.
        parts = np.split(values_ND[: ends[2]], ends[:2])
        mean_D, std_D = parts[0].mean(0), parts[0].std(0)
        # A column that is constant in training becomes 0 and not NaN.
        std_D[std_D == 0] = 1.0
        least = self.context + self.horizon
        named = dict(zip(("train", "valid", "test"), parts, strict=True))
        for split, part in named.items():
            if len(part) < least:
                raise UserError(
                    f"data: {path} leaves {split} {len(part)} rows, expected {least} or more: "
                    "context and horizon"
                )
        splits = {split: self._windows((part - mean_D) / std_D) for split, part in named.items()}
        columns = [self.inputs_of.index(name) for name in self.targets]
        preprocessing = {"mean": mean_D.tolist(), "std": std_D.tolist(), "targets": columns}
        preprocessing["season_mae"] = self._step_of_a_season((parts[0] - mean_D) / std_D)
        return Dataset({**splits}, preprocessing)

    def _ends(self) -> tuple[float, float, float]:
        """Returns the ends of train, valid and test, as shares of the rows."""
        if self.folds is None or self.fold is None:
            return 1.0 - self.valid_share - self.test_share, 1.0 - self.test_share, 1.0
        first, second, third = ((self.fold + k) / (self.folds + 2) for k in (1, 2, 3))
        # Later rows are not used, so each fold forecasts from a later origin.
        return first, second, third

    def _windows(self, values_ND: np.ndarray) -> Windows:
        # A window begins at every row: overlapping windows give a short series many examples.
        columns = tuple(self.inputs_of.index(name) for name in self.targets)
        values_ND = values_ND.astype(np.float32)
        return Windows(values_ND, self.context, self.horizon, columns, self.relative)

    def _step_of_a_season(self, values_ND: np.ndarray) -> float:
        """Returns the mean absolute difference over a season in the training rows.

        It is the error of the seasonal forecast one season ahead, by which MASE divides.
        """
        columns = [self.inputs_of.index(name) for name in self.targets]
        steps = values_ND[self.season :, columns] - values_ND[: -self.season, columns]
        return float(np.abs(steps).mean())

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns forecasts that repeat the last value (persistence) or the last period (seasonal).

        Args:
          dataset: the data.

        Returns:
          Forecasts of the test split [N,C] in the form of the targets.
        """
        test = dataset.splits["test"]
        assert isinstance(test, Windows)
        last_N1K = test.step(self.context - 1)[:, None, test.columns]
        # A horizon longer than a season repeats the last period several times.
        period = [self.context - self.season + step % self.season for step in range(self.horizon)]
        season_NHK = np.stack([test.step(t)[:, test.columns] for t in period], 1)
        forecasts = {"persistence": np.repeat(last_N1K, self.horizon, 1), "seasonal": season_NHK}
        if self.relative:
            forecasts = {name: f - last_N1K for name, f in forecasts.items()}
        return {name: f.reshape(len(f), -1) for name, f in forecasts.items()}

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns sMAPE, in percent from 0 to 200, and MASE.

        sMAPE is computed from values in the units of the file. MASE is computed from standardized
        values (of logarithms, with `log`); below 1 means that the error is smaller than that of the
        seasonal forecast on the training rows.

        Args:
          outputs: forecasts [N,C].
          test: the test split.
          preprocessing: as in `Dataset`.

        Source: Hyndman and Koehler 2006, Another look at measures of forecast accuracy.
        """
        assert isinstance(test, Windows)
        y_NC, last_N1D = test.targets(), test.step(self.context - 1)[:, None]
        # sMAPE is a ratio to the values, and standardized values lie around 0.
        guess, true = (self.original(last_N1D, y, preprocessing) for y in (outputs, y_NC))
        # The maximum avoids 0 / 0 where forecast and value are both 0.
        smape = 200.0 * np.abs(guess - true) / np.maximum(np.abs(guess) + np.abs(true), 1e-12)
        mae = float(np.abs(outputs - y_NC).mean())
        return {"smape": float(smape.mean()), "mase": mae / preprocessing["season_mae"]}

    def read_lines(self, lines: Iterable[str], preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts the last `context` rows of a CSV with a header to one sequence [T,D].

        Args:
          lines: the header and the rows.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: as `parse_columns`, if there are fewer rows than `context`, or if `log` finds
            values that are not above 0.
        """
        values_ND = parse_columns("input", lines, self.inputs_of)
        if len(values_ND) < self.context:
            raise UserError(f"input: got {len(values_ND)} rows, expected {self.context} or more")
        if self.log and not (values_ND > 0.0).all():
            raise UserError("input: got a value of 0 or less, expected values above 0 (task.log)")
        known = np.log(values_ND) if self.log else values_ND
        # The mean and deviation of training, since the model learned its weights for this scale.
        scaled = (known - np.array(preprocessing["mean"])) / np.array(preprocessing["std"])
        return scaled[-self.context :].astype(np.float32)

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the `forecast` of each target column, in the units of the file."""
        values_HK = self.original(x[None], outputs[None], preprocessing)[0]
        return {"forecast": {name: values_HK[:, k].tolist() for k, name in enumerate(self.targets)}}

    def original(
        self, x_NTD: np.ndarray, y_NC: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> np.ndarray:
        """Converts targets or forecasts to the units of the file.

        Args:
          x_NTD: the inputs or their ends, whose last row `relative` needs.
          y_NC: targets or forecasts, with C = horizon times K columns.
          preprocessing: as in `Dataset`.

        Returns:
          Values [N,horizon,K].
        """
        # The steps of `load` in reverse order: differences, then scale, then logarithms.
        columns = preprocessing["targets"]
        y_NHK = y_NC.reshape(len(y_NC), self.horizon, len(columns))
        if self.relative:
            y_NHK = y_NHK + x_NTD[:, -1:, columns]
        values = (
            y_NHK * np.array(preprocessing["std"])[columns]
            + np.array(preprocessing["mean"])[columns]
        )
        return np.exp(values) if self.log else values


def options(file: str, targets: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the options of the task for a user's own CSV file: its columns and its hash.

    Args:
      file: the file; columns without numbers, such as dates, are left out.
      targets: columns to forecast; empty means the last column of numbers.

    Raises:
      UserError: if the file is missing or has no column of numbers.
    """
    columns = numeric_columns(Path(file))
    if not columns:
        raise UserError(
            f"data: {file} line 2 has no numbers, expected a header and rows of numbers"
        )
    return {
        "name": Series.name,
        "file": file,
        "inputs_of": columns,
        "targets": targets or columns[-1:],
        "sha256": sha256_of([Path(file)]),
    }

"""Forecasting: the next values of one or several series.

In: a table with a header and one row per time, or one per split. Out: overlapping windows of
standardized values, each with the values that follow it, and the forecasts in the units of the
file. time_series.py classifies whole series instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Dataset, Direction, Real, Task, Vectors
from lstm_lab.tasks.examples import Stored, Windows
from lstm_lab.tasks.linear_forecast import linear_forecasts
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.rows import RawTable
from lstm_lab.tasks.readers.series import (
    Rows,
    SeriesFormat,
    any_within,
    describe_columns,
    input_table,
    numeric_columns,
    series_rows,
    whole_windows,
)
from lstm_lab.tasks.readers.splits import SPLITS, check_folds, check_shares, find_splits
from lstm_lab.tasks.readers.tables import read_table, resolve_columns, standardization
from lstm_lab.tasks.readers.text import sha256_of
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Series(SeriesFormat, Task):
    """The next values of one or several series, from the values before.

    The rows are cut, in their order, into train, valid and test. No window crosses a cut, and mean
    and standard deviation are those of the training rows, so no model knows anything of the future.

    Attributes:
      file: a table with a header and one row per time.
      inputs_of: columns that the model reads.
      targets: columns that it forecasts; they must be among `inputs_of`.
      context: number of rows that the model reads.
      horizon: number of rows that it forecasts.
      rows: number of rows of the file to use, from the first row; None means all.
      valid, test: files of these splits; without them, they are the last rows of `file`.
      valid_share, test_share: shares of these rows.
      folds, fold: a rolling origin instead of these shares. The rows are cut into `folds` + 2
        blocks, counted from 0. Fold k trains on blocks 0 to k, validates on block k + 1 and tests
        on block k + 2.
      log: whether to take logarithms first, for series that grow by rates.
      relative: whether to forecast differences to the last row of the context. Errors are the same
        as those of the values.
      season: number of rows of a period, for the trivial forecast that repeats the last period.
      sha256: hash of the user's own files, or None; see `complete`.

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
    valid: str | None = None
    test: str | None = None
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
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"smape": "min", "mase": "min"}
    files: ClassVar[tuple[str, ...]] = ("file", "valid", "test")
    reads_whole_input: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("context", "horizon", "rows", "season"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name}: got {value}, expected 1 or more")
        check_shares(valid_share=self.valid_share, test_share=self.test_share)
        check_folds(self.folds, self.fold, self.valid, self.test)
        self.check_format()
        if not self.targets or not set(self.targets) <= set(self.inputs_of):
            raise ValueError(f"targets: got {self.targets}, expected some of {self.inputs_of}")
        # The seasonal forecast finds the last period in the context.
        if self.season > self.context:
            raise ValueError(f"season: got {self.season}, expected up to context, {self.context}")

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the columns and the hash of a user's files.

        All columns of numbers are read, and the last column of the file is forecast.

        Args:
          options: the options that were given.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, or has no column of numbers.
        """
        options = set_options(options)
        if not incomplete(options, cls.files, ("inputs_of", "targets"), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        known = {field.name for field in fields(SeriesFormat)}
        form = SeriesFormat(**{name: options[name] for name in known & options.keys()})
        form.check_format()
        table = read_table(paths["file"], form, form.header)
        names = {
            name: resolve_columns(options[name], table.names, f"task.{name}")
            for name in ("inputs_of", "targets")
            if name in options
        }
        columns = names.get("inputs_of") or numeric_columns(table, form, names.get("targets", ()))
        added = {"inputs_of": columns, "targets": names.get("targets") or columns[-1:]}
        return {**options, **added, "sha256": options.get("sha256", sha256_of(paths.values()))}

    @property
    def inputs(self) -> Vectors:
        """One number per column, standardized; with `missing=mask` also a mark for each."""
        return Vectors(len(self.inputs_of) * (2 if self.missing == "mask" else 1))

    @property
    def target(self) -> Real:
        """All target columns of the next row, then those of the row after it, and so on."""
        return Real(self.horizon * len(self.targets))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the series; values are standardized by the training rows.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or too short, if it lacks a column, if its times
            are not in order, or if `log` meets a value that is not above 0.
        """
        paths = find_splits(self, partial(locate, data_dir=data_dir))
        tables = {split: read_table(path, self, self.header) for split, path in paths.items()}
        rows = {split: self._rows(table) for split, table in tables.items()}
        rows["train"] = Rows(*(part[: self.rows] for part in rows["train"]))
        parts = self._parts(rows)
        if np.isnan(parts["train"].values).all(0).any():
            raise UserError(f"data: {paths['train']} has a column without a number to train on")
        span = self.context + self.horizon
        for split, part in parts.items():
            if len(part.values) < span:
                raise UserError(
                    f"data: {paths.get(split, paths['train'])} leaves {split} "
                    f"{len(part.values)} rows, expected {span} or more: context and horizon"
                )
        mean_D, std_D = standardization(parts["train"].values)
        splits = {}
        for split, part in parts.items():
            path = paths.get(split, paths["train"])
            splits[split] = self._windows(split, path, part, (part.values - mean_D) / std_D)
        columns = [self.inputs_of.index(name) for name in self.targets]
        preprocessing = {"mean": mean_D.tolist(), "std": std_D.tolist(), "targets": columns}
        preprocessing["names"] = list(self.inputs_of)
        scaled = (parts["train"].values - mean_D) / std_D
        preprocessing["season_mae"] = self._step_of_a_season(scaled)
        source = describe_columns(tables["train"], self.inputs_of, self)
        source["predicts"] = list(self.targets)
        unfilled = int(np.isnan(rows["train"].values).any(1).sum())
        if unfilled and self.missing in ("ffill", "interpolate"):
            note = f"{unfilled} rows are left out: no value before them can fill what they miss"
            source["notes"].append(note)
        source["rows_read"] = sum(len(part.values) for part in parts.values())
        return Dataset({**splits}, preprocessing, source)

    def _rows(self, table: RawTable) -> Rows:
        """Returns the rows of a table, as logarithms if asked."""
        rows = series_rows(table, self.inputs_of, self)
        if self.log and (rows.values <= 0).any():
            line = rows.lines[int((rows.values <= 0).any(1).argmax())]
            raise UserError(
                f"{table.place(line)} has a value of 0 or less, expected values above 0 (task.log)"
            )
        return rows._replace(values=np.log(rows.values)) if self.log else rows

    def _parts(self, rows: Mapping[str, Rows]) -> dict[str, Rows]:
        """Returns the rows of train, valid and test; those without a file end the training file."""
        # Cut by time and not at random: a random test row would lie between training rows.
        train = rows["train"]
        if self.folds is not None:
            ends = self._ends()
        else:
            valid, test = (
                0.0 if split in rows else share
                for split, share in (("valid", self.valid_share), ("test", self.test_share))
            )
            ends = (1.0 - valid - test, 1.0 - test, 1.0)
        cuts = [round(end * len(train.values)) for end in ends]
        values = np.split(train.values[: cuts[2]], cuts[:2])
        starts = np.split(train.starts[: cuts[2]], cuts[:2])
        lines = np.split(train.lines[: cuts[2]], cuts[:2])
        parts = map(Rows, values, starts, lines)
        of_files = {split: part for split, part in rows.items() if split != "train"}
        return {**dict(zip(SPLITS, parts, strict=True)), **of_files}

    def _ends(self) -> tuple[float, float, float]:
        """Returns the ends of train, valid and test of a fold, as shares of the rows."""
        assert self.folds is not None
        assert self.fold is not None
        first, second, third = ((self.fold + k) / (self.folds + 2) for k in (1, 2, 3))
        # Later rows are not used, so each fold forecasts from a later origin.
        return first, second, third

    def _windows(self, split: str, path: Path, rows: Rows, scaled_ND: np.ndarray) -> Windows:
        """Returns the windows of a split, without those that cross a gap or miss a number."""
        span = self.context + self.horizon
        columns = tuple(self.inputs_of.index(name) for name in self.targets)
        # A window begins at every row: overlapping windows give a short series many examples.
        whole = self._whole(rows, scaled_ND, span)
        # What is forecast must be known, also where the inputs need not be.
        unknown_N = np.isnan(scaled_ND[:, columns]).any(1)
        whole &= ~any_within(unknown_N, self.horizon)[self.context :]
        if not whole.any():
            raise UserError(
                f"data: {path} leaves {split} no window of {span} rows without missing numbers or "
                "times"
            )
        values_ND = self._marked(scaled_ND.astype(np.float32))
        starts = np.flatnonzero(whole).astype(np.int32)
        return Windows(values_ND, starts, self.context, self.horizon, columns, self.relative)

    def _marked(self, x_NTD: np.ndarray) -> np.ndarray:
        """Returns inputs whose missing numbers are 0, the mean, with a mark per column if asked."""
        missing = np.isnan(x_NTD)
        x_NTD = np.where(missing, np.float32(0), x_NTD)
        parts = [x_NTD, missing.astype(np.float32)] if self.missing == "mask" else [x_NTD]
        return np.ascontiguousarray(np.concatenate(parts, -1))

    def _step_of_a_season(self, values_ND: np.ndarray) -> float:
        """Returns the mean absolute difference over a season in the training rows.

        It is the error of the seasonal forecast one season ahead, by which MASE divides.
        """
        columns = [self.inputs_of.index(name) for name in self.targets]
        steps = values_ND[self.season :, columns] - values_ND[: -self.season, columns]
        # NaN steps are those of missing numbers.
        known = np.abs(steps)[~np.isnan(steps)]
        return float(known.mean()) if len(known) else float("nan")

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns forecasts by the last value (persistence), the last period (seasonal), and a
        linear map of the context (linear).

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
        forecasts = {name: f.reshape(len(f), -1) for name, f in forecasts.items()}
        return forecasts | {"linear": linear_forecasts(dataset)}

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
        mae, season = float(np.abs(outputs - y_NC).mean()), preprocessing["season_mae"]
        # A series that repeats its season exactly has no MASE: its scale is 0.
        mase = mae / season if season else float("nan")
        return {"smape": float(smape.mean()), "mase": mase}

    def read_inputs(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:
        """Yields the last `context` rows of a table as one sequence [T,D].

        Args:
          lines: the table, written as the training file.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: as `load`, or if there are fewer rows than `context`.
        """
        x_ND, whole_N = self._scaled(lines, preprocessing)
        if not whole_N[-1]:
            raise UserError(
                f"input: the last {self.context} rows have missing numbers or times "
                f"(task.missing={self.missing or 'none'})"
            )
        yield self._marked(x_ND[-self.context :])

    def read_rolling(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yields `context` rows up to each row, [T,D], with the number of the row.

        Rows before which a number or a time is missing are left out, as in training.

        Args:
          lines: the table, written as the training file.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: as `read_inputs`.
        """
        x_ND, whole_N = self._scaled(lines, preprocessing)
        if not whole_N.any():
            raise UserError(f"input: got no {self.context} rows without missing numbers or times")
        for begin in np.flatnonzero(whole_N).tolist():
            end = begin + self.context
            yield end, self._marked(x_ND[begin:end])

    def _scaled(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the standardized rows of an input, and which of them begin a whole context."""
        rows = self._rows(input_table(lines, self))
        if len(rows.values) < self.context:
            raise UserError(f"input: got {len(rows.values)} rows, expected {self.context} or more")
        # The mean and deviation of training, since the model learned its weights for this scale.
        mean_D, std_D = (np.array(preprocessing[name]) for name in ("mean", "std"))
        x_ND = ((rows.values - mean_D) / std_D).astype(np.float32)
        return x_ND, self._whole(rows, x_ND, self.context)

    def _whole(self, rows: Rows, x_ND: np.ndarray, span: int) -> np.ndarray:
        """Returns which windows of `span` rows have all that the model needs."""
        # With marks, a window may miss numbers.
        missing_N = np.isnan(x_ND).any(1) & (self.missing != "mask")
        return whole_windows(rows.starts, missing_N, span)

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
        mean_K, std_K = (np.array(preprocessing[name])[columns] for name in ("mean", "std"))
        values = y_NHK * std_K + mean_K
        return np.exp(values) if self.log else values

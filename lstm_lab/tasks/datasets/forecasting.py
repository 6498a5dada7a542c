"""Forecasting: the next values of one or several series, from a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Dataset, Examples, Real, Task, Vectors
from lstm_lab.tasks.readers.download import Source, locate
from lstm_lab.tasks.readers.splits import check_folds, check_shares
from lstm_lab.tasks.readers.tables import numeric_columns, parse_columns, read_columns
from lstm_lab.tasks.readers.text import check_unchanged, sha256_of
from lstm_lab.utils.errors import UserError

_BROWNLEE = "https://raw.githubusercontent.com/jbrownlee/Datasets/"
SOURCES = (
    Source(
        "ett/ETTh1.csv",
        "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/"
        "1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/ETTh1.csv",
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    Source(
        "series/airline-passengers.csv",
        _BROWNLEE + "d20fcb6402ae34e653d4513b00f39257bb37ed7f/airline-passengers.csv",
        "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621",
    ),
    Source(
        "series/monthly-sunspots.csv",
        _BROWNLEE + "d20fcb6402ae34e653d4513b00f39257bb37ed7f/monthly-sunspots.csv",
        "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3",
    ),
    Source(
        "series/sp500-2000.csv",
        "https://raw.githubusercontent.com/vega/vega-datasets/"
        "cad85578e232704bb0453544742440038038c6a2/data/sp500-2000.csv",
        "9409e9342d0657c747324e4cfabce8a8c7f663bc485b95a3378f36b0a160f8c8",
    ),
)


@dataclass(frozen=True)
class Series(Task):
    """The next values of series, from those before.

    The rows are cut, in their order, into train, valid and test; no window crosses a cut, and
    means and deviations are those of the training part, so nothing of the future is known.

    Attributes:
      file: CSV with a header, a time a row.
      inputs_of: columns that are read.
      targets: columns that are forecast, among those read.
      context: rows that are read.
      horizon: rows that are forecast.
      rows: rows of the file that count, from the first on; None is all.
      valid_share, test_share: of them.
      folds, fold: forecasts from a rolling origin in their place: the rows are cut into `folds` + 2
        blocks, and fold k trains on all before the block that validates, which is number k + 1
        counted from 0; the next one tests.
      log: take logarithms first, of series that grow by rates.
      relative: forecast differences to the last row read; errors stay those of the values.
      season: rows of a period, for the trivial forecast that repeats the last one.
      sha256: hash of the file, for one of the user's own.
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
        if self.season > self.context:
            raise ValueError(f"season: got {self.season}, expected up to context, {self.context}")

    @property
    def inputs(self) -> Vectors:
        """The columns read."""
        return Vectors(len(self.inputs_of))

    @property
    def target(self) -> Real:
        """The values forecast: all columns of the next row, then of the one after."""
        return Real(self.horizon * len(self.targets))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the series; values are in deviations of the training part.

        Raises:
          UserError: for a file that is missing, changed, too short, or without such columns.
        """
        path = locate(self.file, data_dir, SOURCES)
        check_unchanged([path], self.sha256)
        values_ND = read_columns(path, self.inputs_of)[: self.rows]
        if self.log:
            if (values_ND <= 0).any():
                raise UserError(f"task.log: {path} has values that are not above 0")
            values_ND = np.log(values_ND)
        ends = [round(end * len(values_ND)) for end in self._ends()]
        parts = np.split(values_ND[: ends[2]], ends[:2])
        mean_D, std_D = parts[0].mean(0), parts[0].std(0)
        std_D[std_D == 0] = 1.0
        least = self.context + self.horizon
        splits = {}
        for split, part in zip(("train", "valid", "test"), parts, strict=True):
            if len(part) < least:
                raise UserError(
                    f"data: {path} leaves {split} {len(part)} rows, expected {least} or more: "
                    "context and horizon"
                )
            splits[split] = self._windows((part - mean_D) / std_D)
        columns = [self.inputs_of.index(name) for name in self.targets]
        preprocessing = {"mean": mean_D.tolist(), "std": std_D.tolist(), "targets": columns}
        preprocessing["season_mae"] = self._step_of_a_season((parts[0] - mean_D) / std_D)
        return Dataset({**splits}, preprocessing)

    def _ends(self) -> tuple[float, float, float]:
        """Returns where train, valid and test end, as shares of the rows."""
        if self.folds is None or self.fold is None:
            return 1.0 - self.valid_share - self.test_share, 1.0 - self.test_share, 1.0
        first, second, third = ((self.fold + k) / (self.folds + 2) for k in (1, 2, 3))
        return first, second, third

    def _windows(self, values_ND: np.ndarray) -> Examples:
        columns = [self.inputs_of.index(name) for name in self.targets]
        span = self.context + self.horizon
        windows = np.lib.stride_tricks.sliding_window_view(values_ND, span, axis=0)
        windows_NTD = windows.transpose(0, 2, 1).astype(np.float32)
        x_NTD = np.ascontiguousarray(windows_NTD[:, : self.context])
        y_NTK = windows_NTD[:, self.context :, columns]
        if self.relative:
            y_NTK = y_NTK - x_NTD[:, -1:, columns]
        return Examples(x_NTD, y_NTK.reshape(len(y_NTK), -1))

    def _step_of_a_season(self, values_ND: np.ndarray) -> float:
        """Returns the training part's mean absolute difference over a season: MASE's unit."""
        columns = [self.inputs_of.index(name) for name in self.targets]
        steps = values_ND[self.season :, columns] - values_ND[: -self.season, columns]
        return float(np.abs(steps).mean())

    def trivial_outputs(self, dataset: Dataset) -> dict[str, np.ndarray]:
        """Returns trivial forecasts of the test part: the last value, and that of a season ago."""
        test = dataset.splits["test"]
        assert isinstance(test, Examples)
        columns = [self.inputs_of.index(name) for name in self.targets]
        x_NTK = test.x[:, :, columns]
        last_N1K = x_NTK[:, -1:]
        period = np.arange(self.horizon) % self.season
        season_NHK = x_NTK[:, self.context - self.season + period]
        forecasts = {"persistence": np.repeat(last_N1K, self.horizon, 1), "seasonal": season_NHK}
        if self.relative:
            forecasts = {name: f - last_N1K for name, f in forecasts.items()}
        return {name: f.reshape(len(f), -1) for name, f in forecasts.items()}

    def final_metrics(
        self, outputs: np.ndarray, test: Examples, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns sMAPE (percent, of the original values) and MASE of forecasts.

        Source: Hyndman and Koehler 2006, Another look at measures of forecast accuracy.
        """
        guess, true = (self.original(test.x, y, preprocessing) for y in (outputs, test.y))
        smape = 200.0 * np.abs(guess - true) / np.maximum(np.abs(guess) + np.abs(true), 1e-12)
        mae = float(np.abs(outputs - test.y).mean())
        return {"smape": float(smape.mean()), "mase": mae / preprocessing["season_mae"]}

    def read_lines(self, lines: Iterable[str], preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Returns the last `context` rows of a CSV with a header [T,D], as the model reads them.

        Raises:
          UserError: as `read_columns`, or for fewer rows.
        """
        values_ND = parse_columns("input", lines, self.inputs_of)
        if len(values_ND) < self.context:
            raise UserError(f"input: got {len(values_ND)} rows, expected {self.context} or more")
        known = np.log(values_ND) if self.log else values_ND
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
        """Returns targets or forecasts [N,horizon,K] in the units of the file."""
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
    """Returns the task's options for a CSV file of the user's own: its columns and its hash.

    Args:
      file: the file; columns that are no numbers, such as dates, are left out.
      targets: columns to forecast; none are the last one.

    Raises:
      UserError: for a file without a column of numbers.
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

"""All loggers of one run: TensorBoard, and those that the user chose.

`recorder.py` calls them. If the TensorBoard file cannot be written, the run stops, because its
folder is not writable. If a chosen logger raises an error, for example because the network is down,
that logger is switched off.

A chosen logger gets every row of metrics.jsonl once, in any number of processes. run.json stores
how many rows it has. A process that repeats steps after a kill does not send them again. A logger
that is new, or that missed rows, gets these rows when the run resumes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lstm_lab.training import multihost
from lstm_lab.training.loggers.base import Histogram, Logger, RunInfo, Value
from lstm_lab.training.loggers.choose import (
    LATE,
    ChosenLoggers,
    Maker,
    chosen_loggers,
    make_logger,
)
from lstm_lab.utils.types import JSON

Returned = TypeVar("Returned")


class Row(NamedTuple):
    """One row of metrics.jsonl for loggers: its step, and numbers by name."""

    step: int
    values: dict[str, float]


class Delivery(NamedTuple):
    """The number of rows that a logger has of a run; run.json stores it.

    Attributes:
      id: the id of the run in the service, or None.
      rows: the number of rows of metrics.jsonl that it has.
      open: whether the process that wrote this still sends rows.
    """

    id: str | None
    rows: int
    open: bool


def read_deliveries(head: Mapping[str, JSON], steps: Sequence[int]) -> dict[str, Delivery]:
    """Returns how many rows of a run each logger has.

    Args:
      head: the content of the run.json of an earlier process, or an empty dict.
      steps: the step of each row of metrics.jsonl that this process wrote. It sent all of these
        rows, even if it was killed.

    Example:
      >>> read_deliveries({"loggers": {"aim": {"id": "5f", "rows": 2, "open": True}}}, [5, 5, 10])
      {'aim': Delivery(id='5f', rows=3, open=False)}
    """
    before_last = len(steps)
    while before_last and steps[before_last - 1] == steps[-1]:
        before_last -= 1
    deliveries = {}
    loggers = head.get("loggers")
    for name, entry in loggers.items() if isinstance(loggers, dict) else []:
        if isinstance(entry, dict) and isinstance(entry.get("rows"), int):
            known, rows = entry.get("id"), entry["rows"]
            if entry.get("open"):
                rows = max(rows, before_last if name in LATE else len(steps))
            deliveries[name] = Delivery(known if isinstance(known, str) else None, rows, False)
    return deliveries


class RunLoggers:
    """The loggers of one run.

    Args:
      run: the information that they receive about it.
      rows: the rows that the record has when the process begins.
      earlier: how many rows each logger has from earlier processes.

    Example:
      loggers = RunLoggers(info, [], {})
      loggers.row(Row(10, {"train/loss": 0.3}))
      loggers.end("completed", {"test/mse": 0.2, "best/step": 10})
    """

    def __init__(self, run: RunInfo, rows: Sequence[Row], earlier: Mapping[str, Delivery]) -> None:
        # Late: tensorboardX imports PyTorch where it is installed, which takes a second.
        from lstm_lab.training.loggers.to_tensorboard import TensorBoard

        self._tensorboard = TensorBoard()
        self._tensorboard.start(run)
        self._rows = len(rows)
        self._earlier = earlier
        chosen = chosen_loggers()
        # Other hosts have copies of the same record.
        makers = chosen.makers if multihost.is_primary() else {}
        self._feeds = {
            name: _Feed(name, maker, run, rows, earlier.get(name), chosen)
            for name, maker in makers.items()
            if name not in chosen.off
        }

    def deliveries(self, ended: bool = False) -> dict[str, dict[str, JSON]]:
        """Returns how many rows of the run each logger has, for run.json.

        Args:
          ended: whether this process sends nothing more.
        """
        now = {name: feed.delivery(ended) for name, feed in self._feeds.items()}
        return {name: delivery._asdict() for name, delivery in {**self._earlier, **now}.items()}

    def receiving(self) -> list[str]:
        """Returns the names of the chosen loggers that still receive."""
        return [name for name, feed in self._feeds.items() if feed.delivery(ended=False).open]

    def row(self, row: Row) -> None:
        """Sends a new row of metrics.jsonl."""
        self._rows += 1
        self._tensorboard.log(*row)
        for feed in self._feeds.values():
            feed.row(self._rows, row)

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Sends values that are not in metrics.jsonl; they belong to its last row."""
        finite = _finite(values)
        self._tensorboard.log(step, finite)
        for feed in self._feeds.values():
            feed.log(step, finite)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Sends an image, as `Logger.figure` takes it."""
        self._tensorboard.figure(step, name, image)
        for feed in self._feeds.values():
            feed.figure(step, name, image)

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Ends all loggers, with arguments as `Logger.end` takes them."""
        finite = _finite(metrics)
        for feed in self._feeds.values():
            feed.end(status, finite)
        # TensorBoard last: an error of its file must not leave the other loggers open.
        self._tensorboard.end(status, finite)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the finite values."""
    return {k: v for k, v in values.items() if isinstance(v, Histogram) or math.isfinite(v)}


class _Feed:
    """Sends a chosen logger what it does not have yet, and catches its errors."""

    def __init__(
        self,
        name: str,
        maker: Maker,
        run: RunInfo,
        rows: Sequence[Row],
        earlier: Delivery | None,
        chosen: ChosenLoggers,
    ) -> None:
        self.name, self._chosen = name, chosen
        known, self._received, _ = earlier or Delivery(None, 0, False)
        self._logger: Logger | None = None  # also after an error
        self._logger = self._attempt(make_logger, maker)
        # False while a process repeats steps that the logger already has.
        self._is_new = len(rows) >= self._received
        if self._logger is not None:
            told = replace(run, external_id=known)
            known = self._attempt(self._logger.start, told) or known
        self._id = known if isinstance(known, str) else None
        for number, row in enumerate(rows, start=1):
            self.row(number, row)

    def _attempt(self, call: Callable[..., Returned], *arguments: Any) -> Returned | None:
        """Calls a method of the logger unless it is off; an error switches it off."""
        if self.name not in self._chosen.off:
            try:
                return call(*arguments)
            except Exception as error:
                self._chosen.switch_off(self.name, error)
        self._abandon()
        return None

    def _abandon(self) -> None:
        """Ends the logger after an error, once; its service would otherwise show a live run."""
        logger, self._logger = self._logger, None
        # One attempt if it fails: each one can wait for the network for minutes.
        if logger is not None and self.name not in self._chosen.lost:
            try:
                logger.end("failed", {})
            except Exception:
                self._chosen.lost.add(self.name)

    def delivery(self, ended: bool) -> Delivery:
        """Returns how many rows of the run the logger has."""
        return Delivery(self._id, self._received, not ended and self.name not in self._chosen.off)

    def row(self, number: int, row: Row) -> None:
        """Sends a row if the logger does not have it; the first row has number 1."""
        self._is_new = number > self._received
        if self._is_new:
            self.log(*row)
            if self.name not in self._chosen.off:
                self._received = number

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Sends values that belong to the last row."""
        if self._is_new and self._logger is not None and values:
            self._attempt(self._logger.log, step, values)

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Sends an image."""
        if self._is_new and self._logger is not None:
            self._attempt(self._logger.figure, step, name, image)

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Ends the logger in this process."""
        if self.name in self._chosen.off:
            self._abandon()
            return
        logger, self._logger = self._logger, None
        if logger is not None:
            self._attempt(logger.end, status, metrics)

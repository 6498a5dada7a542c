"""All loggers of one run: TensorBoard, and those that the user chose.

`recorder.py` calls them. An error of TensorBoard's file is one of the run's folder and ends the
run. An error of a chosen logger, such as a network that is down, switches that logger off.

A chosen logger gets every row of metrics.jsonl once, in any number of processes. run.json holds how
many rows it has: a process that repeats steps after a kill leaves these out, and a logger that
missed rows, or that is new, gets them when the run resumes.
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
    """What loggers receive of a row of metrics.jsonl: its step, and numbers by name."""

    step: int
    values: dict[str, float]


class Delivery(NamedTuple):
    """How much of a run a logger has, as run.json holds it.

    Attributes:
      id: the id under which the service knows the run, or None.
      rows: the rows of metrics.jsonl that it has.
      open: whether the process that wrote this goes on sending.
    """

    id: str | None
    rows: int
    open: bool


def read_deliveries(head: Mapping[str, JSON], steps: Sequence[int]) -> dict[str, Delivery]:
    """Returns how much each logger has of a run.

    Args:
      head: the content of the run.json of an earlier process, or an empty dict.
      steps: the step of each row of metrics.jsonl that it wrote. If it was killed, these rows were
        sent, too.

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
      run: what they are told about it.
      rows: the rows that the record has when the process begins.
      earlier: how much each logger has from earlier processes.

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
        # Other hosts hold copies of the same record.
        makers = chosen.makers if multihost.is_primary() else {}
        self._feeds = {
            name: _Feed(name, maker, run, rows, earlier.get(name), chosen)
            for name, maker in makers.items()
            if name not in chosen.off
        }

    def deliveries(self, ended: bool = False) -> dict[str, dict[str, JSON]]:
        """Returns what run.json holds: how much of the run each logger has.

        Args:
          ended: whether this process sends no more.
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
        """Sends values that metrics.jsonl does not have; they belong to its last row."""
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
        # Last: an error of its file must not leave the others open.
        self._tensorboard.end(status, finite)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that have a point on a curve."""
    return {k: v for k, v in values.items() if isinstance(v, Histogram) or math.isfinite(v)}


class _Feed:
    """Gives a chosen logger what it does not have yet, and survives its errors."""

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
        # Whether what is measured now is new to the logger, and not repeated after a kill.
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
        """Returns how much the logger has of the run."""
        return Delivery(self._id, self._received, not ended and self.name not in self._chosen.off)

    def row(self, number: int, row: Row) -> None:
        """Sends the row with a number from 1 on, if it is new to the logger."""
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

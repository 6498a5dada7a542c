"""What a logger is: an object that receives the numbers of one run while it trains.

TensorBoard, Weights & Biases, MLflow, Aim and a user's own class are loggers. `run_loggers.py`
calls those of a run, `choose.py` finds them by name. A logger only receives: it cannot change a
result, and neither ids nor results depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.utils.types import JSON


class Histogram(NamedTuple):
    """How often values fall into bins of equal width.

    Attributes:
      counts: values in each bin [bins], whole numbers.
      low: the lower end of the first bin.
      high: the upper end of the last bin.

    Example:
      Histogram(np.array([3, 0, 1]), 0.0, 1.0)
    """

    counts: np.ndarray
    low: float
    high: float


# What a logger receives under a name.
Value = float | Histogram


@dataclass(frozen=True)
class RunLabel:
    """What people call a run, and what it belongs to.

    Attributes:
      title: its name, such as "gru, seed 10".
      study: the name of its study; the name of the task for a single run.
      variant: its variant in the study; the cell for a single run.
      workdir: the folder of the study, or of the single run.

    Example:
      RunLabel("gru, seed 10", "cells", "gru", Path("runs/cells"))
    """

    title: str
    study: str
    variant: str
    workdir: Path


def single_label(spec: RunSpec, folder: Path) -> RunLabel:
    """Returns the label of a run that belongs to no study.

    Args:
      spec: the run.
      folder: its folder.

    Example:
      >>> single_label(load_spec("adding:gru"), Path("runs/first")).title
      'adding, gru, seed 0'
    """
    # Without the folders of a user's files.
    task, cell = (name.rpartition("/")[2] for name in (spec.task.name, spec.model.cell))
    return RunLabel(f"{task}, {cell}, seed {spec.seed}", task, cell, folder)


@dataclass(frozen=True)
class RunInfo:
    """What a logger is told when a run starts, or resumes.

    Attributes:
      id: the id of the run in lstm_lab. The same run in two folders has the same id.
      label: its title, study, variant and folder of the study.
      folder: the run's own folder.
      settings: the whole spec, by dotted name, as `{"model.hidden": 64}`.
      parameters: rows (name, shape, count) of the parameter table.
      metrics: names of the metrics that the logger will receive, as "valid/mse".
      resumed_at: the optimizer step of the checkpoint that training continues from, or None.
      external_id: what `start` returned in an earlier process of the same run, or None.

    Example:
      info.label.title, info.settings["optim.lr"]
    """

    id: str
    label: RunLabel
    folder: Path
    settings: Mapping[str, JSON]
    parameters: list[tuple[str, str, int]]
    metrics: tuple[str, ...]
    resumed_at: int | None
    external_id: str | None


class Logger(Protocol):
    """Receives one run. Several runs that train at once have a logger each.

    Example:
      class Printer:
          def start(self, run):
              self.title = run.label.title

          def log(self, step, values):
              print(self.title, step, values)

          def figure(self, step, name, image):
              pass

          def end(self, status, metrics):
              print(self.title, status, metrics)
    """

    def start(self, run: RunInfo) -> str | None:
        """Begins or continues the run; called once, first.

        Args:
          run: the run.

        Returns:
          The id under which the service knows the run, or None. The next process of an interrupted
          run gets it in `run.external_id`.
        """

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Receives values.

        After a rollback (`train.on_nan=rollback`) the steps of a run go back.

        Args:
          step: the optimizer step.
          values: finite numbers and histograms by name: `train/loss`, `valid/mse`, `optim/lr`,
            `perf/steps_per_s`, and with `compute.gates` also `gates/...` and `state/...`.
        """

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Receives an image; there are some with `compute.gates`.

        Args:
          step: the optimizer step to which it belongs.
          name: its name, as `gates/layer_0/f`.
          image: uint8 [height, width, 3].
        """

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Ends the run in this process; called once, last.

        Args:
          status: completed, diverged, pruned, interrupted, out_of_memory or failed; `running` if
            another process has taken the run over.
          metrics: the scores of a run with a result, as `test/mse`, `best/mse` on validation, and
            `best/step`, the step of the best weights; otherwise empty.
        """


def is_successful(status: str) -> bool:
    """Returns whether a run ended as it should, for services that know success and failure.

    Args:
      status: as in `Logger.end`.

    Example:
      >>> is_successful("pruned"), is_successful("diverged")
      (True, False)
    """
    return status in ("completed", "pruned")

"""The interface of a logger: an object that receives the numbers of one run while it trains.

TensorBoard, Weights & Biases, MLflow, Aim and a user's own class are loggers. `run_loggers.py`
calls the loggers of a run, `choose.py` finds them by name. A logger only receives numbers. It
cannot change a result, and the id of a run does not depend on it.
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
    """Display name and group of a run.

    Attributes:
      title: its display name, such as "gru, seed 10".
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
    # Names of a user's files are shown without their folders.
    task, cell = (name.rpartition("/")[2] for name in (spec.task.name, spec.model.cell))
    return RunLabel(f"{task}, {cell}, seed {spec.seed}", task, cell, folder)


@dataclass(frozen=True)
class RunInfo:
    """Information that a logger receives when a run starts or resumes.

    Attributes:
      id: the id of the run in lstm_lab. The same run in two folders has the same id.
      label: its title, study, variant and folder of the study.
      folder: the run's own folder.
      settings: all settings by dotted name, as `{"model.hidden": 64}`.
      parameters: rows (name, shape, count) of the parameter table.
      metrics: names of the metrics that the logger will receive, as "valid/mse".
      resumed_at: the optimizer step of the checkpoint that training continues from, or None.
      external_id: the id that `start` returned in an earlier process of the same run, or None.

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
    """Receives the numbers of one run. If several runs train at once, each has its own logger.

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
        """Begins or continues the run; it is called once, before all other methods.

        Args:
          run: the run.

        Returns:
          The id of the run in the service, or None. If the run is interrupted, the next process
          gets this id in `run.external_id`.
        """

    def log(self, step: int, values: Mapping[str, Value]) -> None:
        """Receives values.

        After a rollback (`train.on_nan=rollback`), `step` is smaller than before.

        Args:
          step: the optimizer step.
          values: finite numbers and histograms by name: `train/loss`, `valid/mse`, `optim/lr`,
            `perf/steps_per_s`, and with `compute.gates` also `gates/...` and `state/...`.
        """

    def figure(self, step: int, name: str, image: np.ndarray) -> None:
        """Receives an image; only runs with `compute.gates` send images.

        Args:
          step: the optimizer step to which it belongs.
          name: its name, as `gates/layer_0/f`.
          image: uint8 [height, width, 3].
        """

    def end(self, status: str, metrics: Mapping[str, float]) -> None:
        """Ends the run in this process; it is called once, after all other methods.

        Args:
          status: completed, diverged, pruned, interrupted, out_of_memory or failed; `running` if
            another process has taken the run over.
          metrics: the scores of a run with a result: `test/mse`, `best/mse` on validation, and
            `best/step`, the step of the best weights. It is empty for a run without a result.
        """


def is_successful(status: str) -> bool:
    """Returns whether a run was successful, for services that record success or failure.

    Args:
      status: as in `Logger.end`.

    Example:
      >>> is_successful("pruned"), is_successful("diverged")
      (True, False)
    """
    return status in ("completed", "pruned")

"""How long and on what a run trains, and how that is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lstm_lab.recurrence import Backend


@dataclass(frozen=True)
class TrainSpec:
    """How long and on what a run trains.

    Attributes:
      batch_size: sequences of one step.
      steps: optimiser steps; or
      epochs: passes over the training split, for tasks that have one.
      eval_every: steps between evaluations; None is one epoch, or a twentieth of the steps.
      patience: evaluations without a better one after which a run stops; None never stops it.
      metric: chooses the best checkpoint on validation; None is the task's own.
      label_smoothing: share of the probability that every class gets in the loss.
      activation_reg, temporal_reg: weights of the penalties on the last layer's outputs and on
        their changes from step to step (AR and TAR, Merity et al. 2017).
      bucket: put sequences of like length into a batch, which then ends at its longest.
      loss_reduction: `mean` over everything predicted; `sum_time_mean_batch` sums over time and
        averages over sequences.
    """

    batch_size: int = 32
    steps: int | None = None
    epochs: int | None = None
    eval_every: int | None = None
    patience: int | None = None
    metric: str | None = None
    label_smoothing: float = 0.0
    activation_reg: float = 0.0
    temporal_reg: float = 0.0
    bucket: bool = False
    loss_reduction: Literal["mean", "sum_time_mean_batch"] = "mean"

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "epochs", "eval_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: found {value}, allowed 1 or more")
        for name in ("activation_reg", "temporal_reg"):
            if getattr(self, name) < 0.0:
                raise ValueError(f"{name}: found {getattr(self, name)}, allowed 0 or more")
        if not 0.0 <= self.label_smoothing < 1.0:
            found = self.label_smoothing
            raise ValueError(f"label_smoothing: found {found}, allowed 0 or more, below 1")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"steps, epochs: found {self.steps} and {self.epochs}, allowed exactly one of them"
            )

    @property
    def penalised(self) -> bool:
        """Whether the loss has penalties on outputs."""
        return bool(self.activation_reg or self.temporal_reg)


@dataclass(frozen=True)
class ComputeSpec:
    """How a run is computed and logged: nothing that defines its result, so not part of its id.

    Attributes:
      backend: of the recurrence.
      devices: local devices to use; None is all.
      checkpoint_seconds: least time between checkpoints; 0 saves at every evaluation.
      log_every: largest number of steps in one compiled call.
      gates: write statistics of gates and states to TensorBoard at every evaluation.
    """

    backend: Backend = "auto"
    devices: int | None = None
    checkpoint_seconds: float = 30.0
    log_every: int = 200
    gates: bool = False

    def __post_init__(self) -> None:
        for name, value, least in (
            ("devices", self.devices, 1),
            ("checkpoint_seconds", self.checkpoint_seconds, 0),
            ("log_every", self.log_every, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name}: found {value}, allowed {least} or more")

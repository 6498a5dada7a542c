"""The battery on which a cell of one's own is held against a baseline: equal tuning everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.config.parsing import build_spec
from lstm_lab.sweep.axes import LogUniform, grid
from lstm_lab.sweep.study import Study, Trials, Tuning
from lstm_lab.utils.errors import UserError, unknown

SEEDS = (100, 101, 102, 103, 104)


@dataclass(frozen=True)
class Task:
    """A task of the battery.

    Attributes:
      config: of a run; the cell is set by the study.
      lr: bounds of the learning rates that are tried.
    """

    config: dict[str, Any]
    lr: tuple[float, float] = (1e-3, 3e-2)


def _adding(length: int) -> Task:
    return Task(
        {
            "task": {"name": "adding", "length": length},
            "model": {"hidden": 32},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 100},
        }
    )


def _copy(delay: int) -> Task:
    return Task(
        {
            "task": {"name": "copy_memory", "delay": delay},
            "model": {"hidden": 48},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 100},
        }
    )


TASKS = {
    "adding_50": _adding(50),
    "adding_150": _adding(150),
    "copy_10": _copy(10),
    "copy_60": _copy(60),
    "digits": Task(
        {
            "task": {"name": "digits", "pixels_per_step": 2},
            "model": {"hidden": 48},
            "optim": {"name": "adam", "clip": 1.0},
            "train": {"batch_size": 32, "epochs": 20},
        }
    ),
    "characters": Task(
        {
            "task": {
                "name": "language",
                "train": "tinyshakespeare/input.txt",
                "unit": "character",
                "vocabulary": 66,
                "unroll": 50,
                "eval_tracks": 50,
            },
            "model": {"hidden": 64},
            "optim": {"name": "adam", "clip": 5.0},
            "train": {"batch_size": 32, "steps": 1500, "eval_every": 300},
        }
    ),
    "jsb": Task(
        {
            "task": {"name": "jsb"},
            "model": {"hidden": 64},
            "optim": {"name": "adam", "clip": 5.0},
            "train": {
                "batch_size": 16,
                "epochs": 60,
                "patience": 10,
                "loss_reduction": "sum_time_mean_batch",
            },
        }
    ),
}


def battery(
    cell: str, baseline: str, names: Sequence[str], trials: int, data_dir: Path
) -> tuple[list[Study], list[str]]:
    """Returns a study a task, each with equal trials for both and matched parameters.

    Args:
      cell: a variant, or FILE.py:NAME.
      baseline: the variant to beat.
      names: of TASKS; none is all whose data are there.
      trials: random learning rates for each of both, on each task; the same for both.
      data_dir: where data sets are.

    Returns:
      The studies, and what was left out and why.

    Raises:
      UserError: for an unknown task, or one that was asked for and whose data are missing.
    """
    if cell == baseline:
        raise UserError(f"compare: the cell and the baseline are both {cell!r}")
    for name in names:
        if name not in TASKS:
            raise unknown("--tasks", name, TASKS)
    studies, left_out = [], []
    for name in names or TASKS:
        try:
            build_spec({**TASKS[name].config}).task.load(data_dir)
        except UserError as error:
            if names:
                raise
            left_out.append(f"{name}: {error}")
            continue
        studies.append(_study(name, TASKS[name], cell, baseline, trials))
    return studies, left_out


def _study(name: str, task: Task, cell: str, baseline: str, trials: int) -> Study:
    return Study(
        name=name,
        base=task.config,
        axes=(grid("model.cell", (baseline, cell)),),
        seeds=SEEDS,
        baseline=baseline,
        match="params",
        tuning=Tuning(seeds=(0,), trials=Trials(trials, {"optim.lr": LogUniform(*task.lr)})),
    )

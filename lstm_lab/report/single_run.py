"""Reads the folder of one run: its settings, its curves and its scores.

In: run.json, metrics.jsonl and result.json of a run. Out: `RunRecord`. `render/run_report.py`
writes the report of a single run from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from lstm_lab.results.intact import curve_problem
from lstm_lab.results.run_files import read_result, read_rows, read_settings
from lstm_lab.results.study_file import run_status
from lstm_lab.utils.curve import Curve, read_curves
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import flatten
from lstm_lab.utils.progress import duration
from lstm_lab.utils.tables import ResultTable
from lstm_lab.utils.types import JSON

NO_VALUE = "\u2013"  # a dash


@dataclass(frozen=True)
class RunRecord:
    """One run, as its folder describes it.

    Attributes:
      id: the id of the run.
      title: task and cell.
      status, reason: how it ended, and why if it did not complete; or what of its curve is lost.
      seed: its seed.
      settings: all settings by dotted path.
      metric: the name of the metric that chose the checkpoint, or None before the end.
      steps: number of training steps, or None before the end.
      best_step: the step of the best checkpoint, or None before the end.
      wall_s: training time in seconds, or None before the end.
      valid, test: metrics at the best checkpoint; empty before the end. NaN stands for a metric
        without a value, such as an AUC without examples of a class.
      trivial: test metrics of the trivial baselines, by name.
      history: one row per evaluation: step, seconds, training loss, validation metrics.
      score_curves: curves of the test split, by name; empty before the end.
    """

    id: str
    title: str
    status: str
    reason: str
    seed: int
    settings: dict[str, JSON]
    metric: str | None
    steps: int | None
    best_step: int | None
    wall_s: float | None
    valid: dict[str, float]
    test: dict[str, float]
    trivial: dict[str, dict[str, float]]
    history: ResultTable
    score_curves: dict[str, Curve]

    @property
    def headline(self) -> str:
        """The result in a sentence."""
        text = f"{self.title}: {self.status}"
        if self.reason:
            text += f" ({self.reason})"
        if self.steps is not None and self.wall_s is not None:
            text += f" after {self.steps} steps in {duration(self.wall_s)}"
        if self.best_step is not None:
            text += f"; best checkpoint at step {self.best_step}"
        return f"{text}."

    def scores_table(self) -> list[list[str]]:
        """Returns the scores as rows of text: the run's, then those of the trivial baselines."""
        names = list(self.test) or list(self.valid)
        if not names:
            return [["", "status"], ["", f"{self.status} {self.reason}".strip()]]
        lines = [["", *names]]
        for label, metrics in (("validation", self.valid), ("test", self.test)):
            lines.append([label, *(_number(metrics.get(name)) for name in names)])
        for name, metrics in self.trivial.items():
            label = f"trivial: {name.replace('_', ' ')} (test)"
            lines.append([label, *(_number(metrics.get(metric)) for metric in names)])
        return lines


def _number(value: float | None) -> str:
    """Returns a metric as text: nothing if it was not measured, a dash if it has no value."""
    if value is None:
        return ""
    return f"{value:.5f}" if math.isfinite(value) else NO_VALUE


def read_run(folder: Path) -> RunRecord:
    """Reads the folder of a run, also while it trains.

    Args:
      folder: the folder.

    Raises:
      UserError: for a folder without a run.
    """
    head = read_settings(folder)
    if head is None:
        raise UserError(f"workdir: {folder} holds no run (run.json is missing or damaged)")
    result: dict[str, JSON] = read_result(folder) or {}
    status, reason = run_status(folder)
    spec, best = head["spec"], result.get("best", {})
    reason = reason or curve_problem(folder, result)
    cell = str(spec["model"]["cell"]).rpartition("/")[2]
    return RunRecord(
        id=head["id"],
        title=f"{str(spec['task']['name']).rpartition('/')[2]}, {cell}, seed {spec.get('seed')}",
        status=status,
        reason=reason,
        seed=spec.get("seed", 0),
        settings=flatten(spec),
        metric=result.get("metric"),
        steps=result.get("steps"),
        best_step=best.get("step"),
        wall_s=result.get("wall_s"),
        valid=_numbers(best.get("valid", {})),
        test=_numbers(result.get("test", {})),
        trivial={name: _numbers(metrics) for name, metrics in result.get("trivial", {}).items()},
        history=_history(read_rows(folder)),
        score_curves=read_curves(result.get("curves", {})) or {},
    )


def _history(rows: list[dict[str, JSON]]) -> ResultTable:
    """Returns one row per evaluation, with the training loss of the calls since the one before."""
    counters = ("step", "split", "sequences", "tokens", "flops", "seconds")
    valid = [row for row in rows if row["split"] == "valid"]
    names = [name for name in (valid[0] if valid else {}) if name not in counters]
    table, losses, rate = [], [], None
    for row in rows:
        if row["split"] == "train":
            losses.append(row["loss"])
            rate = row.get("lr")
            continue
        known = [loss for loss in losses if loss is not None]
        loss = sum(known) / len(known) if known else None
        table.append((row["step"], row["seconds"], rate, loss, *(row.get(name) for name in names)))
        losses = []
    columns = ("step", "seconds", "lr", "train_loss", *(f"valid_{name}" for name in names))
    return ResultTable(columns, table)


def _numbers(metrics: dict[str, float | None]) -> dict[str, float]:
    """Returns metrics with NaN for those without a value, which are null on disk."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}

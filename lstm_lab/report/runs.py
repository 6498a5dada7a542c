"""Reads a study's folder: its declaration, and one row a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.results.study_file import expected, run_status, worked_on
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines, valid_by_step


@dataclass(frozen=True)
class RunRow:
    """A run as a report sees it.

    Attributes:
      id, variant, stage, seed: which run.
      point: its values on the tuning axes.
      status: as in run.json.
      reason: why it failed.
      valid, test: the primary metric at the best validation checkpoint, or None.
      tests: all test metrics there.
      trivial: test metrics of answers that need no model, by name.
      step: of that checkpoint, or None.
      parameters: number of parameters, or None.
      wall_s: training seconds of its cohort, or None.
      flops: operations of its training, or None.
      curve: (step, validation metric) of every evaluation.
    """

    id: str
    variant: str
    stage: str
    seed: int
    point: dict[str, Any]
    status: str
    reason: str
    valid: float | None
    test: float | None
    tests: dict[str, float]
    trivial: dict[str, dict[str, float]]
    step: int | None
    parameters: int | None
    wall_s: float | None
    flops: float | None
    curve: list[tuple[int, float]]

    @property
    def scored(self) -> bool:
        """Whether the run ended well and has a test score."""
        return self.status == "completed" and self.test is not None


@dataclass(frozen=True)
class StudyRuns:
    """A study's declaration, what was chosen, and its runs."""

    study: dict[str, Any]
    chosen: dict[str, dict[str, Any]]
    runs: list[RunRow]
    expected: int

    def compared(self, variant: str) -> list[RunRow]:
        """Returns the runs of a variant that are compared.

        Those of the final seeds; or of a study without any, the best share of the tuning runs,
        chosen on validation.
        """
        own = [run for run in self.runs if run.variant == variant]
        if self.study["seeds"]:
            return [run for run in own if run.stage == "final"]
        sign = -1.0 if self.study["direction"] == "max" else 1.0
        ended = [run for run in own if run.scored and run.valid is not None]
        ended.sort(key=lambda run: sign * (run.valid or 0.0))
        return ended[: round(self.study["top"] * self.trials(variant))]

    def trials(self, variant: str) -> int:
        """Returns how many tuning runs a variant has in all."""
        tuning = self.study["tuning"]
        if tuning is None:
            return 0
        seeds = 1 if tuning["seeds"] is None else len(tuning["seeds"])
        return int(tuning["points"][variant] * seeds)


def read_study(workdir: Path) -> StudyRuns:
    """Reads a study's folder.

    Raises:
      UserError: for a folder that holds no study.
    """
    plan = read_json(workdir / "study.json")
    if plan is None:
        raise UserError(f"workdir: {workdir} holds no study (study.json is missing or damaged)")
    metric = plan["study"]["metric"]
    held = worked_on(workdir, plan)
    runs = [
        _read_run(workdir / "runs" / k, k, row, metric, held.get(k))
        for k, row in plan["runs"].items()
    ]
    return StudyRuns(plan["study"], plan["chosen"], runs, expected(plan))


def _read_run(
    folder: Path, run: str, row: dict[str, Any], metric: str, held: bool | None
) -> RunRow:
    result: dict[str, Any] = read_json(folder / "result.json") or {}
    best = result.get("best", {})
    status, reason = run_status(folder, held)
    rows = read_lines(folder / "metrics.jsonl", having='"valid"')
    return RunRow(
        id=run,
        **row,
        status=status,
        reason=reason,
        valid=best.get("valid", {}).get(metric),
        test=result.get("test", {}).get(metric),
        tests=_known(result.get("test", {})),
        trivial={answer: _known(found) for answer, found in result.get("trivial", {}).items()},
        step=best.get("step"),
        parameters=result.get("parameters"),
        wall_s=result.get("wall_s"),
        flops=rows[-1].get("flops") if rows else None,
        curve=list(valid_by_step(rows, metric).items()),
    )


def _known(metrics: dict[str, float | None]) -> dict[str, float]:
    """Returns the metrics that are numbers: what is not finite stands as null on disk."""
    return {name: value for name, value in metrics.items() if value is not None}

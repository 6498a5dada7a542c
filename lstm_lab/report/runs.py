"""Reads a study's folder: the declaration of the study, and one row per run.

In: STUDY/study.json, and run.json, result.json and metrics.jsonl of each run. Out: `StudyRuns`, the
only input of all other modules of a report. Read `comparison` next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lstm_lab.results.intact import curve_problem
from lstm_lab.results.looks import due_seeds
from lstm_lab.results.run_files import read_result, read_rows
from lstm_lab.results.study_file import (
    count_expected_runs,
    leased_runs,
    read_plan,
    run_folder,
    run_status,
)
from lstm_lab.utils.curve import Curve, read_curves
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import valid_by_step

# A run with one of these statuses will not train again. A failed one may: `--rerun=failed`.
ENDED_STATUSES = ("completed", "diverged", "pruned")


@dataclass(frozen=True)
class RunRow:
    """One run, as a report needs it.

    Attributes:
      id, variant, stage, seed: the identity of the run. `stage` is "tuning" or "final".
      point: the values on the tuning axes, by path.
      status: as `results.study_file.run_status` gives it; "missing" before the run starts.
      reason: why the run failed or was interrupted, or empty.
      valid, test: the study's metric at the best validation checkpoint, or None; `test` is its
        `test_metric`.
      test_metrics: all test metrics at that checkpoint.
      trivial: test metrics of the trivial baselines (majority class, last value), by name.
      best_step: the step of that checkpoint, or None.
      parameters: number of parameters, or None.
      wall_s: training time in seconds while the run had a lane, or None. The other lanes of its
        cohort trained in the same seconds.
      flops: floating-point operations of the training, or None.
      curve: (step, validation metric) of every evaluation.
      damage: what of the curve is lost, or empty.
      score_curves: curves of the test split, by name.
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
    test_metrics: dict[str, float]
    trivial: dict[str, dict[str, float]]
    best_step: int | None
    parameters: int | None
    wall_s: float | None
    flops: float | None
    curve: list[tuple[int, float]]
    damage: str = ""
    score_curves: Mapping[str, Curve] = field(default_factory=dict)

    @property
    def scored(self) -> bool:
        """Whether the run completed and has a test score."""
        return self.status == "completed" and self.test is not None


@dataclass(frozen=True)
class StudyRuns:
    """A study and its runs.

    Attributes:
      study: the declaration in study.json.
      chosen: the tuned values of each variant.
      runs: all planned runs.
      expected: number of runs of the whole study, including those that are not planned yet.
      due: number of final seeds of each variant that are due; a later look may add more.
      looks: what each look so far has decided, as in study.json; empty without looks.
    """

    study: dict[str, Any]
    chosen: dict[str, dict[str, Any]]
    runs: list[RunRow]
    expected: int
    due: dict[str, int] = field(default_factory=dict)
    looks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def test_metric(self) -> str:
        """The test metric that ranks the variants, by default the one that chooses checkpoints."""
        return _test_metric(self.study)

    @property
    def test_direction(self) -> str:
        """Whether larger ("max") or smaller ("min") test scores are better."""
        own = self.study.get("test_metric") is not None
        return str(self.study["test_direction"] if own else self.study["direction"])

    @property
    def test_sign(self) -> float:
        """What to multiply test scores by so that larger is better."""
        return 1.0 if self.test_direction == "max" else -1.0

    def compared_runs(self, variant: str) -> list[RunRow]:
        """Returns the runs of a variant that enter the comparison.

        These are the final runs. A study without final seeds compares the best share of each
        variant's tuning runs, as Greff et al. 2017 did, and at least one of them. Validation
        selects them: selection on the test score would bias every mean.

        Args:
          variant: its label.
        """
        runs = [run for run in self.runs if run.variant == variant]
        # Not the tuning runs: the chosen point looks too good on the seeds that chose it.
        if self.study["seeds"]:
            return [run for run in runs if run.stage == "final"]
        sign = -1.0 if self.study["direction"] == "max" else 1.0
        scored = [run for run in runs if run.scored and run.valid is not None]
        scored.sort(key=lambda run: sign * (run.valid or 0.0))
        return scored[: self._quota(variant)]

    def _quota(self, variant: str) -> int:
        # The share refers to all trials, so a variant whose trials diverge gets no smaller quota. A
        # tenth of five trials would round to none.
        return max(1, round(self.study["top"] * self.n_trials(variant)))

    def unscored(self, variant: str) -> dict[str, int]:
        """Returns how many runs have no score although the comparison plans with one, by status.

        Without final seeds, any trial that has not ended may still be one of the best share. One
        that diverged is not, unless the others are too few to fill the share.

        Args:
          variant: its label.
        """
        compared = self.compared_runs(variant)
        if self.study["seeds"]:
            counts = Counter(run.status for run in compared if not run.scored)
            # Of a variant whose tuning has not ended, no final run is planned yet.
            counts["missing"] += max(len(self.planned_seeds(variant)) - len(compared), 0)
            return {status: n for status, n in counts.items() if n}
        counts = Counter(self.open_trials(variant))
        ended = [run.status for run in self._trials(variant) if run.status in ENDED_STATUSES]
        # A pruned trial is no loss: it was worse on validation than those that completed.
        filled = len(compared) + ended.count("pruned") + counts.total()
        unscored = [run.status for run in self._trials(variant) if not run.scored]
        lost = [status for status in unscored if status in ("completed", "diverged")]
        return dict(counts + Counter(lost[: max(self._quota(variant) - filled, 0)]))

    def open_trials(self, variant: str) -> dict[str, int]:
        """Returns how many tuning runs of a variant have not ended, by status.

        Args:
          variant: its label.
        """
        trials = self._trials(variant)
        counts = Counter(run.status for run in trials if run.status not in ENDED_STATUSES)
        counts["missing"] += max(self.n_trials(variant) - len(trials), 0)
        return {status: n for status, n in counts.items() if n}

    def _trials(self, variant: str) -> list[RunRow]:
        return [run for run in self.runs if run.variant == variant and run.stage == "tuning"]

    def planned_seeds(self, variant: str) -> list[int]:
        """Returns the final seeds of a variant that are due.

        Args:
          variant: its label.
        """
        seeds: list[int] = self.study["seeds"]
        return seeds[: self.due.get(variant, len(seeds))]

    def n_trials(self, variant: str) -> int:
        """Returns the number of tuning runs of a variant, finished or not.

        Args:
          variant: its label.
        """
        tuning = self.study["tuning"]
        if tuning is None:
            return 0
        # Without tuning seeds, each random trial is one run; its number is its seed.
        n_seeds = 1 if tuning["seeds"] is None else len(tuning["seeds"])
        return int(tuning["points"][variant] * n_seeds)


def read_study(workdir: Path) -> StudyRuns:
    """Reads a study's folder.

    Args:
      workdir: the study's folder; its runs may still be training.

    Raises:
      UserError: if the folder contains no readable study.json.
    """
    # The plan and not the folders in runs/: a planned run that has not started is missing data.
    plan = read_plan(workdir)
    metrics = plan["study"]["metric"], _test_metric(plan["study"])
    in_progress = leased_runs(workdir, plan)
    runs = [
        _read_run(run_folder(workdir, run_id), run_id, row, metrics, in_progress.get(run_id))
        for run_id, row in plan["runs"].items()
    ]
    expected, looks = count_expected_runs(plan), plan.get("looks", [])
    return StudyRuns(plan["study"], plan["chosen"], runs, expected, due_seeds(plan), looks)


def best_run(runs: StudyRuns) -> RunRow:
    """Returns the run with the best validation metric: of the final runs, or of all without any.

    Validation chooses it, because a run chosen by its test score looks better than it is.

    Args:
      runs: the study.

    Raises:
      UserError: if no run has completed.
    """
    sign = -1.0 if runs.study["direction"] == "max" else 1.0
    scored = [run for run in runs.runs if run.scored and run.valid is not None]
    final = [run for run in scored if run.stage == "final"]
    if not scored:
        raise UserError(f"study {runs.study['name']}: no run has completed")
    return min(final or scored, key=lambda run: sign * (run.valid or 0.0))


def _read_run(
    folder: Path,
    run_id: str,
    row: dict[str, Any],
    metrics: tuple[str, str],
    in_progress: bool | None,
) -> RunRow:
    """Reads a run; `metrics` are the names of the validation metric and of the test metric."""
    metric, of_test = metrics
    # Empty while the run trains. Its curve is read all the same.
    result: dict[str, Any] = read_result(folder) or {}
    best = result.get("best", {})
    # `run_status` would read the result again, which takes time with thousands of runs.
    status, reason = (
        (result["status"], result.get("reason", "")) if result else run_status(folder, in_progress)
    )
    # Training rows are far more frequent than evaluations: skip them before JSON parses them.
    rows = read_rows(folder, having='"valid"')
    return RunRow(
        id=run_id,
        **row,
        status=status,
        reason=reason,
        valid=best.get("valid", {}).get(metric),
        test=result.get("test", {}).get(of_test),
        test_metrics=_finite(result.get("test", {})),
        trivial={name: _finite(metrics) for name, metrics in result.get("trivial", {}).items()},
        best_step=best.get("step"),
        parameters=result.get("parameters"),
        wall_s=result.get("wall_s"),
        flops=rows[-1].get("flops") if rows else None,
        curve=list(valid_by_step(rows, metric).items()),
        damage=curve_problem(folder, result),
        score_curves=read_curves(result.get("curves", {})) or {},
    )


def _test_metric(study: Mapping[str, Any]) -> str:
    return str(study.get("test_metric") or study["metric"])


def _finite(metrics: dict[str, float | None]) -> dict[str, float]:
    """Returns the metrics with finite values. NaN and infinity are null on disk."""
    return {name: value for name, value in metrics.items() if value is not None}


def scores_of(runs: Iterable[RunRow]) -> list[float]:
    """Returns the test scores of the runs that have one."""
    return [run.test for run in runs if run.scored and run.test is not None]


def scores_by_seed(runs: Iterable[RunRow]) -> dict[int, float]:
    """Returns the test scores of the final runs that have one, by seed.

    Tuning runs have none: several trials may share a seed, and the best ones of two variants with
    the same seed are no pair.
    """
    final = (run for run in runs if run.stage == "final")
    return {run.seed: run.test for run in final if run.scored and run.test is not None}

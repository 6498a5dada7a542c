"""The end of a run: its best weights, its test metrics, and result.json.

`Session` calls `RunFinisher.finish` once per run, after the evaluation at which it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.weights import named_weights, weights_hash
from lstm_lab.tasks import Dataset, Stream, metric_names, ordered_metrics
from lstm_lab.training import multihost
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.divergence import explain
from lstm_lab.training.gate_stats import measure_gates
from lstm_lab.training.lanes import ActiveRun
from lstm_lab.training.layout import Layout
from lstm_lab.training.outputs import FinalScores, final_scores
from lstm_lab.training.parallel import unpad
from lstm_lab.training.recorder import Status
from lstm_lab.training.state import DIVERGED, FINISHED, PRUNED, BestSoFar
from lstm_lab.utils.types import JSON, PyTree

# The status of a run by the value of `TrainState.stopped`.
STATUS: dict[int, Status] = {FINISHED: "completed", DIVERGED: "diverged", PRUNED: "pruned"}
# Runs whose best weights are saved at the same time.
SAVERS = 8


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      status: its status.
      reason: why, for people; empty for a run that completed.
      divergence: the step that went wrong, as `divergence.fault_record` gives it, or None.
    """

    status: Status
    reason: str = ""
    divergence: dict[str, JSON] | None = None


@dataclass(frozen=True)
class RunFinisher:
    """Finishes runs of a cohort.

    Attributes:
      spec: the cohort's spec.
      layout: how the cohort lies on the devices.
      dataset: the task's data.
      trivial: test metrics of the trivial baselines.
    """

    spec: RunSpec
    layout: Layout
    dataset: Dataset
    trivial: dict[str, dict[str, float]]

    def save_best(self, ended: Sequence[tuple[ActiveRun, BestSoFar]]) -> None:
        """Saves the best weights of ended runs.

        Args:
          ended: the runs, each with its best evaluation, host arrays at the program's width.

        Raises:
          OSError: if a folder cannot be written.
        """
        if multihost.is_primary():
            # At the same time, since orbax mostly waits: for its own threads and for the disk.
            with ThreadPoolExecutor(SAVERS) as savers:
                list(savers.map(self._save_best, *zip(*ended, strict=True)))

    def _save_best(self, active: ActiveRun, best: BestSoFar) -> None:
        if _evaluated(best):
            checkpoints = Checkpoints(active.run.folder / "checkpoints" / "best", keep=1)
            # A run that started again may have left the weights of an earlier attempt.
            checkpoints.clear()
            params = unpad(self.layout, active.run.spec, best.params)
            checkpoints.save(int(best.step), params)

    def finish(
        self,
        active: ActiveRun,
        stopped: int,
        best: BestSoFar,
        test: dict[str, float],
        compile_seconds: float,
    ) -> None:
        """Writes result.json, which ends the run. Its best weights are saved before.

        Args:
          active: the run.
          stopped: why it ended, as in `TrainState`.
          best: its best evaluation, host arrays at the program's width.
          test: test metrics of the best weights; they mean nothing if there was no evaluation.
          compile_seconds: compile time of the program.
        """
        evaluated = _evaluated(best)
        outcome = self._outcome(active, stopped, evaluated, test)
        scores, sha256 = FinalScores({}, {}), None
        if evaluated and multihost.is_primary():
            params = unpad(self.layout, active.run.spec, best.params)
            sha256 = weights_hash(named_weights(params))
            if self.spec.compute.gates:
                layers = measure_gates(active.run.spec, params, self.dataset.splits["valid"])
                active.recorder.write_gate_images(int(best.step), layers)
            scores = self._final_scores(active, params)
        # Test metrics mean nothing without an evaluation.
        scores = scores._replace(metrics=test | scores.metrics if evaluated else {})
        self._write(active, outcome, int(best.step), scores, compile_seconds, sha256)

    def _outcome(
        self, active: ActiveRun, stopped: int, evaluated: bool, test: dict[str, float]
    ) -> Outcome:
        """Returns the status of an ended run: without finite scores it has not completed."""
        if stopped == DIVERGED:
            return Outcome("diverged", explain(active.fault, active.step), active.fault)
        if stopped == FINISHED and not evaluated:
            text = f"no evaluation gave a finite {self.spec.metric}"
            return Outcome("diverged", text, active.fault)
        # The loss and the metric of the run. Others, such as an F1 without positives, may be NaN.
        names = {metric_names(self.spec.task.target)[0], self.spec.metric}
        wrong = sorted(name for name in names if not np.isfinite(test[name]))
        if stopped == FINISHED and wrong:
            text = f"test {wrong[0]} is {float(test[wrong[0]])} at the best weights"
            return Outcome("diverged", text, active.fault)
        return Outcome(STATUS[stopped])

    def _final_scores(self, active: ActiveRun, params: PyTree) -> FinalScores:
        """Returns the test metrics and curves that need the outputs of the whole split."""
        test = self.dataset.splits["test"]
        # Streams have no per-example outputs.
        if isinstance(test, Stream):
            return FinalScores({}, {})
        return final_scores(active.run.spec, params, test, self.dataset.preprocessing)

    def _write(
        self,
        active: ActiveRun,
        outcome: Outcome,
        best_step: int,
        scores: FinalScores,
        compile_seconds: float,
        weights_sha256: str | None,
    ) -> None:
        recorder = active.recorder
        curves = {name: curve._asdict() for name, curve in scores.curves.items()}
        result = {
            "id": recorder.head["id"],
            "status": outcome.status,
            **({"reason": outcome.reason} if outcome.reason else {}),
            **({"divergence": outcome.divergence} if outcome.divergence else {}),
            "metric": self.spec.metric,
            "direction": self.spec.direction,
            "steps": active.step,
            "best": {"step": best_step, "valid": recorder.valid_at(best_step)},
            "final": {row["split"]: row for row in recorder.rows[-2:]},
            "test": ordered_metrics(self.spec.task.target, scores.metrics),
            **({"curves": curves} if curves else {}),
            "trivial": self.trivial,
            "parameters": active.summary.total,
            # The runs that start from these weights have it in their ids.
            **({"weights_sha256": weights_sha256} if weights_sha256 else {}),
            "wall_s": recorder.seconds,
            "compile_s": compile_seconds,
        }
        recorder.finish(outcome.status, result, outcome.reason)


def _evaluated(best: BestSoFar) -> bool:
    """Returns whether there was an evaluation with a finite metric: the value is NaN before."""
    return bool(best.value == best.value)

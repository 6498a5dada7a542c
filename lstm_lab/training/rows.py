"""The rows of metrics.jsonl: what an interval of training measured, with counters.

In: a run and the report of its interval. Out: rows, which `recorder.py` writes. The counters of a
row are those of the whole run, in all processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Split, Stream, steps_per_epoch
from lstm_lab.training.divergence import explain, fault_record
from lstm_lab.training.lanes import ActiveRun
from lstm_lab.training.recorder import OPTIM
from lstm_lab.training.reports import ChunkReport
from lstm_lab.utils.progress import say


@dataclass(frozen=True)
class RowWriter:
    """Writes the rows of a cohort's runs.

    Attributes:
      spec: the spec of its program.
      train: the training split; None if batches are made as they are needed.
    """

    spec: RunSpec
    train: Split | None

    def write(
        self, active: ActiveRun, report: ChunkReport, evaluating: bool, seconds: float
    ) -> None:
        """Writes the row of a run's training, and one of its validation.

        Args:
          active: the run.
          report: what the interval measured.
          evaluating: whether it ended with an evaluation.
          seconds: training time of the interval.
        """
        active.step += int(report.steps)
        active.seconds += seconds
        rows = active.recorder.rows
        tokens = (rows[-1]["tokens"] if rows else 0) + int(report.tokens)
        counters = {
            "step": active.step,
            "sequences": self._count_sequences(active.step),
            "tokens": tokens,
            "flops": active.summary.training_flops_per_token * tokens,
            "seconds": round(active.seconds, 3),
        }
        if report.steps:
            train = {name: float(value) for name, value in report.train.items()}
            optim = {k: float(getattr(report, k)) for k in OPTIM}
            row = {**counters, "split": "train", "loss": float(report.loss), **train, **optim}
            active.recorder.write(row)
        if evaluating:
            valid = {name: float(value) for name, value in report.valid.items()}
            active.recorder.write({**counters, "split": "valid", **valid})
        active.recorder.write_performance(active.step, steps_per_s=float(report.steps) / seconds)
        active.fault = fault_record(active.run.spec, self.train, report.fault) or active.fault
        if report.rollbacks > active.rollbacks:
            self._record_rollback(active, report)

    def _record_rollback(self, active: ActiveRun, report: ChunkReport) -> None:
        """Records that a run has gone back, and where it continues."""
        active.rollbacks, reached = int(report.rollbacks), int(report.reached)
        rate = float(report.lr) * self.spec.train.rollback_factor
        active.recorder.write_rollback(
            {"from": active.step, "to": reached, "lr": rate, "fault": active.fault}
        )
        say(
            f"{active.run.folder.name}: diverged ({explain(active.fault, active.step)}): goes back "
            f"from step {active.step} to {reached} with the learning rate {rate:g}"
        )
        active.step, active.fault = reached, None

    def _count_sequences(self, step: int) -> int:
        """Returns how many sequences were read in `step` steps."""
        size = self.spec.train.batch_size
        if self.train is None or isinstance(self.train, Stream):
            return step * size
        # The last batch of an epoch may be short.
        epochs, steps = divmod(step, steps_per_epoch(self.train, size))
        return epochs * self.train.rows + steps * size

"""The loop: it only sequences; step.py computes, record.py writes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.config import RunSpec
from lstm_lab.files import read_json, read_lines
from lstm_lab.identity import run_id
from lstm_lab.progress import Meter, say
from lstm_lab.summary import Summary, summarise
from lstm_lab.tasks import Dataset, steps_per_epoch
from lstm_lab.train.checkpoint import Checkpoints
from lstm_lab.train.parallel import Layout, Program, build_program, stack_members
from lstm_lab.train.record import RunRecord, Status, provenance
from lstm_lab.train.state import DIVERGED, IDLE, RUNNING, TrainState, member_of
from lstm_lab.train.step import Report


@dataclass(frozen=True)
class Run:
    """A member of a cohort: its spec, and the folder that it leaves."""

    spec: RunSpec
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its result is on disk."""
        result = read_json(self.folder / "result.json")
        return result is not None and result.get("id") == run_id(self.spec)


@dataclass(frozen=True)
class Cohort:
    """Runs that train in one program.

    Attributes:
      runs: the members, a lane each, in order.
      layout: how they lie on the devices; decided once.
      checkpoints: folder of the checkpoint of all lanes.
    """

    runs: tuple[Run, ...]
    layout: Layout
    checkpoints: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a cohort: its status, and what went wrong."""

    status: Status
    reason: str = ""


class Stop:
    """Whether a signal has asked to stop."""

    requested = False


@contextmanager
def stopping_on_signals() -> Iterator[Stop]:
    """Turns SIGINT and SIGTERM into a request to stop after the compiled call under way."""
    stop = Stop()

    def request(number: int, frame: Any) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class _Session:
    """A cohort's training in this process."""

    def __init__(self, cohort: Cohort, dataset: Dataset, overrides: dict[str, str]) -> None:
        self.cohort, self.dataset = cohort, dataset
        self.spec = cohort.runs[0].spec
        train = dataset.splits.get("train")
        self.total, self.every = self.spec.schedule_steps(None if train is None else len(train.x))
        self.program: Program = build_program(self.spec, self.total, cohort.layout)
        self.checkpoints = Checkpoints(cohort.checkpoints)
        self.summary: Summary = summarise(self.spec, T=dataset.splits["valid"].x.shape[1])
        self.lanes = [k for k, run in enumerate(cohort.runs) if not run.done]
        self.state, self.step, resumed = self._begin()
        self.records = self._open_records(resumed, overrides)
        training = {k: v for k, v in dataset.splits.items() if k != "test"}
        self.data = self.program.place_data(training)
        self.compile_seconds = 0.0
        self.training_seconds = max(record.seconds for record in self.records.values())
        self.saved_at = time.monotonic()

    def _begin(self) -> tuple[Any, int, bool]:
        """Returns the state to train from, its step, and whether it is the checkpoint's."""
        runs, lanes = self.cohort.runs, self.cohort.layout.lanes
        idle = [k for k in range(lanes) if k not in self.lanes]
        members = stack_members([member_of(run.spec) for run in runs], lanes)
        members.stopped[idle] = IDLE
        fresh = self.program.init(members)
        if self.checkpoints.latest_step() is not None:
            step, saved = self.checkpoints.restore(self.program.collect(fresh))
            if all(_reaches(runs[k].folder, int(saved.step[k])) for k in self.lanes):
                stopped = np.array(saved.stopped)
                stopped[idle] = IDLE
                return self.program.place(saved._replace(stopped=stopped)), step, True
            # A record was lost that the checkpoint goes on from: its run starts again.
            self.checkpoints.clear()
        return fresh, 0, False

    def _open_records(self, resumed: bool, overrides: dict[str, str]) -> dict[int, RunRecord]:
        origin = provenance()
        return {
            k: RunRecord(
                self.cohort.runs[k].folder,
                self.cohort.runs[k].spec,
                self.cohort.layout,
                provenance=origin,
                overrides=overrides,
                parameters=self.summary.parameters,
                resumed_at=self.step if resumed else None,
            )
            for k in self.lanes
        }

    def compile(self) -> None:
        """Compiles the program by a call of no steps."""
        start = time.monotonic()
        self.state, _ = self.program.advance(
            self.state, self.data, jnp.int32(0), jnp.asarray(False)
        )
        jax.block_until_ready(self.state)
        self.compile_seconds = time.monotonic() - start
        for record in self.records.values():
            record.perf(self.step, compile_s=self.compile_seconds)

    def call(self) -> bool:
        """Does one compiled call and records it; returns whether a member still trains."""
        start = time.monotonic()
        to_evaluation = self.every - self.step % self.every
        steps = min(self.spec.compute.log_every, to_evaluation, self.total - self.step)
        evaluating = steps == to_evaluation or self.step + steps == self.total
        self.state, report = self.program.advance(
            self.state, self.data, jnp.int32(steps), jnp.asarray(evaluating)
        )
        report, stopped = self.program.collect((report, self.state.stopped))
        self.step += steps
        seconds = time.monotonic() - start
        self.training_seconds += seconds
        for lane, record in self.records.items():
            if report.steps[lane]:
                self._write(record, jax.tree.map(lambda a, k=lane: a[k], report), evaluating)
                record.perf(self.step, steps_per_s=steps / seconds)
        running = self._running(stopped)
        due = time.monotonic() - self.saved_at >= self.spec.compute.checkpoint_seconds
        if evaluating and due and running:
            self.save()
        return running

    def _running(self, stopped: np.ndarray) -> bool:
        return self.step < self.total and bool((stopped == RUNNING).any())

    @property
    def running(self) -> bool:
        """Whether a member still trains."""
        return self._running(self.program.collect(self.state.stopped))

    def _write(self, record: RunRecord, report: Report, evaluating: bool) -> None:
        """Writes one member's lines of one call."""
        before = record.rows[-1] if record.rows else {"tokens": 0}
        tokens = before["tokens"] + int(report.tokens)
        count = {
            "step": self.step,
            "sequences": self._sequences(),
            "tokens": tokens,
            "flops": self.summary.training_flops_per_token * tokens,
            "seconds": round(self.training_seconds, 3),
        }
        train = {name: float(value) for name, value in report.train.items()}
        optim = {k: float(getattr(report, k)) for k in ("lr", "grad_norm", "update_ratio")}
        record.write({**count, "split": "train", "loss": float(report.loss), **train}, optim)
        if evaluating:
            valid = {name: float(value) for name, value in report.valid.items()}
            record.write({**count, "split": "valid", **valid})

    def _sequences(self) -> int:
        """Returns how many sequences have been shown; an epoch's last batch may be short."""
        size, train = self.spec.train.batch_size, self.dataset.splits.get("train")
        if train is None:
            return self.step * size
        epochs, steps = divmod(self.step, steps_per_epoch(len(train.x), size))
        return epochs * len(train.x) + steps * size

    def save(self) -> None:
        """Writes the checkpoint of all lanes."""
        self.checkpoints.save(self.step, self.program.collect(self.state))
        self.saved_at = time.monotonic()

    def finish(self) -> None:
        """Scores the test split once at each member's best checkpoint, and closes the records."""
        self.save()
        test = self.program.place_data(self.dataset.splits["test"])
        scored = self.program.collect(
            self.program.evaluate(self.state.best.params, self.state.hparams, test)
        )
        state: TrainState = self.program.collect(self.state)
        for lane, record in self.records.items():
            mine = jax.tree.map(lambda a, k=lane: a[k], state)
            best_step = int(mine.best.step)
            status: Status = "diverged" if mine.stopped == DIVERGED else "completed"
            evaluated = bool(np.isfinite(mine.best.value))
            if evaluated:
                best = Checkpoints(record.folder / "checkpoints" / "best")
                best.clear()
                best.save(best_step, mine.best.params)
            result = {
                "id": record.head["id"],
                "status": status,
                "metric": self.spec.metric,
                "direction": self.spec.direction,
                "steps": int(mine.step),
                "best": {"step": best_step, "valid": record.valid_at(best_step)},
                "final": {row["split"]: row for row in record.rows[-2:]},
                "test": {k: float(v[lane]) for k, v in scored.items()} if evaluated else {},
                "parameters": self.summary.total,
                "wall_s": record.seconds,
                "compile_s": self.compile_seconds,
            }
            record.finish(status, result)

    def abandon(self, status: Status, reason: str = "") -> None:
        """Closes the records of members without a result."""
        for record in self.records.values():
            record.finish(status, None, reason)


def _reaches(folder: Path, step: int) -> bool:
    """Returns whether a run's record is whole up to a step."""
    rows = read_lines(folder / "metrics.jsonl")
    return read_json(folder / "run.json") is not None and (rows[-1]["step"] if rows else 0) >= step


def train_cohort(
    cohort: Cohort,
    dataset: Dataset,
    *,
    stop: Stop,
    overrides: dict[str, str] | None = None,
    meter: Meter | None = None,
    name: str = "",
) -> Outcome:
    """Trains a cohort to its end, from its checkpoint where there is one.

    Args:
      cohort: the runs; those with a result idle.
      dataset: the task's data.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.
      meter: shows how far it is, in steps of members.
      name: what the meter calls the cohort, with a space behind, or nothing.

    Returns:
      What became of it. A member that diverged has a result that says so.
    """
    if all(run.done for run in cohort.runs):
        return Outcome("completed")
    session = _Session(cohort, dataset, overrides or {})
    members = len(cohort.runs)

    def show(steps: int, text: str) -> None:
        if meter is not None:
            meter.advance(members * steps, name + text)

    try:
        if meter is not None:
            meter.skip(members * session.step)
        show(0, "compiling")
        session.compile()
        running = session.running
        while running and not stop.requested:
            before = session.step
            running = session.call()
            show(session.step - before, f"step {session.step}/{session.total}")
        if running:
            session.save()
            session.abandon("interrupted")
            return Outcome("interrupted")
        show(session.total - session.step, "scoring the test split")
        session.finish()
        return Outcome("completed")
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).partition("\n")[0]
        status: Status = "out_of_memory" if "RESOURCE_EXHAUSTED" in str(error) else "failed"
        session.abandon(status, reason)
        say(f"{name}{status}: {reason}")
        return Outcome(status, reason)
    except BaseException as error:
        session.abandon("failed", f"{type(error).__name__}: {error}")
        raise

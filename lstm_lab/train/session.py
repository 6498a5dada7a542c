"""A cohort's training in this process: its lanes, the runs that sit in them, and their records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.config.ids import run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import Summary, summarise
from lstm_lab.tasks import (
    Dataset,
    Examples,
    in_order,
    longest,
    naive_scores,
    steps_per_epoch,
)
from lstm_lab.train import multihost
from lstm_lab.train.checkpoint import Checkpoints
from lstm_lab.train.gate_stats import observe
from lstm_lab.train.layout import Layout
from lstm_lab.train.outputs import final_scores
from lstm_lab.train.parallel import Program, build_program, trim
from lstm_lab.train.recorder import RunRecord, Status, provenance
from lstm_lab.train.state import DIVERGED, FINISHED, IDLE, PRUNED, RUNNING, TrainState
from lstm_lab.train.step import Report
from lstm_lab.train.word_vectors import with_vectors
from lstm_lab.utils.files import read_json, read_lines, write_json


@dataclass(frozen=True)
class Run:
    """A member of a cohort.

    Attributes:
      spec: what it trains.
      folder: what it leaves.
      bars: validation scores by step; a run whose best so far is worse there is pruned.
    """

    spec: RunSpec
    folder: Path
    bars: Mapping[int, float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether its result is on disk."""
        result = read_json(self.folder / "result.json")
        return result is not None and result.get("id") == run_id(self.spec)


@dataclass(frozen=True)
class Cohort:
    """Runs that one program trains, in order: a lane whose run has ended takes the next.

    Attributes:
      runs: the members, any number.
      layout: how the lanes lie on the devices; decided once.
      checkpoints: folder of the checkpoint of all lanes.
    """

    runs: tuple[Run, ...]
    layout: Layout
    checkpoints: Path


class TakenOverError(Exception):
    """Another process has taken the cohort over; what this one still computes is not written."""


# What the end of a run is called.
ENDED: dict[int, Status] = {FINISHED: "completed", DIVERGED: "diverged", PRUNED: "pruned"}


@dataclass
class Seat:
    """A run in a lane.

    Attributes:
      run: the run.
      record: writes its folder.
      summary: of its model, at its own size.
      step: optimiser steps done.
      seconds: of training so far, in all processes.
    """

    run: Run
    record: RunRecord
    summary: Summary
    step: int
    seconds: float


class Session:
    """A cohort's training in this process.

    Args:
      cohort: the cohort; runs that have a result are left out.
      dataset: the task's data.
      overrides: settings given on the command line, for the records.
      held: whether the cohort is still this process's.
    """

    def __init__(
        self,
        cohort: Cohort,
        dataset: Dataset,
        overrides: dict[str, str],
        held: Callable[[], bool],
    ) -> None:
        self.cohort, self.dataset, self.overrides, self.held = cohort, dataset, overrides, held
        self.spec = cohort.runs[0].spec
        cohort.layout.backends(self.spec)  # what cannot serve is said before anything compiles
        self.train = dataset.splits.get("train")
        self.naive = naive_scores(self.spec.task, dataset)
        self.total, self.every = self.spec.schedule_steps(self.train)
        self.program: Program = build_program(self.spec, self.total, cohort.layout)
        self.checkpoints = Checkpoints(cohort.checkpoints)
        self.provenance = provenance()
        self.waiting = [run for run in cohort.runs if not run.done]
        self.seats: dict[int, Seat] = {}
        self.phase = 0  # steps since the last evaluation, which is due in all lanes at once
        self.saves = 0
        self.state: Any = self._restored()
        training = {k: v for k, v in dataset.splits.items() if k != "test"}
        self.data = self.program.place_data(training)
        self.test = self.program.place_data(dataset.splits["test"])
        self.compile_seconds = 0.0
        self.saved_at = time.monotonic()

    # ---- who sits where

    @property
    def running(self) -> bool:
        """Whether a run still trains or waits."""
        return bool(self.seats or self.waiting)

    @property
    def steps_done(self) -> int:
        """Steps that the members in lanes have behind them."""
        return sum(seat.step for seat in self.seats.values())

    def _restored(self) -> TrainState | None:
        """Returns the checkpoint's state with its runs seated, or None where there is none."""
        found = multihost.broadcast_from_host0(self.checkpoints.latest_step)
        if found is None:
            return None
        self.saves = found
        empty = self.program.begin(self.spec, self.total)
        saved = self._tree(self.program.seat(None, {0: empty}))
        if multihost.is_primary():
            _, saved = self.checkpoints.restore(saved)
        saved = multihost.broadcast_arrays_from_host0(saved)
        stopped = np.full_like(saved["state"].stopped, IDLE)
        ids = {run_id(run.spec): run for run in self.waiting}
        for lane, letters in enumerate(saved["runs"]):
            run, step = ids.get(bytes(letters).decode()), int(saved["state"].step[lane])
            # A run whose record lags behind the checkpoint starts again.
            if run is not None and multihost.broadcast_from_host0(
                partial(_reaches, run.folder, step)
            ):
                self.waiting.remove(run)
                self._sit(lane, run, step)
                stopped[lane] = saved["state"].stopped[lane]
        self.phase = int(saved["phase"])
        return self.program.place(saved["state"]._replace(stopped=stopped))

    def _tree(self, state: TrainState) -> dict[str, Any]:
        """Returns what a checkpoint holds: the lanes' states, and the ids of their runs."""
        runs = np.zeros((self.cohort.layout.lanes, 12), np.uint8)
        for lane, seat in self.seats.items():
            runs[lane] = np.frombuffer(run_id(seat.run.spec).encode(), np.uint8)
        return {
            "state": self.program.collect(state),
            "runs": runs,
            "phase": np.array(self.phase, np.int32),
        }

    def _sit(self, lane: int, run: Run, resumed_at: int | None) -> None:
        summary = summarise(run.spec, T=longest(self.dataset.splits["valid"]))
        record = RunRecord(
            run.folder,
            run.spec,
            self.cohort.layout,
            provenance=self.provenance,
            overrides=self.overrides,
            parameters=summary.parameters,
            resumed_at=resumed_at,
        )
        if self.dataset.preprocessing:
            write_json(run.folder / "preprocessing.json", self.dataset.preprocessing)
        self.seats[lane] = Seat(run, record, summary, resumed_at or 0, record.seconds)

    def fill(self) -> None:
        """Seats waiting runs in free lanes; only where an evaluation has just been due."""
        if self.phase:
            return
        members = {}
        for lane in range(self.cohort.layout.lanes):
            if lane not in self.seats and self.waiting:
                run = self.waiting.pop(0)
                begun = self.program.begin(run.spec, self.total)
                members[lane] = with_vectors(run.spec, begun, self.dataset.preprocessing)
                self._sit(lane, run, None)
        if members:
            self.state = self.program.seat(self.state, members)

    # ---- training

    def compile(self) -> None:
        """Compiles the program by a call of no steps."""
        start = time.monotonic()
        self.state, _ = self.program.advance(self.state, self.data, np.int32(0), np.bool_(False))
        jax.block_until_ready(self.state)
        self.compile_seconds = time.monotonic() - start
        for seat in self.seats.values():
            seat.record.perf(seat.step, compile_s=self.compile_seconds)

    def call(self) -> int:
        """Does one compiled call and records it; returns the steps done, of all members.

        The steps that a member did not need, since it stopped early, count as done.
        """
        start = time.monotonic()
        steps = min(self.spec.compute.log_every, self.every - self.phase)
        self.phase = (self.phase + steps) % self.every
        evaluating = self.phase == 0
        self.state, report = self.program.advance(
            self.state, self.data, np.int32(steps), np.bool_(evaluating)
        )
        report, stopped = self.program.collect((report, self.state.stopped))
        seconds = time.monotonic() - start
        if not self.held():
            raise TakenOverError
        for lane, seat in self.seats.items():
            seat.step += int(report.steps[lane])
            seat.seconds += seconds
            self._write(seat, jax.tree.map(lambda a, k=lane: a[k], report), evaluating)
            seat.record.perf(seat.step, steps_per_s=float(report.steps[lane]) / seconds)
        if evaluating:
            self._observe()
            stopped = self._pruned(stopped)
        ended = [lane for lane in self.seats if stopped[lane] != RUNNING]
        spared = sum(self.total - self.seats[lane].step for lane in ended)
        self._finish(ended)
        due = time.monotonic() - self.saved_at >= self.spec.compute.checkpoint_seconds
        if evaluating and due and self.running:
            self.save()
        return int(report.steps.sum()) + spared

    def _write(self, seat: Seat, report: Report, evaluating: bool) -> None:
        """Writes one member's lines of one call."""
        before = seat.record.rows[-1] if seat.record.rows else {"tokens": 0}
        tokens = before["tokens"] + int(report.tokens)
        count = {
            "step": seat.step,
            "sequences": self._sequences(seat.step),
            "tokens": tokens,
            "flops": seat.summary.training_flops_per_token * tokens,
            "seconds": round(seat.seconds, 3),
        }
        if report.steps:
            train = {name: float(value) for name, value in report.train.items()}
            optim = {k: float(getattr(report, k)) for k in ("lr", "grad_norm", "update_ratio")}
            seat.record.write(
                {**count, "split": "train", "loss": float(report.loss), **train}, optim
            )
        if evaluating:
            valid = {name: float(value) for name, value in report.valid.items()}
            seat.record.write({**count, "split": "valid", **valid})

    def _observe(self) -> None:
        """Measures gates and states, where the run wants it."""
        if not self.spec.compute.gates:
            return
        params = self.program.collect(self.state.params)
        for lane, seat in self.seats.items():
            mine = self._own(seat, jax.tree.map(lambda a, k=lane: a[k], params))
            layers = observe(seat.run.spec, mine, self.dataset.splits["valid"])
            seat.record.gates(seat.step, layers)

    def _own(self, seat: Seat, params: Any) -> Any:
        """Returns a member's parameters at its own size."""
        return trim(self.cohort.layout, seat.run.spec, params)

    def _pruned(self, stopped: np.ndarray) -> np.ndarray:
        """Ends runs that are behind their bar; returns what the lanes' states then say."""
        sign = 1.0 if self.spec.direction == "max" else -1.0
        found = np.array(stopped)
        for lane, seat in self.seats.items():
            bar = seat.run.bars.get(seat.step)
            if bar is not None and found[lane] == RUNNING:
                values = seat.record.valid(self.spec.metric).values()
                best = max((sign * value for value in values), default=-float("inf"))
                found[lane] = RUNNING if best >= sign * bar else PRUNED
        if (found != stopped).any():
            self.state = self.state._replace(stopped=self.program.place(found))
        return found

    def _sequences(self, step: int) -> int:
        """Returns how many sequences have been shown; an epoch's last batch may be short."""
        size = self.spec.train.batch_size
        if not isinstance(self.train, Examples):
            return step * size
        epochs, steps = divmod(step, steps_per_epoch(self.train, size))
        return epochs * len(self.train.x) + steps * size

    def save(self) -> None:
        """Writes the checkpoint of all lanes."""
        self.saves += 1
        if multihost.is_primary():
            self.checkpoints.save(self.saves, self._tree(self.state))
        self.saved_at = time.monotonic()

    # ---- the end of a run

    def settle(self) -> None:
        """Closes runs that had ended when the checkpoint was written, but have no result."""
        if self.state is not None:
            stopped = self.program.collect(self.state.stopped)
            self._finish([lane for lane in self.seats if stopped[lane] != RUNNING])

    def _finish(self, lanes: list[int]) -> None:
        """Scores the test split once at each ended member's best checkpoint; frees its lane."""
        if not lanes:
            return
        wanted = np.isin(np.arange(self.cohort.layout.lanes), lanes)
        best, hparams = self.state.best, self.state.hparams
        scored = self.program.evaluate(best.params, hparams, wanted, self.test)
        scored, best, stopped = self.program.collect((scored, best, self.state.stopped))
        for lane in lanes:
            seat = self.seats[lane]
            mine, test = jax.tree.map(lambda a, k=lane: a[k], (best, scored))
            evaluated = bool(np.isfinite(mine.value))
            if evaluated:
                test |= self._end(seat, int(mine.step), self._own(seat, mine.params))
            status = ENDED[int(stopped[lane])]
            self._close(seat, status, int(mine.step), test if evaluated else {})
            del self.seats[lane]

    def _end(self, seat: Seat, step: int, params: Any) -> dict[str, float]:
        """Keeps a member's best weights; returns the test metrics that need all outputs."""
        if not multihost.is_primary():
            return {}
        self._keep_best(seat, step, params)
        test = self.dataset.splits["test"]
        if not isinstance(test, Examples):
            return {}
        return final_scores(seat.run.spec, params, test, self.dataset.preprocessing)

    def _keep_best(self, seat: Seat, step: int, params: Any) -> None:
        """Saves the best weights, and what their gates do."""
        kept = Checkpoints(seat.run.folder / "checkpoints" / "best")
        kept.clear()
        kept.save(step, params)
        if self.spec.compute.gates:
            layers = observe(seat.run.spec, params, self.dataset.splits["valid"])
            seat.record.pictures(step, layers)

    def _close(self, seat: Seat, status: Status, best_step: int, test: dict[str, Any]) -> None:
        record = seat.record
        result = {
            "id": record.head["id"],
            "status": status,
            "metric": self.spec.metric,
            "direction": self.spec.direction,
            "steps": seat.step,
            "best": {"step": best_step, "valid": record.valid_at(best_step)},
            "final": {row["split"]: row for row in record.rows[-2:]},
            "test": in_order(self.spec.task.target, test),
            "naive": self.naive,
            "parameters": seat.summary.total,
            "wall_s": record.seconds,
            "compile_s": self.compile_seconds,
        }
        record.finish(status, result)

    def leave(self) -> None:
        """Leaves all runs to another process."""
        for seat in self.seats.values():
            seat.record.close()

    def abandon(self, status: Status, reason: str = "") -> None:
        """Closes the records of runs without a result."""
        for seat in self.seats.values():
            seat.record.finish(status, None, reason)


def _reaches(folder: Path, step: int) -> bool:
    """Returns whether a run's record is whole up to a step."""
    rows = read_lines(folder / "metrics.jsonl")
    return read_json(folder / "run.json") is not None and (rows[-1]["step"] if rows else 0) >= step

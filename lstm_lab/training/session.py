"""A cohort's training in this process: its program, its lanes, and one compiled call at a time.

`loop.train_cohort` calls, in this order: `open`, `finalize_restored`, `assign_waiting`, `compile`,
then `assign_waiting` and `run_chunk` until nothing runs. The mathematics is in `step.py`, the rows
of an interval in `rows.py`, the files of a run in `recorder.py`, its end in `finish.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize_program
from lstm_lab.recurrence import own_device_type
from lstm_lab.tasks import Dataset, Split, Stream, longest, trivial_baselines
from lstm_lab.tasks.source import count_examples, preprocessing_record
from lstm_lab.training import multihost
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.finish import RunFinisher
from lstm_lab.training.gate_stats import measure_gates
from lstm_lab.training.initial_weights import RunStart, initial_member
from lstm_lab.training.lanes import ActiveRun, Cohort, CohortRun, Lanes
from lstm_lab.training.pace import Calls
from lstm_lab.training.parallel import build_program, unpad
from lstm_lab.training.program import Program
from lstm_lab.training.recorder import Resumed, RunRecorder, Status, provenance
from lstm_lab.training.reports import EVALUATE, PAUSE, ChunkReport
from lstm_lab.training.rows import RowWriter
from lstm_lab.training.state import IDLE, PRUNED, RUNNING, TrainState
from lstm_lab.utils.errors import no_examples
from lstm_lab.utils.files import json_text, write_text
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import PyTree


class LeaseLostError(Exception):
    """Another process owns the cohort now; what this one still computes is not written."""


class Session:
    """A cohort's training in this process.

    Args:
      cohort: the cohort; runs with a result are left out.
      dataset: the task's data.
      overrides: settings from the command line, for the records.
      owns_lease: whether the cohort still belongs to this process.
    """

    def __init__(
        self,
        cohort: Cohort,
        dataset: Dataset,
        overrides: dict[str, str],
        owns_lease: Callable[[], bool],
    ) -> None:
        _expect_examples(cohort.runs[0].spec, dataset)
        self.layout, self.dataset, self.owns_lease = cohort.layout, dataset, owns_lease
        self.spec = cohort.runs[0].spec
        # Fails now, before anything compiles, if a backend that was named cannot serve the run.
        self.layout.backends(self.spec, own_device_type())
        self.train = dataset.splits.get("train")
        self.total, self.eval_every = self.spec.schedule_steps(self.train)
        # Equal cohorts get the same program back, so a study compiles it once.
        self.program: Program = build_program(self.spec, self.total, self.layout)
        trivial = trivial_baselines(self.spec.task, dataset)
        self.finisher = RunFinisher(self.spec, self.layout, dataset, trivial)
        # One checkpoint for all lanes: a file per run would cost more than the training of small
        # runs.
        self.checkpoints = Checkpoints(cohort.checkpoints)
        planned = {"examples": count_examples(dataset), "planned_steps": self.total}
        self.head = {"overrides": overrides, **planned, **provenance()}
        # Predictions need it besides the weights, and a damaged file would change them.
        record = preprocessing_record(dataset)
        self.preprocessing = json_text(record) if record else None
        if self.preprocessing is not None:
            sha256 = hashlib.sha256(self.preprocessing.encode()).hexdigest()
            self.head["preprocessing_sha256"] = sha256
        self.rows = RowWriter(self.spec, self.train)
        self.lanes = Lanes(cohort, self._activate)
        self.calls = Calls(self.spec.compute.log_every, self.eval_every)
        self.saves, self.saved_at = 0, time.monotonic()
        self.compile_seconds = 0.0
        self._state: TrainState | None = None
        self._said: set[str] = set()
        self.data: dict[str, Split] = {}
        self.test: Split | None = None

    # ---- lanes

    @property
    def state(self) -> TrainState:
        """The state of all lanes on the devices."""
        assert self._state is not None, "no run has a lane yet"
        return self._state

    @property
    def steps_done(self) -> int:
        """Optimizer steps that the active runs have done so far."""
        return self.calls.unrecorded + sum(active.step for active in self.lanes.active.values())

    @property
    def farthest(self) -> int:
        """The optimizer step of the run that is farthest, or of the end."""
        steps = [active.step + self.calls.since_row for active in self.lanes.active.values()]
        return min(max(steps, default=self.total), self.total)

    def assign_waiting(self) -> None:
        """Gives free lanes to waiting runs, but only right after an evaluation.

        All lanes evaluate together, so a run has to start where the counter is zero.
        """
        if self.calls.since_eval:
            return
        # First, so that weights that do not fit are an error before a run has a folder.
        starts = {
            lane: initial_member(self.program, run.spec, self.total, self.dataset.preprocessing)
            for lane, run in self.lanes.next_runs().items()
        }
        self.lanes.assign_waiting()
        if starts:
            members = {lane: start.state for lane, start in starts.items()}
            self._state = self.program.assign(self._state, members)
        for lane, start in starts.items():
            self._report_loaded(self.lanes.active[lane], start)

    def _report_loaded(self, active: ActiveRun, start: RunStart) -> None:
        """Records what a run took from existing weights, and says it once for equal runs."""
        if start.loaded is not None:
            active.recorder.write_initial_weights(start.loaded._asdict())
        for line in start.lines:
            if multihost.is_primary() and line not in self._said:
                say(line)
            self._said.add(line)

    def _activate(self, run: CohortRun, resumed: Resumed | None) -> ActiveRun:
        """Opens the record of a run that gets a lane."""
        summary = summarize_program(run.spec, longest(self.dataset.splits["valid"]))
        recorder = RunRecorder(
            run.folder,
            run.spec,
            self.layout,
            head=self.head,
            parameters=summary.parameters,
            resumed=resumed,
            label=run.label,
        )
        if self.preprocessing is not None:
            write_text(run.folder / "preprocessing.json", self.preprocessing)
        step = 0 if resumed is None else resumed.step
        return ActiveRun(run, recorder, summary, step, recorder.seconds)

    # ---- checkpoints

    def open(self) -> None:
        """Puts the data on the devices; continues from the newest checkpoint if there is one."""
        self._state = self._restore()
        self.data = self.program.place_data(self.dataset.training_splits)
        self.test = self.program.place_data(self.dataset.splits["test"])

    def save(self) -> None:
        """Writes the checkpoint of all lanes.

        Raises:
          LeaseLostError: if another process has taken the cohort over.
        """
        self._check_lease()
        self.saves += 1
        if multihost.is_primary():
            # The rows first: a checkpoint whose rows a power failure took would be of no use.
            for active in self.lanes.active.values():
                active.recorder.sync()
            self.checkpoints.save(self.saves, self._checkpoint(self.state))
        self.saved_at = time.monotonic()

    def _checkpoint(self, state: TrainState) -> dict[str, PyTree]:
        """Returns the contents of a checkpoint: the lanes' states, their runs and records."""
        return {
            "state": self.program.collect(state),
            "lanes": self.lanes.saved(),
            "progress": self.calls.progress(),
        }

    def _restore(self) -> TrainState | None:
        """Returns the state of the newest checkpoint that is whole, with its runs in lanes.

        None without a checkpoint, or if all are damaged: then all runs start again.
        """
        # Damaged ones count, too: the next checkpoint gets a number that none of them has.
        self.saves = max(multihost.broadcast_from_host0(self.checkpoints.steps), default=0)
        if not self.saves:
            return None
        # The checkpoint is read into a state of the same shapes.
        empty = self.program.assign(None, {0: self.program.init_member(self.spec, self.total)})
        saved = self._checkpoint(empty)

        def restore() -> bool:
            nonlocal saved
            restored = self.checkpoints.restore(
                saved, any_lanes=True, accepts=lambda tree: self.lanes.fits(tree["lanes"])
            )
            # If no checkpoint fits all records, the newest fits some.
            if restored.step is None:
                restored = self.checkpoints.restore(saved, any_lanes=True)
            for line in restored.notices():
                say(line)
            saved = restored.tree
            return restored.step is not None

        if not multihost.broadcast_from_host0(restore):
            return None
        saved = multihost.broadcast_arrays_from_host0(saved)
        state: TrainState = saved["state"]  # of host arrays
        since_row = np.asarray(state.interval.steps)
        sources = self.lanes.restore(saved["lanes"], np.asarray(state.step) - since_row)
        # Its runs are done, or begin again: there is no interval to continue in the middle.
        if not sources:
            return None
        self._notice_changes(len(saved["lanes"].ids))
        self.calls.restore(saved["progress"], int(since_row[list(sources.values())].sum()))
        # A lane without a run is idle. It needs arrays of the right shape; any lane has them.
        lanes = range(self.layout.lanes)
        state = _lane(state, np.array([sources.get(lane, 0) for lane in lanes]))
        stopped: PyTree = np.full_like(state.stopped, IDLE)
        for lane in sources:
            stopped[lane] = state.stopped[lane]
            if state.rollback is not None:
                self.lanes.active[lane].rollbacks = int(state.rollback.times[lane])
        placed: TrainState = self.program.place(state._replace(stopped=stopped))
        return placed

    def _notice_changes(self, lanes_before: int) -> None:
        """Says what differs from the processes before: the last bits of results depend on it."""
        if lanes_before != self.layout.lanes:
            say(
                f"note: the checkpoint has {lanes_before} lanes and the program has "
                f"{self.layout.lanes}: {len(self.lanes.active)} of its runs continue, the others "
                "begin at their first step"
            )
        now = ", ".join(self.layout.backends(self.spec, own_device_type()))
        before = {active.recorder.backend_before for active in self.lanes.active.values()}
        for backend in sorted(before - {None, now}, key=str):
            say(
                f"note: began with the backend {backend} and continues with {now}: results will "
                "differ in the last bits"
            )

    def finalize_restored(self) -> None:
        """Finishes runs that had ended when the checkpoint was written but have no result."""
        if self._state is not None:
            stopped = self.program.collect(self.state.stopped)
            self._finish([k for k in self.lanes.active if stopped[k] != RUNNING])

    # ---- training

    def compile(self) -> None:
        """Compiles the program by a chunk of no steps."""
        # Zero steps: the same program, so the first real chunk does not compile again.
        start = time.monotonic()
        self._state, _ = self.program.run_chunk(self.state, self.data, np.int32(0), np.int32(PAUSE))
        jax.block_until_ready(self.state)
        self.compile_seconds = time.monotonic() - start
        for active in self.lanes.active.values():
            active.recorder.write_performance(active.step, compile_s=self.compile_seconds)

    def run_chunk(self) -> int:
        """Trains all lanes for one compiled call; returns the steps of all runs.

        At the end of a row of the record, the row is written. Steps that a run saved by stopping
        early count as done.

        Raises:
          LeaseLostError: if another process has taken the cohort over.
        """
        start = time.monotonic()
        lanes = len(self.lanes.active)
        steps, ending = self.calls.next(lanes)
        call = np.int32(steps), np.int32(ending)
        self._state, report = self.program.run_chunk(self.state, self.data, *call)
        # Waits for the devices.
        report, stopped = self.program.collect((report, self.state.stopped))
        seconds = time.monotonic() - start
        # Checked after the call and before its first write: the call may have taken minutes.
        self._check_lease()
        done = self.calls.count(steps, ending, lanes, seconds, int(report.steps.sum()))
        saved = 0 if ending == PAUSE else self._end_row(report, stopped, ending == EVALUATE)
        return done + saved

    def _end_row(self, report: ChunkReport, stopped: np.ndarray, evaluating: bool) -> int:
        """Records an interval and finishes the runs that have ended; returns the steps they saved.

        Args:
          report, stopped: what the interval measured, and the state of each lane.
          evaluating: whether the interval ended with an evaluation.
        """
        for lane, active in self.lanes.active.items():
            self.rows.write(active, _lane(report, lane), evaluating, self.calls.seconds)
        self.calls.end_row()
        if evaluating:
            self._record_gates()
            stopped = self._prune(stopped)
        ended = [lane for lane in self.lanes.active if stopped[lane] != RUNNING]
        saved_steps = sum(self.total - self.lanes.active[lane].step for lane in ended)
        self._finish(ended)
        due = time.monotonic() - self.saved_at >= self.spec.compute.checkpoint_seconds
        if evaluating and due and self.lanes.running:
            self.save()
        return saved_steps

    def _record_gates(self) -> None:
        """Measures gates and states of every run, if `compute.gates` asks for it."""
        if not self.spec.compute.gates:
            return
        # One transfer for all lanes.
        params = self.program.collect(self.state.params)
        for lane, active in self.lanes.active.items():
            own_size = unpad(self.layout, active.run.spec, _lane(params, lane))
            layers = measure_gates(active.run.spec, own_size, self.dataset.splits["valid"])
            active.recorder.write_gates(active.step, layers)

    def _prune(self, stopped: np.ndarray) -> np.ndarray:
        """Stops runs that are worse than their pruning threshold; returns the lanes' new states."""
        sign = 1.0 if self.spec.direction == "max" else -1.0
        pruned = np.array(stopped)
        for lane, active in self.lanes.active.items():
            threshold = active.run.pruning_thresholds.get(active.step)
            if threshold is not None and pruned[lane] == RUNNING:
                # From the record and not from the state: the record survives a restart.
                values = active.recorder.valid(self.spec.metric).values()
                best = max((sign * value for value in values), default=-float("inf"))
                pruned[lane] = RUNNING if best >= sign * threshold else PRUNED
        if (pruned != stopped).any():
            self._state = self.state._replace(stopped=self.program.place(pruned))
        return pruned

    # ---- the end

    def _finish(self, lanes: list[int]) -> None:
        """Evaluates ended runs on the test split, at their best weights, and frees their lanes."""
        if not lanes:
            return
        assert self.test is not None, "`open` comes first"
        selected = np.isin(np.arange(self.layout.lanes), lanes)
        # All ended lanes in one call. On CPU the others cost nothing; `vmap` computes them, too.
        best, hparams = self.state.best, self.state.hparams
        metrics = self.program.evaluate(best.params, hparams, selected, self.test)
        metrics, best, stopped = self.program.collect((metrics, best, self.state.stopped))
        self._check_lease()
        self.finisher.save_best([(self.lanes.active[lane], _lane(best, lane)) for lane in lanes])
        for lane in lanes:
            self.finisher.finish(
                self.lanes.active[lane],
                int(stopped[lane]),
                _lane(best, lane),
                _lane(metrics, lane),
                self.compile_seconds,
            )
            # Only now: after an error above, `abandon` still has to close this run's record.
            del self.lanes.active[lane]

    def _check_lease(self) -> None:
        if not self.owns_lease():
            raise LeaseLostError

    def release(self) -> None:
        """Closes all records and leaves the runs to the process that owns the cohort now."""
        for active in self.lanes.active.values():
            active.recorder.close()

    def abandon(self, status: Status, reason: str = "") -> None:
        """Closes the records of the active runs without a result; in silence without the lease.

        Args:
          status: why, for run.json.
          reason: the same for people.
        """
        if not self.owns_lease():
            self.release()
            return
        for active in self.lanes.active.values():
            active.recorder.finish(status, None, reason)


def _expect_examples(spec: RunSpec, dataset: Dataset) -> None:
    """Raises UserError for a split without examples."""
    for name, split in dataset.splits.items():
        if not isinstance(split, Stream) and split.rows < 1:
            raise no_examples(name, spec.task.name)


def _lane(tree: PyTree, lane: int | np.ndarray) -> PyTree:
    """Returns one lane of host arrays, or those of an array of lanes."""
    return jax.tree.map(lambda a: a[lane], tree)

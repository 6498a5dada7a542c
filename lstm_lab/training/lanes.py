"""The lanes of a cohort: which run trains in which lane, and which runs still wait for one.

A cohort has any number of runs and a fixed number of lanes. When a run ends, its lane takes the
next one that waits. Lanes know nothing of compiled programs; `session.py` brings both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.config.ids import run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import Summary
from lstm_lab.results.run_files import read_result
from lstm_lab.training import multihost
from lstm_lab.training.layout import Layout
from lstm_lab.training.loggers.base import RunLabel
from lstm_lab.training.recorder import Resumed, RunRecorder, has_rows
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON

ID_BYTES, HASH_BYTES = 12, 32  # of a run's id and of a SHA-256, as a checkpoint stores them


@dataclass(frozen=True)
class CohortRun:
    """One run of a cohort.

    Attributes:
      spec: what it trains.
      folder: where it writes its results.
      pruning_thresholds: validation scores by step. A run whose best score so far is worse than the
        threshold of its step is pruned.
      label: what loggers call it; None for a run that belongs to no study.
    """

    spec: RunSpec
    folder: Path
    pruning_thresholds: Mapping[int, float] = field(default_factory=dict)
    label: RunLabel | None = None

    @property
    def done(self) -> bool:
        """Whether its result is on disk."""
        result = read_result(self.folder)
        return result is not None and result.get("id") == run_id(self.spec)


@dataclass(frozen=True)
class Cohort:
    """Runs that one compiled program trains.

    Attributes:
      runs: the runs, any number, in the order in which they get a lane.
      layout: how the lanes lie on the devices; fixed, since the bits of a result depend on it.
      checkpoints: folder of the checkpoint of all lanes.
    """

    runs: tuple[CohortRun, ...]
    layout: Layout
    checkpoints: Path


@dataclass
class ActiveRun:
    """A run that trains in a lane.

    Attributes:
      run: the run.
      recorder: writes its folder.
      summary: of its model at its own size.
      step: optimizer steps done.
      seconds: training time so far, in all processes.
      rollbacks: rollbacks so far.
      fault: the first step of the last faulty call (`divergence.fault_record`), or None.
    """

    run: CohortRun
    recorder: RunRecorder
    summary: Summary
    step: int
    seconds: float
    rollbacks: int = 0
    fault: dict[str, JSON] | None = None


class SavedLanes(NamedTuple):
    """What a checkpoint holds of the lanes besides their states; zero in free lanes.

    Attributes:
      ids: the ids of the runs [lanes, 12], bytes.
      rows: the number of rows of each record at the time of the checkpoint [lanes], int32.
      hashes: the SHA-256 of these rows [lanes, 32], bytes.
    """

    ids: np.ndarray
    rows: np.ndarray
    hashes: np.ndarray


def no_lanes(count: int) -> SavedLanes:
    """Returns what a checkpoint holds of lanes that are all free.

    Args:
      count: the number of lanes.
    """
    return SavedLanes(
        np.zeros((count, ID_BYTES), np.uint8),
        np.zeros(count, np.int32),
        np.zeros((count, HASH_BYTES), np.uint8),
    )


class Lanes:
    """The runs of a cohort by lane.

    Args:
      cohort: the cohort; runs with a result are left out.
      activate: (run, where it resumes or None) -> the run with its open record.
    """

    def __init__(
        self, cohort: Cohort, activate: Callable[[CohortRun, Resumed | None], ActiveRun]
    ) -> None:
        self.count = cohort.layout.lanes
        self.activate = activate
        # A relaunched cohort skips what is done.
        self.waiting = [run for run in cohort.runs if not run.done]
        for run in self.waiting:
            if (run.folder / "result.json").exists():
                say(f"note: {run.folder / 'result.json'} is damaged: the run is trained again")
        self.active: dict[int, ActiveRun] = {}

    @property
    def running(self) -> bool:
        """Whether a run still trains or waits."""
        return bool(self.active or self.waiting)

    def next_runs(self) -> dict[int, CohortRun]:
        """Returns the waiting runs that `assign_waiting` gives a lane, by lane."""
        # In order, so that the same runs get the same lanes in every process.
        free = [lane for lane in range(self.count) if lane not in self.active]
        return dict(zip(free, self.waiting, strict=False))

    def assign_waiting(self) -> None:
        """Gives free lanes to waiting runs, in order."""
        for lane, run in self.next_runs().items():
            self.active[lane] = self.activate(run, None)
            self.waiting.pop(0)

    def saved(self) -> SavedLanes:
        """Returns what a checkpoint holds of the lanes besides their states."""
        saved = no_lanes(self.count)
        for lane, active in self.active.items():
            saved.ids[lane] = np.frombuffer(run_id(active.run.spec).encode(), np.uint8)
            saved.rows[lane] = len(active.recorder.rows)
            saved.hashes[lane] = np.frombuffer(active.recorder.rows_hash, np.uint8)
        return saved

    def restore(self, saved: SavedLanes, steps: np.ndarray) -> dict[int, int]:
        """Gives runs of a checkpoint a lane: theirs, if the checkpoint has as many lanes.

        Args:
          saved: what the checkpoint holds of its lanes.
          steps: optimizer steps that it holds of each of them.

        Returns:
          For each restored lane, the lane of the checkpoint.
        """
        same = len(saved.ids) == self.count
        restored: dict[int, int] = {}
        for source, run in self._whole_runs(saved).items():
            lane = source if same else len(restored)
            # After running out of memory there are fewer lanes: the runs without one start again.
            if lane < self.count:
                self.waiting.remove(run)
                resumed = Resumed(int(steps[source]), int(saved.rows[source]))
                self.active[lane] = self.activate(run, resumed)
                restored[lane] = source
        return restored

    def fits(self, saved: SavedLanes) -> bool:
        """Returns whether the records of a checkpoint's runs have the rows that it counts.

        Args:
          saved: what the checkpoint holds of its lanes; on the primary host.
        """
        return all(
            has_rows(run.folder, int(saved.rows[lane]), bytes(saved.hashes[lane]))
            for lane, run in self._waiting_runs(saved).items()
        )

    def _waiting_runs(self, saved: SavedLanes) -> dict[int, CohortRun]:
        """Returns the runs of a checkpoint that still wait, by lane."""
        by_id = {run_id(run.spec).encode(): run for run in self.waiting}
        found = {lane: by_id.get(bytes(name)) for lane, name in enumerate(saved.ids)}
        return {lane: run for lane, run in found.items() if run is not None}

    def _whole_runs(self, saved: SavedLanes) -> dict[int, CohortRun]:
        """Returns the runs of a checkpoint that still wait and have their whole record, by lane."""
        whole = {}
        for lane, run in self._waiting_runs(saved).items():
            rows, expected = int(saved.rows[lane]), bytes(saved.hashes[lane])
            # The record is written before the checkpoint. If rows are missing all the same, as
            # after a change of the file, its metrics would have a gap: the run starts again.
            if multihost.broadcast_from_host0(partial(has_rows, run.folder, rows, expected)):
                whole[lane] = run
            else:
                say(f"note: the record of {run.folder} is not whole: the run starts again")
        return whole

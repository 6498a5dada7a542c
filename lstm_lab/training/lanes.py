"""The lanes of a cohort: which run trains in which lane, and which runs still wait for one.

A cohort has any number of runs and a fixed number of lanes. When a run ends, its lane takes the
next one that waits. Lanes know nothing of compiled programs; `session.py` brings both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from lstm_lab.config.ids import run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import Summary
from lstm_lab.training import multihost
from lstm_lab.training.layout import Layout
from lstm_lab.training.recorder import RunRecorder
from lstm_lab.utils.files import read_json, read_lines

ID_BYTES = 12  # of a run's id, as a checkpoint stores it


@dataclass(frozen=True)
class CohortRun:
    """One run of a cohort.

    Attributes:
      spec: what it trains.
      folder: where it writes its results.
      pruning_thresholds: validation scores by step. A run whose best score so far is worse than the
        threshold of its step is pruned.
    """

    spec: RunSpec
    folder: Path
    pruning_thresholds: Mapping[int, float] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether its result is on disk."""
        result = read_json(self.folder / "result.json")
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
    """

    run: CohortRun
    recorder: RunRecorder
    summary: Summary
    step: int
    seconds: float


class Lanes:
    """The runs of a cohort by lane.

    Args:
      cohort: the cohort; runs with a result are left out.
      activate: (run, step resumed at or None) -> the run with its open record.
    """

    def __init__(
        self, cohort: Cohort, activate: Callable[[CohortRun, int | None], ActiveRun]
    ) -> None:
        self.count = cohort.layout.lanes
        self.activate = activate
        # A relaunched cohort skips what is done.
        self.waiting = [run for run in cohort.runs if not run.done]
        self.active: dict[int, ActiveRun] = {}

    @property
    def running(self) -> bool:
        """Whether a run still trains or waits."""
        return bool(self.active or self.waiting)

    def assign_waiting(self) -> dict[int, CohortRun]:
        """Gives free lanes to waiting runs, in order; returns the new runs by lane."""
        assigned: dict[int, CohortRun] = {}
        # In order, so that the same runs get the same lanes in every process.
        for lane in range(self.count):
            if lane not in self.active and self.waiting:
                assigned[lane] = self.waiting.pop(0)
                self.active[lane] = self.activate(assigned[lane], None)
        return assigned

    def restore(self, ids: np.ndarray, steps: np.ndarray) -> list[int]:
        """Gives runs of a checkpoint their lanes back; returns the lanes.

        Args:
          ids: ids of the runs [lanes, 12], bytes.
          steps: optimizer steps that the checkpoint holds of each lane.
        """
        by_id = {run_id(run.spec): run for run in self.waiting}
        restored = []
        for lane, id_bytes in enumerate(ids):
            run, step = by_id.get(bytes(id_bytes).decode()), int(steps[lane])
            # The record is written before the checkpoint. If it still lags behind, as after a crash
            # of the machine, its metrics would have a gap: the run starts again.
            if run is not None and multihost.broadcast_from_host0(
                partial(_record_reaches, run.folder, step)
            ):
                self.waiting.remove(run)
                self.active[lane] = self.activate(run, step)
                restored.append(lane)
        return restored

    def ids(self) -> np.ndarray:
        """Returns the ids of the active runs as bytes [lanes, 12], zero in free lanes."""
        ids = np.zeros((self.count, ID_BYTES), np.uint8)
        for lane, active in self.active.items():
            ids[lane] = np.frombuffer(run_id(active.run.spec).encode(), np.uint8)
        return ids


def _record_reaches(folder: Path, step: int) -> bool:
    """Returns whether a run's record is complete up to a step."""
    rows = read_lines(folder / "metrics.jsonl")
    last_step = rows[-1]["step"] if rows else 0
    return read_json(folder / "run.json") is not None and last_step >= step

"""How many optimizer steps a compiled call takes: a signal waits for the end of the call.

`session.run_chunk` asks before each call and reports how long it took. The results do not depend on
the answers: a call that pauses leaves its sums in `TrainState.interval`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lstm_lab.training import multihost
from lstm_lab.training.reports import EVALUATE, PAUSE, REPORT

# Half of what a user may have to wait for: later steps may be slower than those measured, such as
# those of longer sequences.
CALL_SECONDS = 2.0
# A call has at most so many times the steps of the longest call before: the first step alone may
# not be a typical one.
GROWTH = 8


class Pace:
    """The measured speed of the calls so far.

    Example:
      pace = Pace()
      pace.steps(left=200, lanes=1)  # 1: nothing is known
      pace.observe(steps=1, lanes=1, seconds=0.5)
      pace.steps(left=200, lanes=1)  # 4
    """

    def __init__(self) -> None:
        self._seconds_per_step, self._longest = 0.0, 0

    def steps(self, left: int, lanes: int) -> int:
        """Returns the number of steps of the next call, at least 1.

        Args:
          left: steps up to the next row of the record.
          lanes: lanes that train.
        """
        limit = max(GROWTH * self._longest, 1)
        if self._seconds_per_step > 0.0:
            limit = min(limit, int(CALL_SECONDS / (self._seconds_per_step * lanes)))
        return max(min(limit, left), 1)

    def observe(self, steps: int, lanes: int, seconds: float) -> None:
        """Takes note of a call without an evaluation.

        Args:
          steps: steps of the call.
          lanes: lanes that trained. On CPU they train one after another; elsewhere the estimate is
            too long for a while if their number grows, and calls are shorter.
          seconds: what it took.
        """
        self._longest = max(self._longest, steps)
        self._seconds_per_step = seconds / (steps * lanes)


class Progress(NamedTuple):
    """The position of a cohort between two rows of its records, for a checkpoint.

    Attributes:
      since_eval: steps since the last evaluation, int32.
      since_row: steps since the last row, int32.
      seconds: training time since the last row, float32.
    """

    since_eval: np.ndarray
    since_row: np.ndarray
    seconds: np.ndarray


def no_progress() -> Progress:
    """Returns the progress right after an evaluation."""
    return Progress(np.array(0, np.int32), np.array(0, np.int32), np.array(0.0, np.float32))


class Calls:
    """The compiled calls of a cohort: how long each is, and where rows and evaluations lie.

    Args:
      log_every: steps of a row of the record.
      eval_every: steps between evaluations; a row never crosses one.

    Attributes:
      since_eval: steps since the last evaluation. All lanes evaluate in the same calls, so one
        counter serves them all.
      since_row: steps since the last row, for which a row may need several calls.
      seconds: training time since the last row.
      unrecorded: steps since the last row, of all lanes together.
    """

    def __init__(self, log_every: int, eval_every: int) -> None:
        self.log_every, self.eval_every, self._pace = log_every, eval_every, Pace()
        self.since_eval, self.since_row, self.seconds, self.unrecorded = 0, 0, 0.0, 0

    def next(self, lanes: int) -> tuple[int, int]:
        """Returns the number of steps of the next call, and PAUSE, REPORT or EVALUATE.

        Args:
          lanes: lanes that train.
        """
        # `log_every` may be lower than in the process that wrote the checkpoint.
        row = max(self.log_every - self.since_row, 1)
        left = min(row, self.eval_every - self.since_eval)
        # All hosts take the same steps.
        steps = multihost.broadcast_from_host0(lambda: self._pace.steps(left, lanes))
        if steps < left:
            return steps, PAUSE
        return steps, EVALUATE if self.since_eval + steps == self.eval_every else REPORT

    def count(self, steps: int, ending: int, lanes: int, seconds: float, done: int) -> int:
        """Counts a call; returns the steps that all lanes did in it.

        Args:
          steps, ending: as `next` gave them.
          lanes: lanes that trained.
          seconds: what the call took.
          done: steps that all lanes have done since the last row, by the report of the call.
        """
        if ending != EVALUATE:
            self._pace.observe(steps, lanes, seconds)
        self.since_eval = (self.since_eval + steps) % self.eval_every
        self.since_row += steps
        self.seconds += seconds
        new, self.unrecorded = done - self.unrecorded, done
        return new

    def end_row(self) -> None:
        """Begins the next row."""
        self.since_row, self.seconds, self.unrecorded = 0, 0.0, 0

    def progress(self) -> Progress:
        """Returns what a checkpoint needs to continue in the middle of a row."""
        steps = np.array(self.since_eval, np.int32), np.array(self.since_row, np.int32)
        return Progress(*steps, np.array(self.seconds, np.float32))

    def restore(self, progress: Progress, unrecorded: int) -> None:
        """Continues where a checkpoint was written.

        Args:
          progress: what it holds.
          unrecorded: steps since the last row, of all restored lanes together.
        """
        self.since_eval, self.since_row = int(progress.since_eval), int(progress.since_row)
        self.seconds, self.unrecorded = float(progress.seconds), unrecorded

"""What a bench would run, and for about how long.

In: cases and contenders. Out: a `Plan`, which `run.py` carries out and `listing` shows. Times are
estimates from operations: they are for progress and for `--dry-run`, not for tables.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from lstm_lab.bench.cases import Case, Suite
from lstm_lab.bench.contenders import library, missing
from lstm_lab.utils.progress import duration, say
from lstm_lab.utils.tables import aligned


class Speed(NamedTuple):
    """About how fast a machine is; a fast one ends earlier than the estimate says.

    Attributes:
      rate: operations per second of a contender.
      start: seconds to start the process of a contender.
      build: seconds to prepare a case, above all to compile it.
      together: whether all contenders start and compile at the same time.
      machine: which machine that is.
    """

    rate: float
    start: float
    build: float
    together: bool
    machine: str


CPU = Speed(4e10, 5.0, 4.0, False, "2 idle CPU cores")
# From the figures of an H200 in docs/benchmarks.md: with ten contenders at once, 4 to 10 s to
# compile a case in TF32 and up to 22 in float32; 15 TFLOP/s at the largest shape.
GPU = Speed(1e13, 12.0, 12.0, True, "a GPU with 16 CPU cores")
# Work of other kinds in units of a forward pass.
PASSES = {"forward": 1.0, "step": 1.0}


@dataclass(frozen=True)
class Plan:
    """A suite that is to be run.

    Attributes:
      suite: the suite.
      cases: what is timed.
      names: the contenders that are installed.
      absent: those that are not.
      memory: whether each contender runs with default and with memory settings, see run.py.
      rounds: number of turns of each contender at each case.
      seconds: duration of a turn.
      speed: the machine for which times are estimated.
    """

    suite: Suite
    cases: tuple[Case, ...]
    names: tuple[str, ...]
    absent: tuple[str, ...]
    memory: tuple[bool, ...]
    rounds: int
    seconds: float
    speed: Speed = CPU

    def seconds_of(self, case: Case) -> float:
        """Returns the estimated seconds of a case, of all contenders.

        Args:
          case: the case.
        """
        contenders = len(self.names) * len(self.memory)
        once = operations(case) / self.speed.rate
        if self.suite == "costs":
            start = self.speed.start + self.speed.build
            return contenders * self.rounds * (start + 4 * once)
        compiling = self.speed.build * (1 if self.speed.together else contenders)
        # The first run, and PyTorch's search for the best number of threads.
        preparing = compiling + contenders * 5 * once
        return preparing + contenders * self.rounds * max(self.seconds, once)

    @property
    def total_seconds(self) -> float:
        """The estimated seconds of the whole plan."""
        processes = 1 if self.speed.together else len(self.names) * len(self.memory)
        start = 0.0 if self.suite == "costs" else self.speed.start * processes
        return start + sum(self.seconds_of(case) for case in self.cases)

    def without(self, done: list[dict[str, Any]]) -> Plan:
        """Returns a plan of the cases that are missing.

        Args:
          done: cases as JSON, from an earlier result.
        """
        cases = tuple(case for case in self.cases if case.to_json() not in done)
        return replace(self, cases=cases)


class Deadline:
    """Ends a loop over cases before a limit, so that a machine lent for minutes suffices.

    Args:
      limit: seconds from now.
    """

    def __init__(self, limit: float) -> None:
        self.limit, self.started = limit, time.perf_counter()

    def while_time(self, cases: Sequence[Case]) -> Iterator[Case]:
        """Yields cases as long as one more, as long as the longest so far, ends in time.

        Args:
          cases: the cases, the most important first.
        """
        longest = 0.0
        for k, case in enumerate(cases):
            began = time.perf_counter()
            if began - self.started + longest > self.limit:
                say(f"{len(cases) - k} cases are left for lack of time; --resume continues")
                return
            yield case
            longest = max(longest, time.perf_counter() - began)


def make_plan(
    suite: Suite,
    cases: list[Case],
    names: list[str],
    *,
    memory_settings: bool,
    rounds: int,
    seconds: float,
    speed: Speed = CPU,
) -> Plan:
    """Returns the plan of a suite.

    Args:
      suite: the suite.
      cases: what is timed.
      names: contenders; those that are not installed are left out.
      memory_settings: whether to time each contender with the memory settings, too.
      rounds, seconds, speed: as in `Plan`.
    """
    # Looked up once for each library: its contenders are all installed, or none is.
    is_missing = {library(name): missing(name) for name in names}
    return Plan(
        suite,
        tuple(cases),
        names=tuple(name for name in names if not is_missing[library(name)]),
        absent=tuple(name for name in names if is_missing[library(name)]),
        memory=(False, True) if memory_settings else (False,),
        rounds=rounds,
        seconds=seconds,
        speed=speed,
    )


def operations(case: Case) -> float:
    """Returns the floating-point operations of the matrix products of a case.

    Args:
      case: the case.
    """
    directions = 1 + case.bidirectional
    inputs = [case.D, *[case.features] * (case.layers - 1)]
    weights: float = sum(directions * 4 * case.H * (D + case.H) for D in inputs)
    steps = case.B * case.T
    if case.is_model:
        weights += case.features * case.outputs * (1.0 if case.every_step else 1 / case.T)
    # A backward pass has twice the products of a forward pass.
    passes = PASSES.get(case.work, 3.0)
    return 2.0 * passes * weights * steps * case.members


def listing(plan: Plan) -> str:
    """Returns the cases, the contenders and the estimated time as text.

    Args:
      plan: the plan.
    """
    rows = [["work", "shape", "about"]]
    rows += [[case.work, case.label, duration(plan.seconds_of(case))] for case in plan.cases]
    lines = [aligned(rows), "", f"contenders: {', '.join(plan.names)}"]
    if True in plan.memory:
        lines.append("each with its default settings and with the memory settings")
    if plan.absent:
        lines.append(f"not installed: {', '.join(plan.absent)}")
    count = len(plan.cases)
    lines.append(
        f"{count} case{'' if count == 1 else 's'}, {plan.rounds} rounds: about "
        f"{duration(plan.total_seconds)} on {plan.speed.machine}"
    )
    return "\n".join(lines)

"""Runs a plan and returns the times: every contender in its own processes, turns interleaved.

A contender's process is `worker.py`. Turns of different contenders alternate, so that a slow phase
of the machine (thermal limits, neighbors) hits all of them. `table.py` makes tables of the result.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.bench.cases import Case, Suite
from lstm_lab.bench.contenders import settings
from lstm_lab.bench.machine import machine
from lstm_lab.bench.plan import Deadline, Plan
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import differences, read_json
from lstm_lab.utils.progress import Meter, say

# Settings that keep glibc from returning memory to the system between calls. Without them, large
# arrays cost page faults at every call. glibc reads them when a process starts, so each setting
# needs processes of its own.
MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_ARENA_MAX": "1",
}
# What an earlier result must have in common with a plan that continues it.
SAME = ("suite", "contenders", "rounds", "seconds", "machine")

Keep = Callable[[dict[str, Any]], None]


class Contender:
    """The processes of one contender, which run one case at a time.

    Args:
      name: name of the contender, see contenders.py.
      suite: the suite.
      memory: whether to run with the memory settings `MEMORY`.
    """

    def __init__(self, name: str, suite: Suite, memory: bool) -> None:
        self.name, self.suite, self.memory = name, suite, memory
        cores = os.cpu_count() or 1
        self.parts = cores if name == "torch processes" else 1
        self.processes = self._start()

    def build(self, case: Case) -> dict[str, Any] | str | None:
        """Prepares a case.

        Args:
          case: the case; several processes share its members.

        Returns:
          The facts of `worker.py`; an error message; or None if the contender does not serve the
          case.
        """
        least, rest = divmod(case.members, self.parts)
        # The first processes take one member more where the processes do not divide the members.
        shares = [replace(case, members=least + (k < rest)) for k in range(self.parts)]
        answers = self._ask([{"build": share.to_json()} for share in shares])
        if None in answers:
            return None
        errors = [answer for answer in answers if isinstance(answer, str)]
        if errors:
            return errors[0]
        slowest = max(answers, key=lambda answer: answer["first_ms"])
        return dict(slowest)

    def time(self, seconds: float) -> float:
        """Runs the prepared case for about `seconds`; returns milliseconds per run.

        The median, since a single run may be interrupted; of the slowest process, since a
        population is done when its last part is.

        Args:
          seconds: duration of the turn.
        """
        answers = self._ask([{"seconds": seconds}] * self.parts)
        ended = [answer for answer in answers if isinstance(answer, str)]
        if ended:
            raise RuntimeError(f"{self.name}: {ended[0]}")
        return max(float(np.median(times)) for times in answers)

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def _start(self) -> list[subprocess.Popen[str]]:
        environment = {**os.environ, **settings(self.name), **(MEMORY if self.memory else {})}
        # One thread each: together they have as many threads as there are cores.
        if self.parts > 1:
            environment |= {"LSTM_LAB_BENCH_THREADS": "1", "OMP_NUM_THREADS": "1"}
        return [
            subprocess.Popen(
                [sys.executable, "-m", "lstm_lab.bench.worker", self.name, self.suite],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for _ in range(self.parts)
        ]

    def _ask(self, requests: list[dict[str, Any]]) -> list[Any]:
        # All requests before the first answer: the processes have to work at the same time.
        try:
            for process, request in zip(self.processes, requests, strict=True):
                assert process.stdin is not None
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            answers = [
                process.stdout.readline() if process.stdout else "" for process in self.processes
            ]
        except BrokenPipeError:
            answers = [""]
        if not all(answers):
            # As the system ends a process that needs more memory than there is. The next case may
            # be smaller.
            self.close()
            codes = ", ".join(str(process.returncode) for process in self.processes)
            self.processes = self._start()
            return [f"the process ended (exit code {codes})"]
        return [json.loads(answer) for answer in answers]


def new_result(plan: Plan, command: str) -> dict[str, Any]:
    """Returns a result without times.

    Args:
      plan: the plan.
      command: the command line, for the page.

    Returns:
      JSON-ready: the machine, the settings, the contenders left out, `done` cases, `errors`, and
      `rows`: one per case, contender and memory setting.
    """
    return {
        "suite": plan.suite,
        "command": command,
        "machine": machine(),
        "contenders": list(plan.names),
        "left_out": list(plan.absent),
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "done": [],
        "errors": [],
        "rows": [],
    }


def resumed(path: Path, new: dict[str, Any]) -> dict[str, Any]:
    """Returns an earlier result that a plan can continue; a new one if there is none.

    Args:
      path: the file of the earlier result.
      new: the result of the plan without times.

    Raises:
      UserError: if the file holds something else, or was measured with other settings or on another
        machine: times of both would not compare.
    """
    if not path.exists():
        return new
    old = read_json(path, suite=str, rows=list, done=list, errors=list, machine=dict)
    if old is None:
        raise UserError(f"--resume: {path} is not a result of lstm-lab bench")

    def settings_of(result: dict[str, Any]) -> dict[str, Any]:
        same = {name: result.get(name) for name in SAME}
        return same | {"machine": {**result["machine"], "date": None}}

    if changes := differences(settings_of(old), settings_of(new)):
        raise UserError(f"--resume: {path} was measured with other settings: {changes}")
    return old


def cases_in_time(
    plan: Plan, result: dict[str, Any], meter: Meter, keep: Keep, deadline: Deadline
) -> Iterator[tuple[Case, float]]:
    """Yields the cases that a result lacks, each with its share of the meter.

    A case whose turn is over is noted as done, so that a killed run loses one case at most.

    Args:
      plan: what to measure.
      result: the result to extend.
      meter: counts the cases, each by its share of the time.
      keep: called with the partial result after every case.
      deadline: no case starts that would probably end later.
    """
    missing = plan.without(result["done"]).cases
    share = meter.total / max(sum(map(plan.seconds_of, plan.cases)), 1e-9)
    meter.skip(share * sum(map(plan.seconds_of, set(plan.cases) - set(missing))))
    for case in deadline.while_time(missing):
        yield case, share * plan.seconds_of(case)
        result["done"].append(case.to_json())
        keep(result)


def add_error(result: dict[str, Any], name: str, memory: bool, case: Case, text: str) -> None:
    """Adds to a result that a contender failed at a case, and says so.

    Args:
      result: the result to extend.
      name: the contender.
      memory: whether it ran with the memory settings.
      case: the case.
      text: its message.
    """
    say(f"{name} at {case.label}: {text}")
    fault = {"label": case.label, "work": case.work, "error": text}
    result["errors"].append({"contender": name, "memory_settings": memory, **fault})


def run_suite(
    plan: Plan,
    result: dict[str, Any],
    *,
    meter: Meter,
    keep: Keep,
    limit: float = math.inf,
) -> dict[str, Any]:
    """Times all contenders at all cases of a plan.

    Args:
      plan: what to time.
      result: the result to extend, from `new_result` or `resumed`.
      meter: counts the cases, each by its share of the time.
      keep: called with the partial result after every case, so that a killed run loses little.
      limit: seconds; no case starts that would probably end later.

    Returns:
      The result, with the median milliseconds of each turn in its rows.
    """
    deadline = Deadline(limit)
    for name in plan.absent:
        say(f"{name}: not installed, left out")
    # Started once, not for each case: starting takes seconds, and turns should be close in time.
    contenders = [
        Contender(name, plan.suite, setting)
        for name in (plan.names if plan.without(result["done"]).cases else ())
        for setting in plan.memory
    ]
    try:
        for case, cost in cases_in_time(plan, result, meter, keep, deadline):
            text = f"{case.work} {case.label}"
            served = _prepared(contenders, case, result, meter, cost / 2, text)
            turns = _interleaved(
                [contender for contender, _ in served], case, plan, meter, cost / 2, text
            )
            for (contender, facts), times in zip(served, turns, strict=True):
                result["rows"].append(_row(case, contender.name, contender.memory, times, facts))
    finally:
        for contender in contenders:
            contender.close()
    return result


def _row(
    case: Case, name: str, memory: bool, times: list[float], facts: dict[str, Any]
) -> dict[str, Any]:
    return {
        "case": case.to_json(),
        "label": case.label,
        "contender": name,
        "memory_settings": memory,
        "ms": times,
        **facts,
    }


def _prepared(
    contenders: list[Contender],
    case: Case,
    result: dict[str, Any],
    meter: Meter,
    cost: float,
    text: str,
) -> list[tuple[Contender, dict[str, Any]]]:
    """Returns the contenders that serve a case, with the facts of their first run."""
    served = []
    # Before a GPU, compiling is most of the time of a suite, and the cores have no other work. On
    # a CPU one after another, since the time of the first run is a result there.
    together = len(contenders) if result["machine"]["platform"] == "gpu" else 1
    with ThreadPoolExecutor(together or 1) as pool:
        built = list(pool.map(lambda contender: contender.build(case), contenders))
    for contender, facts in zip(contenders, built, strict=True):
        if isinstance(facts, str):
            add_error(result, contender.name, contender.memory, case, facts)
        elif facts is not None:
            served.append((contender, facts))
        meter.advance(cost / len(contenders), text)
    return served


def _interleaved(
    contenders: list[Contender], case: Case, plan: Plan, meter: Meter, cost: float, text: str
) -> list[list[float]]:
    """Returns the times of each contender's turns, in the order 1 2 3, 3 2 1, and so on."""
    turns: list[list[float]] = [[] for _ in contenders]
    for k in range(plan.rounds):
        order = list(range(len(contenders)))
        for index in order if k % 2 == 0 else reversed(order):
            turns[index].append(contenders[index].time(plan.seconds))
        meter.advance(cost / plan.rounds, text)
    return turns

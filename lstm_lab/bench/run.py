"""Runs a suite and returns the times: every contender in its own processes, turns interleaved.

A contender's process is `worker.py`. Turns of different contenders alternate, so that a slow phase
of the machine (thermal limits, neighbors) hits all of them. `table.py` makes tables of the result.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.bench.cases import Case, Suite, cases
from lstm_lab.bench.contenders import missing, settings
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
PACKAGES = ("jax", "jaxlib", "torch", "flax", "keras", "dm-haiku", "equinox")


class Contender:
    """The processes of one contender, which run one case at a time.

    Args:
      name: name of the contender, see contenders.py.
      suite: the suite.
      memory: whether to run with the memory settings `MEMORY`.
    """

    def __init__(self, name: str, suite: Suite, memory: bool) -> None:
        self.name, self.memory = name, memory
        cores = os.cpu_count() or 1
        self.parts = cores if name == "torch processes" else 1
        environment = {**os.environ, **settings(name), **(MEMORY if memory else {})}
        # One thread each: together they have as many threads as there are cores.
        if self.parts > 1:
            environment |= {"LSTM_LAB_BENCH_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "lstm_lab.bench.worker", name, suite],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for _ in range(self.parts)
        ]

    def build(self, case: Case) -> bool:
        """Prepares a case and returns whether the contender serves it; logs errors.

        Args:
          case: the case; several processes share its members.
        """
        least, rest = divmod(case.members, self.parts)
        # The first processes take one member more where the processes do not divide the members.
        shares = [replace(case, members=least + (k < rest)) for k in range(self.parts)]
        answers = self._ask([{"build": share.to_json()} for share in shares])
        for answer in answers:
            if isinstance(answer, str):
                say(f"{self.name} at {case.label}: {answer}")
        return all(answer is True for answer in answers)

    def time(self, seconds: float) -> float:
        """Runs the prepared case for about `seconds`; returns milliseconds per run.

        The median, since a single run may be interrupted; of the slowest process, since a
        population is done when its last part is.

        Args:
          seconds: duration of the turn.
        """
        return max(
            float(np.median(times)) for times in self._ask([{"seconds": seconds}] * self.parts)
        )

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def _ask(self, requests: list[dict[str, Any]]) -> list[Any]:
        # All requests before the first answer: the processes have to work at the same time.
        for process, request in zip(self.processes, requests, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        answers = [
            process.stdout.readline() if process.stdout else "" for process in self.processes
        ]
        if not all(answers):
            raise RuntimeError(
                f"{self.name}: the worker process ended; run lstm_lab.bench.worker to see the error"
            )
        return [json.loads(answer) for answer in answers]


def run_suite(
    suite: Suite,
    names: list[str],
    *,
    rounds: int,
    seconds: float,
    meter: Meter,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Times all contenders at all cases of a suite.

    On a CPU each contender runs twice, with its default settings and with the memory settings; the
    suite `backends` needs only the former.

    Args:
      suite: the suite.
      names: contenders; those that are not installed are logged and left out.
      rounds: number of turns of each contender at each case.
      seconds: duration of a turn.
      meter: counts the cases.
      keep: called with the partial result after every case, so that a killed run loses little.

    Returns:
      JSON-ready: the machine, the contenders left out, and one row per case, contender and memory
      setting with the median milliseconds of each turn.
    """
    absent = [name for name in names if missing(name)]
    for name in absent:
        say(f"{name}: not installed, left out")
    rows: list[dict[str, Any]] = []
    present = [name for name in names if name not in absent]
    host = machine()
    memory = (False, True) if suite != "backends" and host["platform"] == "cpu" else (False,)
    result = {"suite": suite, "machine": host, "left_out": absent, "rows": rows}
    # Started once, not for each case: starting takes seconds, and turns should be close in time.
    contenders = [Contender(name, suite, setting) for name in present for setting in memory]
    try:
        for case in cases(suite, host["platform"]):
            served_by = [contender for contender in contenders if contender.build(case)]
            for contender, turns in zip(
                served_by, _interleaved(served_by, case, rounds, seconds), strict=True
            ):
                rows.append(
                    {
                        "case": case.to_json(),
                        "label": case.label,
                        "contender": contender.name,
                        "memory_settings": contender.memory,
                        "ms": turns,
                    }
                )
            keep(result)
            meter.advance(1, f"{case.work} {case.label}")
    finally:
        for contender in contenders:
            contender.close()
    return result


def _interleaved(
    contenders: list[Contender], case: Case, rounds: int, seconds: float
) -> list[list[float]]:
    """Returns the times of each contender's turns, in the order 1 2 3, 3 2 1, and so on."""
    turns: list[list[float]] = [[] for _ in contenders]
    for k in range(rounds):
        order = list(range(len(contenders)))
        for index in order if k % 2 == 0 else reversed(order):
            turns[index].append(contenders[index].time(seconds))
    return turns


@cache
def device() -> dict[str, str]:
    """Returns the platform and kind of JAX's first device.

    A separate process asks JAX, since a process that has asked keeps a part of the GPU's memory.
    """
    code = "import jax; d = jax.local_devices()[0]; print(d.platform, d.device_kind)"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **settings("lstm_lab")},
    )
    name, kind = process.stdout.strip().split(maxsplit=1)
    return {"platform": name, "device": kind}


def machine() -> dict[str, Any]:
    """Describes the hardware and the versions of packages, without the name of the host.

    Returns:
      JSON-ready; it is part of every result, because times of two machines do not compare.
    """
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **device(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "date": time.strftime("%Y-%m-%d"),
    }

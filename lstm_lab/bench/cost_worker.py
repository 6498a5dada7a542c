"""A process that starts, runs one case twice and ends: what a contender costs besides its speed.

It prints one JSON line at its first result: seconds of imports, of preparing the arrays and of the
first call, which compiles; milliseconds of a later call; and MiB of memory. `costs.py` starts it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def peak_memory() -> float:
    """Returns the largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` of a new process can begin with that of the process that started it.
        lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def main(name: str, case_text: str) -> None:
    """Runs a case and prints its costs.

    Args:
      name: the contender.
      case_text: the case as JSON.
    """
    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    # Late: their imports are a part of what is timed.
    from lstm_lab.bench.cases import Case
    from lstm_lab.bench.workloads import build, load, serves

    case = Case(**json.loads(case_text))
    answers, sys.stdout = sys.stdout, sys.stderr
    load(name)
    answer: dict[str, float | bool] = {"imports_s": lap()}
    after_imports = peak_memory()
    served = serves(name, case)
    if served:
        run = build(name, case)
        answer["build_s"] = lap()
        run()
        answer["first_s"] = lap()
    # At once: the parent process takes the time of this line.
    print(json.dumps(served), file=answers, flush=True)
    if served:
        lap()
        run()
        run()
        answer["later_ms"] = 1e3 * lap() / 2
        answer["memory_mib"] = peak_memory() - after_imports
    print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

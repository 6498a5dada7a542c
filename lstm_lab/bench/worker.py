"""The process of one contender: reads requests as JSON lines and answers each with one JSON line.

`{"build": CASE}` prepares a case. The answer is true, false if the contender does not serve the
case, or an error message. `{"seconds": S}` runs the case for about S seconds; the answer is a list
with the milliseconds of each run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from lstm_lab.bench.cases import Case
from lstm_lab.bench.workloads import Run, build, serves


def _timed(run: Run) -> float:
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def _ready(name: str, case: Case) -> Run | None:
    """Returns the function that runs a case, after one run to compile; None if it is not served."""
    if not serves(name, case):
        return None
    run = build(name, case)
    run()
    return run


def main(name: str, suite: str) -> None:
    """Answers requests until the input ends.

    Args:
      name: the contender.
      suite: the suite.
    """
    # The program does so too. With the memory settings, which are variables, it changes nothing.
    if name.startswith("lstm_lab"):
        from lstm_lab.utils.allocator import keep_memory

        keep_memory()
    # Only a population spreads over devices. For one layer, a single device with all threads is
    # what users have by default.
    if name.startswith("lstm_lab") and suite == "population":
        from lstm_lab.training.devices import prepare_devices

        prepare_devices(os.cpu_count() or 1)
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print must not mix with the answers
    run: Run | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: Any
        if "build" in request:
            run = None  # frees the memory of the previous case
            try:
                run = _ready(name, Case(**request["build"]))
                answer = run is not None
            except Exception as error:  # mostly out of memory, and the next case may be smaller
                answer = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            assert run is not None
            until = time.perf_counter() + request["seconds"]
            # At least one run, however long it takes.
            answer = [_timed(run)]
            while time.perf_counter() < until:
                answer.append(_timed(run))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

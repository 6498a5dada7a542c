"""A contender's process: reads requests as JSON lines, and answers each with one.

`{"build": CASE}` makes a case ready and answers with true, with false where the contender does not
serve it, or with what went wrong; `{"seconds": S}` runs it for about that long and answers with the
milliseconds of each run.
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
    """Returns what does a case's work, having done it once; None where it is not served."""
    if not serves(name, case):
        return None
    run = build(name, case)
    run()
    return run


def main(name: str, suite: str) -> None:
    """Serves requests until the input ends."""
    if name.startswith("lstm_lab") and suite == "population":
        from lstm_lab.train.devices import request_cpu_devices

        request_cpu_devices(os.cpu_count() or 1)
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not answer
    run: Run | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: Any
        if "build" in request:
            run = None  # what the case before held is free
            try:
                run = _ready(name, Case(**request["build"]))
                answer = run is not None
            except Exception as error:  # out of memory, most of all: the next case may fit
                answer = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            assert run is not None
            until = time.perf_counter() + request["seconds"]
            answer = [_timed(run)]
            while time.perf_counter() < until:
                answer.append(_timed(run))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

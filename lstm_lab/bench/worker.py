"""A contender's process: reads requests as JSON lines, and answers each with one.

`{"build": CASE}` makes a case ready and answers with the milliseconds of one run; `{"seconds": S}`
runs it for about that long and answers with each run's milliseconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import Run, build


def _timed(run: Run) -> float:
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def main(name: str, suite: str) -> None:
    """Serves requests until the input ends."""
    if name.startswith("lstm_lab") and suite == "population":
        from lstm_lab.train.parallel import request_cpu_devices

        request_cpu_devices(os.cpu_count() or 1)
    answers = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not answer
    run: Run | None = None
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        answer: Any
        if "build" in request:
            run = None
            run = build(name, Case(**request["build"]))
            run()
            answer = _timed(run)
        else:
            assert run is not None
            until = time.perf_counter() + request["seconds"]
            answer = [_timed(run)]
            while time.perf_counter() < until:
                answer.append(_timed(run))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

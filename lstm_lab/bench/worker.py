"""The process of one contender: reads requests as JSON lines and answers each with one JSON line.

`{"build": CASE}` prepares a case. The answer is an object with `first_ms`, the time of the first
run with its compilation; null if the contender does not serve the case; or an error message.
`{"seconds": S}` runs the case for about S seconds; the answer is a list with the milliseconds of
each run.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library
from lstm_lab.bench.workloads import Run, build, serves, tune


def timed(run: Run) -> float:
    """Returns the milliseconds of one run.

    Args:
      run: what `build` returned.
    """
    started = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - started)


def _facts(name: str, case: Case) -> dict[str, Any]:
    """Returns what the suite `cells` shows besides times: the choice of `auto`, and deviations."""
    from lstm_lab.bench import jax_work, ours

    facts: dict[str, Any] = {"auto": ours.auto_choice(case)}
    if ours.backend_of(name) != "scan":
        facts["deviation"] = jax_work.deviation(name, case)
    return facts


def _prepare(name: str, suite: str, case: Case) -> tuple[Run, dict[str, Any]] | None:
    """Returns the function that runs a case, after its first run; None if it is not served."""
    if not serves(name, case):
        return None
    run = build(name, case)
    answer = {"first_ms": timed(run)}
    # Not timed: JAX may compile once more for arrays that its first run has placed.
    run()
    tune(name, run)
    if suite == "cells" and library(name) == "lstm_lab":
        answer |= _facts(name, case)
    return run, answer


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
                prepared = _prepare(name, suite, Case(**request["build"]))
                run, answer = prepared or (None, None)
            except Exception as error:  # mostly out of memory, and the next case may be smaller
                answer = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            assert run is not None
            until = time.perf_counter() + request["seconds"]
            # At least one run, however long it takes.
            answer = [timed(run)]
            while time.perf_counter() < until:
                answer.append(timed(run))
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

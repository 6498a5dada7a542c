"""The costs of a contender besides its speed: cold start, compile time and memory.

In: a plan of the suite `costs`. Out: a result as that of `run.py`. Every measurement is a new
process (`cost_worker.py`), because memory that a process has once had, and programs that it has
compiled, would hide the costs of the next case.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import settings
from lstm_lab.bench.plan import Deadline, Plan
from lstm_lab.bench.run import Keep, add_error, cases_in_time
from lstm_lab.bench.table import MODEL_TITLES, error_lines, head
from lstm_lab.utils.progress import Meter
from lstm_lab.utils.tables import markdown_table

# The columns of the table: keys of a row, and what they are.
COLUMNS = {
    "cold_s": "process start to first result, s",
    "imports_s": "of it imports, s",
    "build_s": "of it parameters, s",
    "first_s": "of it the first call, s",
    "later_ms": "a later call, ms",
    "memory_mib": "memory above imports, MiB",
}


def run_costs(
    plan: Plan,
    result: dict[str, Any],
    *,
    meter: Meter,
    keep: Keep,
    limit: float = math.inf,
) -> dict[str, Any]:
    """Measures the costs of all contenders at all cases, in interleaved rounds.

    Args:
      plan: what to measure; `seconds` is not used.
      result: the result to extend, from `run.new_result` or `run.resumed`.
      meter: counts the cases, each by its share of the time.
      keep: called with the partial result after every case.
      limit: seconds; no case starts that would probably end later.

    Returns:
      The result; each value of a row is a list over rounds.
    """
    for case, cost in cases_in_time(plan, result, meter, keep, Deadline(limit)):
        step = cost / (plan.rounds * max(len(plan.names), 1))
        values: dict[str, list[dict[str, float]]] = {name: [] for name in plan.names}
        for k in range(plan.rounds):
            for name in plan.names if k % 2 == 0 else plan.names[::-1]:
                answer = measure(name, case)
                if isinstance(answer, str):
                    add_error(result, name, memory=False, case=case, text=answer)
                elif answer is not None:
                    values[name].append(answer)
                meter.advance(step, f"{name} at {case.label}")
        for name, rounds in values.items():
            if rounds:
                columns = {key: [answer[key] for answer in rounds] for key in COLUMNS}
                row = {"case": case.to_json(), "label": case.label, "contender": name}
                result["rows"].append({**row, "memory_settings": False, **columns})
    return result


def measure(name: str, case: Case) -> dict[str, float] | str | None:
    """Starts a process for a case and returns its costs; None if the contender does not serve it.

    Args:
      name: the contender.
      case: the case.

    Returns:
      The values of `COLUMNS`, or an error message.
    """
    command = [sys.executable, "-m", "lstm_lab.bench.cost_worker", name]
    # With JAX's filter, the last line of an error would be a note about the filter.
    environment = {**os.environ, **settings(name), "JAX_TRACEBACK_FILTERING": "off"}
    # A file takes any number of warnings; a pipe that nobody reads would stop the process.
    with tempfile.TemporaryFile("w+", errors="replace") as messages:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, json.dumps(case.to_json())],
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            env=environment,
        )
        assert process.stdout is not None
        served = process.stdout.readline()
        cold = time.perf_counter() - started
        rest, _ = process.communicate()
        if process.returncode:
            messages.seek(0)
            lines = [line.strip() for line in messages if line.strip()] or ["no message"]
            return f"exit code {process.returncode}: {lines[-1][:200]}"
    return {"cold_s": cold, **json.loads(rest)} if json.loads(served) else None


def markdown(result: dict[str, Any]) -> str:
    """Returns one table per case, with one line per contender.

    Args:
      result: what `run_costs` returned.
    """
    lines = head(result)
    for case in result["done"]:
        rows = [row for row in result["rows"] if row["case"] == case]
        if not rows:
            continue
        title = f"{MODEL_TITLES[case['work']]}: {rows[0]['label']}"
        table = [["contender", *COLUMNS.values()]]
        table += [[row["contender"], *(_with_range(row[key]) for key in COLUMNS)] for row in rows]
        lines += ["", f"**{title}**", "", markdown_table(table)]
    return "\n".join([*lines, *error_lines(result)])


def _with_range(values: list[float]) -> str:
    """Returns the median, and the range if there are several values."""
    text = f"{np.median(values):.3g}"
    return text if len(values) == 1 else f"{text} ({min(values):.3g}-{max(values):.3g})"

"""The failures of a cohort, and how often it is tried again.

Each failure is one line of failures.jsonl in the cohort's folder, so the budget holds over several
launches and workers. `lstm-lab sweep --rerun=failed` clears it.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from lstm_lab.utils.files import read_lines, write_lines
from lstm_lab.utils.types import JSON

# Attempts after the first, by class of failure. Out of memory: each attempt halves the lanes. Other
# errors: once, because most of them are deterministic.
RETRIES = {"out_of_memory": 3, "failed": 1}


class FailureLog:
    """The failures of one cohort.

    Args:
      folder: the cohort's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "failures.jsonl"

    def rows(self) -> list[dict[str, JSON]]:
        """Returns one row per failure: `status`, `reason`, `time` and `trace`."""
        return read_lines(self.path, status=str, reason=str, trace=str)

    def add(self, status: str, reason: str, trace: str = "") -> None:
        """Appends a failure; `trace` is Python's traceback."""
        row = {"status": status, "reason": reason, "time": time.time(), "trace": trace}
        # All at once: after a part of a line no later failure would count, and the cohort would be
        # tried without end.
        write_lines(self.path, [*self.rows(), row])

    def exhausted(self) -> bool:
        """Returns whether any class of failure has used up its retries."""
        counts = Counter(row["status"] for row in self.rows())
        return any(counts[status] > retries for status, retries in RETRIES.items())

    def clear(self) -> None:
        """Gives the cohort all its retries again."""
        self.path.unlink(missing_ok=True)


def last_reason(workdir: Path) -> str:
    """Returns the reason of the last failure of any cohort, or "" without failures.

    Args:
      workdir: the study's folder.
    """
    logs = workdir.glob("cohorts/*/failures.jsonl")
    rows = [row for path in logs for row in FailureLog(path.parent).rows()]
    return str(max(rows, key=lambda row: row.get("time", 0.0))["reason"]) if rows else ""


def clear_failures(workdir: Path) -> None:
    """Gives every cohort of a study all its retries again.

    Args:
      workdir: the study's folder.
    """
    for path in workdir.glob("cohorts/*/failures.jsonl"):
        FailureLog(path.parent).clear()

"""What of a study or a run is done, running, failed, and why; and what is left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lstm_lab.results.lease import holder
from lstm_lab.results.study_file import expected, run_status, worked_on
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines

TRACE_LINES = 6  # of Python's account of an error


def describe(workdir: Path) -> list[str]:
    """Returns the lines that `lstm-lab status` prints.

    Raises:
      UserError: for a folder that holds neither a study nor a run.
    """
    plan = read_json(workdir / "study.json")
    if plan is None:
        if not (workdir / "run.json").is_file():
            raise UserError(f"workdir: {workdir} holds neither a study nor a run")
        status, reason = run_status(workdir)
        return [f"{workdir}: {status}{f' ({reason})' if reason else ''}"]
    held = worked_on(workdir, plan)
    rows = {
        run: (row, *run_status(workdir / "runs" / run, held[run]))
        for run, row in plan["runs"].items()
    }
    lines = [f"{plan['study']['name']}: {expected(plan)} runs, {len(rows)} planned so far"]
    counts = Counter(status for _, status, _ in rows.values())
    counts["missing"] += expected(plan) - len(rows)
    lines += [f"  {count:5d} {status}" for status, count in sorted(counts.items()) if count]
    for run, (row, status, reason) in rows.items():
        if status in ("failed", "out_of_memory", "diverged", "interrupted"):
            what = f"{row['stage']} {row['variant']} seed {row['seed']}"
            lines.append(f"  {run} {what}: {status} {reason}".rstrip())
    for cid in plan["cohorts"]:
        lines += _cohort_lines(workdir / "cohorts" / cid)
    return lines


def _cohort_lines(folder: Path) -> list[str]:
    """Returns who works on a cohort, and what went wrong the last time, with its trace's end."""
    lines, held = [], holder(folder)
    if held is not None:
        lines.append(f"  cohort {folder.name}: process {held['pid']} on {held['host']} works on it")
    failures = read_lines(folder / "failures.jsonl")
    if failures:
        last = failures[-1]
        times = "once" if len(failures) == 1 else f"{len(failures)} times"
        lines.append(f"  cohort {folder.name}: failed {times}: {last['reason']}")
        lines += [f"    {line}" for line in last["trace"].splitlines()[-TRACE_LINES:]]
    return lines

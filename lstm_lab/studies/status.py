"""The text of `lstm-lab status`: which runs of a study are done, running or failed, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lstm_lab.results.intact import problems
from lstm_lab.results.lease import current_owner
from lstm_lab.results.run_files import read_progress, read_result
from lstm_lab.results.study_file import (
    cohort_folder,
    count_expected_runs,
    leased_runs,
    read_plan,
    run_folder,
    run_status,
)
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.escape import visible
from lstm_lab.utils.files import read_lines

# The end of a traceback names the error and the place; the rest is the way through this package.
TRACE_LINES = 6
PROBLEMS = ("failed", "out_of_memory", "diverged", "interrupted")


def describe(workdir: Path) -> list[str]:
    """Returns the lines that `lstm-lab status` prints.

    Args:
      workdir: the folder of a study or of a run.

    Raises:
      UserError: for a folder that holds neither.
    """
    # The folder may be somebody else's: no text in it controls the terminal or adds a line.
    return [" ".join(visible(line).splitlines()) for line in _lines(workdir)]


def _lines(workdir: Path) -> list[str]:
    if not (workdir / "study.json").is_file():
        if not (workdir / "run.json").is_file():
            raise UserError(f"workdir: {workdir} holds neither a study nor a run")
        status, reason = run_status(workdir)
        done = _share_done([workdir]) if status == "running" else ""
        first = f"{workdir}: {status}{f' ({reason})' if reason else ''}{done}"
        return [first, *(f"  {line}" for line in _damaged_files(workdir))]
    plan = read_plan(workdir)
    leased = leased_runs(workdir, plan)
    rows = {
        run: (row, *run_status(run_folder(workdir, run), leased[run]))
        for run, row in plan["runs"].items()
    }
    expected = count_expected_runs(plan)
    lines = [f"{plan['study']['name']}: {expected} runs, {len(rows)} planned so far"]
    counts = Counter(status for _, status, _ in rows.values())
    # Final runs are planned after tuning, so some runs may not have a row yet.
    counts["missing"] += expected - len(rows)
    running = [
        run_folder(workdir, run) for run, (_, status, _) in rows.items() if status == "running"
    ]
    lines += [
        f"  {count:5d} {status}{_share_done(running) if status == 'running' else ''}"
        for status, count in sorted(counts.items())
        if count
    ]
    for look in plan.get("looks", []):
        judged = (f"{name} {found['verdict']}" for name, found in look["variants"].items())
        lines.append(f"  look after {look['seeds']} seeds: {', '.join(judged)}")
    for run, (row, status, reason) in rows.items():
        if status in PROBLEMS:
            name = f"{row['stage']} {row['variant']} seed {row['seed']}"
            lines.append(f"  {run} {name}: {status} {reason}".rstrip())
        lines += [f"  {line}" for line in _damaged_files(run_folder(workdir, run))]
    for cohort_id in plan["cohorts"]:
        lines += _cohort_lines(cohort_folder(workdir, cohort_id))
    return lines


def _share_done(folders: Sequence[Path]) -> str:
    """Returns how far running runs are, as the end of a line."""
    share = sum(map(read_progress, folders)) / len(folders)
    # Of the steps that were planned: a run may stop early.
    return f", {share:.0%} of {'its' if len(folders) == 1 else 'their'} steps done"


def _damaged_files(folder: Path) -> list[str]:
    """Returns a line for each file that a finished run has lost."""
    result = read_result(folder)
    return [] if result is None else problems(folder, result)


def _cohort_lines(folder: Path) -> list[str]:
    """Returns the process that works on a cohort, and its last failure with the traceback's end."""
    lines, owner = [], current_owner(folder)
    if owner is not None:
        lines.append(
            f"  cohort {folder.name}: process {owner['pid']} on {owner['host']} works on it"
        )
    failures = read_lines(folder / "failures.jsonl", status=str, reason=str, trace=str)
    if failures:
        last = failures[-1]
        times = "once" if len(failures) == 1 else f"{len(failures)} times"
        lines.append(f"  cohort {folder.name}: failed {times}: {last['reason']}")
        lines += [f"    {line}" for line in last["trace"].splitlines()[-TRACE_LINES:]]
    return lines

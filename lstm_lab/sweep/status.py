"""What of a study or a run is done, running, failed, and why; and what is left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from lstm_lab.errors import UserError
from lstm_lab.files import read_json
from lstm_lab.sweep.claims import alive


def run_status(folder: Path) -> tuple[str, str]:
    """Returns a run's status and reason; a run whose process is gone was interrupted."""
    result, head = read_json(folder / "result.json"), read_json(folder / "run.json")
    if result is not None:
        return result["status"], ""
    if head is None:
        return "missing", ""
    if head["status"] == "running" and not alive(head["pid"]):
        return "interrupted", "its process is gone"
    return head["status"], head.get("reason", "")


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
    rows = {k: (row, *run_status(workdir / "runs" / k)) for k, row in plan["runs"].items()}
    lines = [f"{plan['study']['name']}: {expected(plan)} runs, {len(rows)} planned so far"]
    counts = Counter(status for _, status, _ in rows.values())
    counts["missing"] += expected(plan) - len(rows)
    lines += [f"  {count:5d} {status}" for status, count in sorted(counts.items()) if count]
    for k, (row, status, reason) in rows.items():
        if status in ("failed", "out_of_memory", "diverged", "interrupted"):
            what = f"{row['stage']} {row['variant']} seed {row['seed']}"
            lines.append(f"  {k} {what}: {status} {reason}".rstrip())
    return lines


def count_results(workdir: Path) -> int:
    """Returns how many runs of a study have a result."""
    return sum(1 for _ in workdir.glob("runs/*/result.json"))


def expected(plan: dict[str, Any]) -> int:
    """Returns how many runs a study has, those not planned yet included."""
    study = plan["study"]
    count = len(study["variants"]) * len(study["seeds"])
    if study["tuning"]:
        seeds = study["tuning"]["seeds"]
        count += sum(study["tuning"]["points"].values()) * (1 if seeds is None else len(seeds))
    return count

"""What a study's folder holds: how many runs it has, and the status of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lstm_lab.results.lease import alive, holder
from lstm_lab.utils.files import read_json


def run_status(folder: Path, worked_on: bool | None = None) -> tuple[str, str]:
    """Returns a run's status and reason; a run that nobody works on any more was interrupted.

    Args:
      folder: the run's.
      worked_on: whether a process holds its cohort, or None to look for its process here.
    """
    result, head = read_json(folder / "result.json"), read_json(folder / "run.json")
    if result is not None:
        return result["status"], ""
    if head is None:
        return "missing", ""
    working = alive(head["pid"]) if worked_on is None else worked_on
    if head["status"] == "running" and not working:
        return "interrupted", "its process is gone"
    return head["status"], head.get("reason", "")


def worked_on(workdir: Path, plan: dict[str, Any]) -> dict[str, bool]:
    """Returns for each planned run of a study whether a process holds its cohort; runs whose
    results were taken over have none."""
    return dict.fromkeys(plan["runs"], False) | {
        run: held
        for cid, cohort in plan["cohorts"].items()
        for held in [holder(workdir / "cohorts" / cid) is not None]
        for run in cohort["runs"]
    }


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

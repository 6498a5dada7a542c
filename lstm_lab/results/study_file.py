"""Reads a study's folder: its plan, the status of its runs, and how many there are.

study.json holds the declaration (`study`), the planned runs (`runs`, by id), their cohorts
(`cohorts`, by id) and the tuned points (`chosen`, by variant). `studies/folder.py` writes it.
"""

from __future__ import annotations

from pathlib import Path

from lstm_lab.results.lease import current_owner, process_exists
from lstm_lab.results.run_files import read_head, read_result
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from lstm_lab.utils.types import JSON


def read_plan(workdir: Path) -> dict[str, JSON]:
    """Returns the content of study.json.

    Raises:
      UserError: for a folder without a study.
    """
    path = workdir / "study.json"
    plan = read_json(path, study=dict, runs=dict, cohorts=dict, chosen=dict)
    if plan is None or not _is_complete(plan):
        raise UserError(f"workdir: {workdir} is not a study (study.json is missing or damaged)")
    return plan


def _is_complete(plan: dict[str, JSON]) -> bool:
    """Returns whether a plan has the keys on which all readers rely."""
    declared = ("name", "title", "variants", "seeds", "metric", "direction", "tuning")
    row = ("variant", "stage", "seed", "point")
    return (
        all(key in plan["study"] for key in declared)
        and all(
            isinstance(run, dict) and all(map(run.__contains__, row))
            for run in plan["runs"].values()
        )
        and all(
            isinstance(cohort, dict) and "runs" in cohort for cohort in plan["cohorts"].values()
        )
    )


def run_status(folder: Path, leased: bool | None = None) -> tuple[str, str]:
    """Returns a run's status and its reason, which may be empty.

    A killed process cannot record its end. So a run that is recorded as running but that no process
    works on counts as interrupted.

    Args:
      folder: the run's folder.
      leased: whether a process holds the lease on its cohort; None for a run outside a study, whose
        process must be one of this machine.
    """
    result, head = read_result(folder), read_head(folder)
    if result is not None:
        return result["status"], result.get("reason", "")
    if head is None:
        return "missing", ""
    # run.json is written before result.json, which may have been lost since.
    if head["status"] in ("completed", "diverged", "pruned"):
        return "interrupted", "its result.json is missing or damaged"
    pid = head.get("pid")
    alone = isinstance(pid, int) and process_exists(pid)
    working = alone if leased is None else leased
    if head["status"] == "running" and not working:
        return "interrupted", "its process no longer exists"
    return head["status"], head.get("reason", "")


def leased_runs(workdir: Path, plan: dict[str, JSON]) -> dict[str, bool]:
    """Returns for each planned run whether a process holds the lease on its cohort.

    Runs whose results come from an archive belong to no cohort; nobody works on them.
    """
    leased = dict.fromkeys(plan["runs"], False)
    for cohort_id, cohort in plan["cohorts"].items():
        owner = current_owner(workdir / "cohorts" / cohort_id)
        leased |= dict.fromkeys(cohort["runs"], owner is not None)
    return leased


def count_results(workdir: Path) -> int:
    """Returns the number of runs that have a result."""
    return sum(1 for _ in workdir.glob("runs/*/result.json"))


def count_expected_runs(plan: dict[str, JSON]) -> int:
    """Returns the number of runs of a study, including those that are not planned yet."""
    study = plan["study"]
    count = len(study["variants"]) * len(study["seeds"])
    if study["tuning"]:
        seeds = study["tuning"]["seeds"]
        count += sum(study["tuning"]["points"].values()) * (1 if seeds is None else len(seeds))
    return count

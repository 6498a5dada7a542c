"""Reads a study's folder: its plan, the status of its runs, and how many there are.

study.json holds the declaration (`study`), the planned runs (`runs`, by id), their cohorts
(`cohorts`, by id), the tuned points (`chosen`, by variant) and, if the seeds come in groups, what
each look decided (`looks`). `studies/folder.py` writes it, `plan_schema.py` checks it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lstm_lab.results.lease import current_owner
from lstm_lab.results.looks import due_seeds
from lstm_lab.results.plan_schema import damage, is_id
from lstm_lab.results.run_files import lease_folder, read_head, read_progress, read_result
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from lstm_lab.utils.types import JSON


def read_plan(workdir: Path) -> dict[str, JSON]:
    """Returns the content of study.json.

    Raises:
      UserError: for a folder without a study.
    """
    if not workdir.exists():
        raise UserError(f"workdir: {workdir} does not exist")
    if not (workdir / "study.json").exists() and (workdir / "run.json").exists():
        raise UserError(f"workdir: {workdir} is not a study, but a run (in Python, load_run)")
    plan = read_json(workdir / "study.json", study=dict, runs=dict, cohorts=dict, chosen=dict)
    wrong = "" if plan is None else damage(plan)
    if plan is None or wrong:
        where = f": {wrong}" if wrong else ""
        raise UserError(
            f"workdir: {workdir} is not a study (study.json is missing or damaged{where})"
        )
    return plan


def run_folder(workdir: Path, run: str) -> Path:
    """Returns the folder of a run of a study.

    Args:
      workdir: the study's folder.
      run: the id of the run, as a file or a user gives it.

    Raises:
      UserError: for an id that is no plain name: its path could lead out of the study.

    Example:
      >>> run_folder(Path("runs/lr"), "0a1b2c3d4e5f")
      PosixPath('runs/lr/runs/0a1b2c3d4e5f')
    """
    return _folder_of_id(workdir / "runs", run)


def cohort_folder(workdir: Path, cohort: str) -> Path:
    """Returns the folder of a cohort of a study.

    Args:
      workdir: the study's folder.
      cohort: the id of the cohort, as a file gives it.

    Raises:
      UserError: for an id that is no plain name: its path could lead out of the study.

    Example:
      >>> cohort_folder(Path("runs/lr"), "5f4e3d2c1b0a")
      PosixPath('runs/lr/cohorts/5f4e3d2c1b0a')
    """
    return _folder_of_id(workdir / "cohorts", cohort)


def _folder_of_id(parent: Path, name: str) -> Path:
    if not is_id(name):
        raise UserError(f"workdir: {parent}: got the id {name!r}, expected letters and digits")
    return parent / name


def run_status(folder: Path, leased: bool | None = None) -> tuple[str, str]:
    """Returns a run's status and its reason, which may be empty.

    A killed process cannot record its end. So a run that is recorded as running but that no process
    works on counts as interrupted.

    Args:
      folder: the run's folder.
      leased: whether a process holds the lease on its cohort; None for a run outside a study, which
        has a lease of its own.
    """
    result, head = read_result(folder), read_head(folder)
    if result is not None:
        return result["status"], result.get("reason", "")
    if head is None:
        return "missing", ""
    # run.json is written before result.json, which may have been lost since.
    if head["status"] in ("completed", "diverged", "pruned"):
        return "interrupted", "its result.json is missing or damaged"
    working = current_owner(lease_folder(folder)) is not None if leased is None else leased
    if head["status"] == "running" and not working:
        return "interrupted", "its process no longer exists"
    return head["status"], head.get("reason", "")


def leased_runs(workdir: Path, plan: dict[str, JSON]) -> dict[str, bool]:
    """Returns for each planned run whether a process holds the lease on its cohort.

    Runs whose results come from an archive belong to no cohort; nobody works on them.
    """
    leased = dict.fromkeys(plan["runs"], False)
    for cohort_id, cohort in plan["cohorts"].items():
        owner = current_owner(cohort_folder(workdir, cohort_id))
        leased |= dict.fromkeys(cohort["runs"], owner is not None)
    return leased


class RunCounts(NamedTuple):
    """How far the runs of a study are.

    Attributes:
      results: the number of results.
      archived: how many of them come from an archive.
      begun: what the runs without a result have trained: 0.5 for one that has half of its steps.
    """

    results: int
    archived: int
    begun: float

    @property
    def trained(self) -> float:
        """What was trained in this folder, in runs."""
        return self.results - self.archived + self.begun


def count_runs(workdir: Path) -> RunCounts:
    """Returns how far the runs of a study are.

    A result may be damaged: none is read. Those of an archive have no curve.
    """
    done = {path.parent for path in workdir.glob("runs/*/result.json")}
    begun = {path.parent for path in workdir.glob("runs/*/metrics.jsonl")}
    return RunCounts(len(done), len(done - begun), sum(map(read_progress, begun - done)))


def count_expected_runs(plan: dict[str, JSON]) -> int:
    """Returns the number of runs of a study, including those that are not planned yet."""
    study = plan["study"]
    # With looks: those that are due now. A later look may add more.
    count = sum(due_seeds(plan).values())
    if study["tuning"]:
        seeds = study["tuning"]["seeds"]
        count += sum(study["tuning"]["points"].values()) * (1 if seeds is None else len(seeds))
    return count

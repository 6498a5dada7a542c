"""A study on disk: its declaration, its plan, and what failed; safe under several launchers."""

from __future__ import annotations

import fcntl
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lstm_lab.config.ids import run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.sweep.archive import Place, place, unpack
from lstm_lab.sweep.axes import Point
from lstm_lab.sweep.plan import plan_cohorts
from lstm_lab.sweep.study import PlannedRun, Study, declaration
from lstm_lab.train.lanes import Cohort, CohortRun
from lstm_lab.train.layout import Layout, fit_layout
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import check_workdir, read_json, read_lines, write_json
from lstm_lab.utils.progress import say

SCHEMA = 2


class StudyFolder:
    """A study on disk.

    Args:
      folder: STUDY.
      study: the study; the folder may hold no other.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        self.declared = declaration(study)
        check_workdir(folder, "study.json")
        self.plan = self._read()

    def _read(self) -> dict[str, Any]:
        found = read_json(self.folder / "study.json")
        if found is None:
            return {
                "schema": SCHEMA,
                "study": self.declared,
                "runs": {},
                "cohorts": {},
                "chosen": {},
            }
        if _defining(found["study"]) != _defining(self.declared):
            raise UserError(
                f"workdir: {self.folder} holds another study, {found['study']['name']!r} with "
                f"other settings than {self.declared['name']!r} now has; choose another --workdir"
            )
        return found

    @contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """Gives the plan as it is on disk now, and writes it; one process at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Hidden, so that a folder that was killed here still counts as empty.
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.plan = self._read()
            yield self.plan
            write_json(self.folder / "study.json", self.plan)

    def declare(self) -> None:
        """Writes study.json, with what is planned so far."""
        with self.changing():
            pass

    def add(
        self,
        runs: Sequence[PlannedRun],
        devices: int,
        tokens: Callable[[RunSpec], float],
        results: Path | None = None,
    ) -> list[tuple[str, Cohort]]:
        """Plans runs that are not planned yet, and returns the cohorts that hold those given.

        Args:
          runs: the runs.
          devices: local devices at hand; planned cohorts keep their layout where they can.
          tokens: how many time steps a run reads; not asked where every run has a result.
          results: an archive of runs that need not be trained again, or None.

        Returns:
          Cohorts with what they are called, in the order of the plan.

        Raises:
          UserError: where two points are one run, which would count twice.
        """
        by_id = _by_id(runs)
        with self.changing() as plan:
            plan["runs"] |= {k: row_of(run) for k, run in by_id.items() if k not in plan["runs"]}
        if results is not None:
            taken = unpack(results, self.folder)
            if taken:
                say(f"{taken} runs taken over from {results}")
        with self.changing() as plan:
            placed = {k for row in plan["cohorts"].values() for k in row["runs"]}
            new = {k: run for k, run in by_id.items() if k not in placed}
            if not all(CohortRun(run.spec, self.run_folder(k)).done for k, run in new.items()):
                for planned in plan_cohorts(new, devices, tokens):
                    plan["cohorts"][planned.id] = {
                        "layout": asdict(planned.layout),
                        "runs": planned.runs,
                    }
        cohorts = []
        for cid, row in self.plan["cohorts"].items():
            if any(k in by_id for k in row["runs"]):
                members = tuple(
                    CohortRun(by_id[k].spec, self.run_folder(k), by_id[k].pruning_thresholds)
                    for k in row["runs"]
                )
                size = members[0].spec.train.batch_size
                layout = fit_layout(Layout(**row["layout"]), size, devices)
                cohort = Cohort(members, layout, self.cohort_folder(cid) / "checkpoints")
                cohorts.append((_called([by_id[k] for k in row["runs"]]), cohort))
        return cohorts

    def done(self) -> Counter[Place]:
        """Returns how many runs have a result here, for each place in the study."""
        rows = self.plan["runs"].items()
        found = (row for k, row in rows if (self.run_folder(k) / "result.json").exists())
        return Counter(place(row) for row in found)

    def run_folder(self, run: str) -> Path:
        """Returns a run's folder."""
        return self.folder / "runs" / run

    def cohort_folder(self, cohort: str) -> Path:
        """Returns a cohort's folder."""
        return self.folder / "cohorts" / cohort

    def choose(self, chosen: dict[str, Point]) -> None:
        """Keeps the tuned values of variants; those chosen before stay."""
        with self.changing() as plan:
            plan["chosen"] = {**chosen, **plan["chosen"]}

    def refreshed(self, cohort: Cohort) -> Cohort:
        """Returns a cohort with the layout that the plan has now."""
        row = self.plan["cohorts"][cohort.checkpoints.parent.name]
        return replace(cohort, layout=Layout(**row["layout"]))

    def halve(self, cohort: Cohort) -> None:
        """Halves a cohort's lanes, for one that ran out of memory."""
        cid = cohort.checkpoints.parent.name
        with self.changing() as plan:
            layout = Layout(**plan["cohorts"][cid]["layout"])
            unit = layout.devices if layout.kind == "members" else 1
            lanes = max(unit, layout.lanes // 2 // unit * unit)
            plan["cohorts"][cid]["layout"] = asdict(replace(layout, lanes=lanes))


def row_of(run: PlannedRun) -> dict[str, Any]:
    """Returns what a plan says of a run."""
    seed = run.spec.seed
    return {"variant": run.variant, "stage": run.stage, "point": run.point, "seed": seed}


def _by_id(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    by_id: dict[str, PlannedRun] = {}
    for run in runs:
        same = by_id.setdefault(run_id(run.spec), run)
        if same is not run:
            raise UserError(
                f"study: {same.stage} {same.variant} {same.point} and {run.variant} "
                f"{run.point}, seed {run.spec.seed}, are the same run"
            )
    return by_id


def _called(runs: Sequence[PlannedRun]) -> str:
    names = list(dict.fromkeys(run.variant for run in runs))
    return f"{runs[0].stage} {names[0] if len(names) == 1 else f'{len(names)} variants'}"


def _defining(declared: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a declaration that defines results: no way of computing, no words."""
    base = {k: v for k, v in declared["base"].items() if k != "compute"}
    return {
        **{k: v for k, v in declared.items() if k not in ("title", "references")},
        "base": base,
    }


def choose_points(folder: StudyFolder) -> dict[str, Point]:
    """Returns, for each variant whose tuning runs are all done, the best point on validation.

    The mean over the tuning seeds of the best validation metric decides; a point with a diverged or
    pruned run loses to any without. Ties go to the first declared.
    """
    declared = folder.plan["study"]
    sign = 1.0 if declared["direction"] == "max" else -1.0
    scores: dict[str, dict[str, list[float]]] = {}
    for k, row in folder.plan["runs"].items():
        if row["stage"] == "tuning":
            result = read_json(folder.run_folder(k) / "result.json")
            points = scores.setdefault(row["variant"], {})
            values = points.setdefault(json.dumps(row["point"]), [])
            values.append(_score(result, declared["metric"], sign))
    chosen = {}
    for name, points in scores.items():
        means = {point: sum(values) / len(values) for point, values in points.items()}
        if all(value == value for value in means.values()):
            chosen[name] = json.loads(max(means, key=lambda point: means[point]))
    return chosen


def _score(result: dict[str, Any] | None, metric: str, sign: float) -> float:
    """Returns a result's validation score, higher better: NaN if missing, -inf if unfit."""
    if result is None:
        return float("nan")
    value = result["best"]["valid"].get(metric)
    unfit = result["status"] in ("diverged", "pruned")
    return -float("inf") if unfit or value is None else sign * value


# ---- what failed


class Failures:
    """What went wrong with a cohort, a line for each time.

    Args:
      folder: the cohort's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "failures.jsonl"

    def rows(self) -> list[dict[str, Any]]:
        """Returns what went wrong: `status`, `reason`, `time`."""
        return read_lines(self.path)

    def add(self, status: str, reason: str, trace: str = "") -> None:
        """Appends a line; a trace is Python's own account of an error."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        row = {"status": status, "reason": reason, "time": time.time(), "trace": trace}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def forget(self) -> None:
        """Gives the cohort its whole budget again."""
        self.path.unlink(missing_ok=True)


def forget_failures(folder: Path) -> None:
    """Gives every cohort of a study its whole budget again."""
    for path in folder.glob("cohorts/*/failures.jsonl"):
        Failures(path.parent).forget()

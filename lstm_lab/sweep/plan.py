"""Specs to cohorts, decided once and written to study.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lstm_lab.config import build_spec, to_json
from lstm_lab.errors import UserError
from lstm_lab.files import check_workdir, read_json, write_json
from lstm_lab.identity import program_key, run_id
from lstm_lab.sweep.study import PlannedRun, Point, Study, cross, variants
from lstm_lab.train.loop import Cohort, Run
from lstm_lab.train.parallel import Layout, choose_layout, fit_layout

SCHEMA = 1
MOST_LANES = 64


def declaration(study: Study) -> dict[str, Any]:
    """Returns what a study declares, as JSON-ready data; its report needs nothing else."""
    names = variants(study)
    tuning = study.tuning
    spec = build_spec({**dict(study.base), "seed": study.seeds[0]})
    declared = {
        "name": study.name,
        "title": study.title or study.name,
        "base": to_json(spec),
        "variants": names,
        "seeds": list(study.seeds),
        "baseline": study.baseline,
        "metric": spec.metric,
        "direction": spec.direction,
        "tuning": tuning
        and {
            "points": cross(tuning.axes),
            "seeds": list(tuning.seeds),
            "overrides": dict(tuning.overrides or {}),
        },
        "claims": [asdict(claim) for claim in study.claims],
    }
    return json.loads(json.dumps(declared))


class StudyFolder:
    """A study on disk: its declaration and its plan.

    Args:
      folder: STUDY.
      study: the study; the folder may hold no other.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        declared = declaration(study)
        check_workdir(folder, "study.json")
        found = read_json(folder / "study.json")
        if found is not None and _defining(found["study"]) != _defining(declared):
            raise UserError(
                f"workdir: {folder} holds another study, {found['study']['name']!r} with other "
                f"settings than {study.name!r} now has; choose another --workdir"
            )
        self.plan: dict[str, Any] = found or {
            "schema": SCHEMA,
            "study": declared,
            "runs": {},
            "cohorts": [],
            "chosen": {},
        }

    def add(self, runs: Sequence[PlannedRun], devices: int) -> list[tuple[str, Cohort]]:
        """Plans runs that are not planned yet, and returns the cohorts that hold those given.

        Args:
          runs: the runs.
          devices: local devices at hand; planned cohorts keep their layout where they can.

        Returns:
          Cohorts with their names, in the order of the plan.

        Raises:
          UserError: where two points are one run, which would count twice.
        """
        by_id: dict[str, PlannedRun] = {}
        for run in runs:
            same = by_id.setdefault(run_id(run.spec), run)
            if same is not run:
                raise UserError(
                    f"study: {same.stage} {same.variant} {same.point} and {run.variant} "
                    f"{run.point}, seed {run.spec.seed}, are the same run"
                )
        new = {k: run for k, run in by_id.items() if k not in self.plan["runs"]}
        for cid, ids, layout in _cohorts(new, devices):
            self.plan["cohorts"].append({"id": cid, "layout": asdict(layout), "runs": ids})
        for k, run in new.items():
            self.plan["runs"][k] = {
                "variant": run.variant,
                "stage": run.stage,
                "point": run.point,
                "seed": run.spec.seed,
            }
        cohorts = []
        for row in self.plan["cohorts"]:
            if any(k in by_id for k in row["runs"]):
                members = tuple(Run(by_id[k].spec, self.run_folder(k)) for k in row["runs"])
                place = self.folder / "cohorts" / row["id"] / "checkpoints"
                first = by_id[row["runs"][0]]
                size = members[0].spec.train.batch_size
                layout = fit_layout(Layout(**row["layout"]), size, devices)
                cohort = Cohort(members, layout, place)
                cohorts.append((f"{first.stage} {first.variant}", cohort))
        return cohorts

    def run_folder(self, run: str) -> Path:
        """Returns a run's folder."""
        return self.folder / "runs" / run

    def choose(self, chosen: dict[str, Point]) -> None:
        """Keeps the tuned values of variants; those chosen before stay."""
        self.plan["chosen"] = {**chosen, **self.plan["chosen"]}

    def save(self) -> None:
        """Writes study.json."""
        write_json(self.folder / "study.json", self.plan)


def _defining(declared: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of a declaration that defines results: no title, no way of computing."""
    base = {k: v for k, v in declared["base"].items() if k != "compute"}
    return {**{k: v for k, v in declared.items() if k != "title"}, "base": base}


def _cohorts(runs: dict[str, PlannedRun], devices: int) -> list[tuple[str, list[str], Layout]]:
    """Groups runs that one program can train, of one variant and stage, in their order."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for k, run in runs.items():
        groups.setdefault((run.stage, run.variant, program_key(run.spec)), []).append(k)
    cohorts = []
    for ids in groups.values():
        spec = runs[ids[0]].spec
        for first in range(0, len(ids), MOST_LANES):
            members = ids[first : first + MOST_LANES]
            cid = hashlib.sha256("".join(members).encode()).hexdigest()[:12]
            usable = min(devices, spec.compute.devices or devices)
            layout = choose_layout(len(members), spec.train.batch_size, usable)
            cohorts.append((cid, members, layout))
    return cohorts


def choose_points(folder: StudyFolder) -> dict[str, Point]:
    """Returns, for each variant whose tuning runs are all done, the best point on validation.

    The mean over the tuning seeds of the best validation metric decides; a point with a diverged
    run loses to any without. Ties go to the first declared.
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
    """Returns a result's validation score, higher better: NaN if missing, -inf if diverged."""
    if result is None:
        return float("nan")
    value = result["best"]["valid"].get(metric)
    return -float("inf") if result["status"] == "diverged" or value is None else sign * value

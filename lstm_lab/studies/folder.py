"""A study on disk: its declaration, its plan and the points that tuning chose.

study.json is the one file that several processes change; they do it under a lock. Everything else
in the folder belongs to one run or one cohort, and the cohort's lease decides who writes it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from lstm_lab.config.ids import redefinitions, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.results.intact import problems
from lstm_lab.results.plan_schema import SCHEMA
from lstm_lab.results.run_files import read_head, read_result
from lstm_lab.results.study_file import cohort_folder, read_plan, run_folder
from lstm_lab.studies.archive import RunSlot, identity, slot_of, unpack
from lstm_lab.studies.axes import Point
from lstm_lab.studies.declaration import REPORT_ONLY, declaration, results_part, with_defaults
from lstm_lab.studies.expand import PlannedRun
from lstm_lab.studies.plan import DevicePool, plan_cohorts
from lstm_lab.studies.study import Study
from lstm_lab.training.lanes import Cohort, CohortRun
from lstm_lab.training.layout import Layout, fit_layout, idle_devices, usable_devices
from lstm_lab.training.loggers.base import RunLabel
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import check_workdir, differences, locked, write_json
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON

# The weights of all runs may be gone, because someone needed the space.
MOST_NOTES = 5


class StudyFolder:
    """A study on disk.

    Args:
      folder: the study's folder.
      study: the study.

    Raises:
      UserError: if the folder holds another study, or other files.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        self.declared = declaration(study)
        self._noted: set[str] = set()
        check_workdir(folder, "study.json")
        self.plan = self._read()

    def _read(self) -> dict[str, JSON]:
        if not (self.folder / "study.json").is_file():
            return {
                "schema": SCHEMA,
                "study": self.declared,
                "runs": {},
                "cohorts": {},
                "chosen": {},
            }
        # Not replaced if it is damaged: it holds the tuned settings and the lanes of checkpoints.
        plan = read_plan(self.folder)
        now, before = results_part(self.declared), results_part(plan["study"])
        if before != now:
            before = results_part(with_defaults(plan["study"]))
        if before != now:
            raise UserError(
                f"workdir: {self.folder} holds another study; it differs in "
                f"{differences(before, now)}; choose another folder"
            )
        changed = {name: self.declared[name] for name in REPORT_ONLY}
        return {**plan, "study": {**plan["study"], **changed}}

    @contextmanager
    def locked_plan(self) -> Iterator[dict[str, JSON]]:
        """Gives the plan that is on disk now and writes it back; one process at a time."""
        with locked(self.folder / ".lock"):
            # Read again under the lock: another process may have added runs or halved lanes.
            self.plan = self._read()
            yield self.plan
            write_json(self.folder / "study.json", self.plan)

    def declare(self) -> None:
        """Writes study.json with the present plan."""
        with self.locked_plan():
            pass

    def plan_runs(
        self,
        runs: Sequence[PlannedRun],
        pool: DevicePool,
        tokens: Callable[[RunSpec], float],
        results: Path | None = None,
    ) -> list[tuple[str, Cohort]]:
        """Adds runs to the plan, unless they are there, and returns their cohorts.

        Args:
          runs: the runs.
          pool: the devices of this process. Planned cohorts keep their layout if it fits.
          tokens: the number of time steps that a run reads; not called if all runs have results.
          results: an archive whose results replace training, or None.

        Returns:
          The name and the cohort of each, in the order of the plan. Runs of a cohort that are not
          among `runs` are left out of it: the caller does not ask for them.

        Raises:
          UserError: if two points give the same run, which would count twice, or if the folder has
            the same run under another id: then a setting meant something else.
        """
        by_id = _by_id(runs)
        with self.locked_plan() as plan:
            self._refuse_earlier_meanings(by_id)
            plan["runs"] |= {k: plan_row(run) for k, run in by_id.items() if k not in plan["runs"]}
        # Between the two locks: an archive fills the folders of runs that the plan has.
        if results is not None:
            redefined = {k: redefinitions(run.spec) for k, run in by_id.items()}
            unpacked = unpack(results, self.folder, redefined)
            if unpacked:
                say(f"{unpacked} runs taken over from {results}")
        with self.locked_plan() as plan:
            # Planned cohorts stay as they are: their checkpoints depend on their lanes.
            placed = {k for row in plan["cohorts"].values() for k in row["runs"]}
            new = {k: run for k, run in by_id.items() if k not in placed}
            if not all(CohortRun(run.spec, self.run_folder(k)).done for k, run in new.items()):
                for planned in plan_cohorts(new, pool, tokens):
                    self._note_idle_devices(new[planned.runs[0]].spec, planned.layout, pool.devices)
                    plan["cohorts"][planned.id] = {
                        "layout": asdict(planned.layout),
                        "runs": planned.runs,
                    }
        cohorts = []
        for cohort_id, row in self.plan["cohorts"].items():
            members = [(k, by_id[k]) for k in row["runs"] if k in by_id]
            if members:
                name = _cohort_name([run for _, run in members])
                cohorts.append((name, self._cohort(cohort_id, members, pool.devices)))
        return cohorts

    def _note_idle_devices(self, spec: RunSpec, layout: Layout, available: int) -> None:
        """Says once for equal cohorts if a new one cannot use all devices."""
        # No error with `compute.devices`, as for a single run: how many runs are left for the last
        # cohort depends on the study.
        note = idle_devices(layout, spec.train.batch_size, usable_devices(spec, available))
        if note and note not in self._noted:
            say(note)
        self._noted.add(note)

    def _refuse_earlier_meanings(self, by_id: Mapping[str, PlannedRun]) -> None:
        """Raises UserError if the plan has a run under another id: both would count."""
        identities = {identity(plan_row(run)): k for k, run in by_id.items()}
        for k, row in self.plan["runs"].items():
            if identities.get(identity(row), k) != k:
                raise UserError(
                    f"workdir: {self.folder} holds results of an earlier version, in which a "
                    f"setting of {row['variant']} meant something else; choose another folder"
                )

    def _cohort(self, cohort_id: str, runs: list[tuple[str, PlannedRun]], devices: int) -> Cohort:
        """Returns a planned cohort with a layout for the devices of this process."""
        members = tuple(
            CohortRun(run.spec, self.run_folder(name), run.pruning_thresholds, self._label(run))
            for name, run in runs
        )
        layout = Layout(**self.plan["cohorts"][cohort_id]["layout"])
        layout = fit_layout(layout, members[0].spec.train.batch_size, devices)
        return Cohort(members, layout, self.cohort_folder(cohort_id) / "checkpoints")

    def _label(self, run: PlannedRun) -> RunLabel:
        """Returns what loggers call a run: variant, seed, and the point of a tuning run."""
        point = [f"{name}={value}" for name, value in run.point.items()]
        words = [run.variant, *(["tuning", *point] if run.stage == "tuning" else [])]
        title = ", ".join([*words, f"seed {run.spec.seed}"])
        return RunLabel(title, str(self.plan["study"]["name"]), run.variant, self.folder)

    def finished_slots(self) -> Counter[RunSlot]:
        """Names the damaged files of finished runs; returns the number of runs with a result, for
        each slot of the study.
        """
        finished: Counter[RunSlot] = Counter()
        notes: list[str] = []
        for run, row in self.plan["runs"].items():
            folder = self.run_folder(run)
            result = read_result(folder)
            if result is not None:
                redefined = (read_head(folder) or {}).get("redefined", {})
                finished[slot_of(row, redefined)] += 1
                notes += problems(folder, result, quick=True)
        for line in notes[:MOST_NOTES]:
            say(f"note: {line}")
        if len(notes) > MOST_NOTES:
            say(
                f"note: {len(notes) - MOST_NOTES} more files are missing or damaged; lstm-lab "
                f"status --workdir={self.folder} names them"
            )
        return finished

    def run_folder(self, run: str) -> Path:
        """Returns the folder of a run."""
        return run_folder(self.folder, run)

    def cohort_folder(self, cohort: str) -> Path:
        """Returns the folder of a cohort."""
        return cohort_folder(self.folder, cohort)

    def record_choice(self, chosen: dict[str, Point]) -> None:
        """Records the tuned points of variants; an earlier choice stays."""
        with self.locked_plan() as plan:
            # The first process to choose decides for all.
            plan["chosen"] = {**chosen, **plan["chosen"]}

    def with_planned_layout(self, cohort: Cohort, devices: int) -> Cohort:
        """Returns a cohort with the layout that the plan has now, for a number of devices."""
        layout = Layout(**self.plan["cohorts"][cohort.checkpoints.parent.name]["layout"])
        batch_size = cohort.runs[0].spec.train.batch_size
        return replace(cohort, layout=fit_layout(layout, batch_size, devices))

    def halve_lanes(self, cohort: Cohort) -> None:
        """Halves the lanes of a cohort that ran out of memory; at least one per device stays."""
        cohort_id = cohort.checkpoints.parent.name
        with self.locked_plan() as plan:
            layout = Layout(**plan["cohorts"][cohort_id]["layout"])
            # Spread lanes have to divide by the devices.
            unit = layout.devices if layout.kind == "members" else 1
            lanes = max(unit, layout.lanes // 2 // unit * unit)
            plan["cohorts"][cohort_id]["layout"] = asdict(replace(layout, lanes=lanes))


def plan_row(run: PlannedRun) -> dict[str, JSON]:
    """Returns the row of a run in the plan."""
    seed = run.spec.seed
    return {"variant": run.variant, "stage": run.stage, "point": run.point, "seed": seed}


def without_results(
    runs: Iterable[PlannedRun], finished: Mapping[RunSlot, int]
) -> list[PlannedRun]:
    """Returns the runs that have no result yet.

    Counted by slot, not by id: the points of final runs are not known before tuning.

    Args:
      runs: the runs of a study.
      finished: the number of results of each slot.
    """
    left = Counter(finished)
    unfinished = []
    for run in runs:
        slot = slot_of(plan_row(run), redefinitions(run.spec))
        if left[slot]:
            left[slot] -= 1
        else:
            unfinished.append(run)
    return unfinished


def _by_id(runs: Sequence[PlannedRun]) -> dict[str, PlannedRun]:
    by_id: dict[str, PlannedRun] = {}
    for run in runs:
        first = by_id.setdefault(run_id(run.spec), run)
        if first is not run:
            raise UserError(
                f"study: {first.stage} {first.variant} {first.point} and {run.variant} "
                f"{run.point}, seed {run.spec.seed}, are the same run; expected different specs"
            )
    return by_id


def _cohort_name(runs: Sequence[PlannedRun]) -> str:
    """Returns the name of a cohort on the progress bar."""
    names = list(dict.fromkeys(run.variant for run in runs))
    return f"{runs[0].stage} {names[0] if len(names) == 1 else f'{len(names)} variants'}"


def choose_points(folder: StudyFolder) -> dict[str, Point]:
    """Returns the best point on validation, for each variant whose tuning runs are all done.

    The score of a point is the mean over the tuning seeds of the best validation metric. A point
    with a diverged or pruned run loses to any point without. The first declared point wins a tie.
    """
    declared = folder.plan["study"]
    sign = 1.0 if declared["direction"] == "max" else -1.0
    scores: dict[str, dict[str, list[float]]] = {}
    for run, row in folder.plan["runs"].items():
        if row["stage"] == "tuning":
            result = read_result(folder.run_folder(run))
            points = scores.setdefault(row["variant"], {})
            values = points.setdefault(json.dumps(row["point"]), [])
            values.append(_score(result, declared["metric"], sign))
    chosen = {}
    for name, points in scores.items():
        means = {point: sum(values) / len(values) for point, values in points.items()}
        # NaN marks a missing result, and NaN != NaN: the variant is not decided yet.
        if all(mean == mean for mean in means.values()):
            chosen[name] = json.loads(max(means, key=lambda point: means[point]))
    return chosen


def _score(result: dict[str, JSON] | None, metric: str, sign: float) -> float:
    """Returns a validation score, higher is better; NaN without a result, -inf if it diverged."""
    if result is None:
        return float("nan")
    value = result["best"]["valid"].get(metric)
    excluded = result["status"] in ("diverged", "pruned")
    return -float("inf") if excluded or value is None else sign * value

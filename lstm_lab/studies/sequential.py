"""Final seeds in groups: after each group, decided variants get no more.

A group is trained as ordinary cohorts, and judged when all its runs have ended. What a look decides
is a function of the results, and is recorded in study.json before the next group is planned. So the
runs of a study do not depend on the number of processes, their timing, or kills.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lstm_lab.config.ids import run_id
from lstm_lab.results.looks import due_seeds, look_sizes, open_variants
from lstm_lab.results.run_files import read_result
from lstm_lab.studies.declaration import declaration
from lstm_lab.studies.expand import PlannedRun, final_runs
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.study import Study
from lstm_lab.utils.types import JSON


def due_runs(folder: StudyFolder, study: Study) -> list[PlannedRun]:
    """Returns the final runs of all groups so far and of the next one, trained or not.

    Args:
      folder: the study's folder.
      study: a study with looks.
    """
    return final_runs(study, folder.plan["chosen"], due_seeds(folder.plan))


def record_look(folder: StudyFolder, study: Study) -> bool:
    """Judges the next look, if all its runs have ended, and records it in study.json.

    Args:
      folder: the study's folder.
      study: a study with looks, of which every variant has final runs.

    Returns:
      Whether a further look is open. Its runs may be those of another process, which has recorded
      this look already.
    """
    with folder.locked_plan() as plan:
        opened = open_variants(plan)
        results = {
            (run.variant, run.spec.seed): read_result(folder.run_folder(run_id(run.spec)))
            for run in due_runs(folder, study)
        }
        if opened and None not in results.values():
            looks = plan.setdefault("looks", [])
            looks.append(_judge(plan, opened, study, results))
        return bool(open_variants(plan))


def decided_seeds(study: Study, rows: Iterable[dict[str, JSON]]) -> dict[str, int]:
    """Returns the number of final seeds of each variant, by the looks at archived results.

    All seeds while any look lacks results, since later looks may ask for them.

    Args:
      study: the study.
      rows: the rows of its archive.
    """
    plan: dict[str, JSON] = {"study": declaration(study), "looks": []}
    final = {(r["variant"], r["seed"]): r["result"] for r in rows if r["stage"] == "final"}
    while study.sequential is not None and (opened := open_variants(plan)):
        due = due_seeds(plan)
        if any((name, k) not in final for name in due for k in study.seeds[: due[name]]):
            return dict.fromkeys(due, len(study.seeds))
        plan["looks"].append(_judge(plan, opened, study, final))
    return due_seeds(plan)


def _judge(
    plan: dict[str, JSON],
    opened: list[str],
    study: Study,
    results: Mapping[tuple[str, int], dict[str, JSON] | None],
) -> dict[str, JSON]:
    """Returns the entry of the next look."""
    # Late: SciPy's statistics take a second, which a study without looks need not wait for.
    from lstm_lab.statistics.sequential import judge_look, nominal_levels

    assert study.sequential is not None
    declared, number = plan["study"], len(plan["looks"])
    sizes = look_sizes(declared)
    comparisons = len(declared["variants"]) - 1
    limit = nominal_levels(sizes, study.sequential.alpha / comparisons)[number]
    sign = 1.0 if declared["direction"] == "max" else -1.0

    def scores(variant: str) -> list[float]:
        ended = [results[variant, seed] or {} for seed in study.seeds[: sizes[number]]]
        tests = [r["test"].get(declared["metric"]) for r in ended if r["status"] == "completed"]
        return [sign * test for test in tests if test is not None]

    theirs = scores(declared["baseline"])
    judged = {
        name: judge_look(scores(name), theirs, limit, study.rope)._asdict() for name in opened
    }
    return {"seeds": sizes[number], "limit": limit, "variants": judged}

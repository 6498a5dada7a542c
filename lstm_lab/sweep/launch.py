"""Runs a study's cohorts, one after another, in this process."""

from __future__ import annotations

from pathlib import Path

import jax

from lstm_lab.progress import Meter, say
from lstm_lab.sweep.plan import StudyFolder, choose_points
from lstm_lab.sweep.study import PlannedRun, Study, final_runs, tuning_runs, variants
from lstm_lab.tasks import Dataset, Task
from lstm_lab.train.loop import Run, Stop, train_cohort
from lstm_lab.train.record import Status


def launch(
    study: Study, workdir: Path, data_dir: Path, stop: Stop, overrides: dict[str, str] | None = None
) -> Status:
    """Runs what is missing of a study.

    Args:
      study: the study.
      workdir: its folder.
      data_dir: where data sets are.
      stop: asks to end early, with a checkpoint.
      overrides: settings given on the command line, for the record.

    Returns:
      `completed`, `interrupted`, or `failed` where a run failed; a diverged run is a result.
    """
    devices = jax.local_device_count()
    everything = _everything(study)
    # Data that is missing is found before anything is written.
    datasets = {task: task.load(data_dir) for task in {run.spec.task for run in everything}}
    folder = StudyFolder(workdir, study)
    failed = False
    with Meter(sum(_steps(run, datasets) for run in everything)) as meter:
        for stage in ("tuning", "final") if study.tuning else ("final",):
            if stage == "final" and study.tuning:
                folder.choose(choose_points(folder))
            chosen = folder.plan["chosen"]
            runs = tuning_runs(study) if stage == "tuning" else final_runs(study, chosen)
            cohorts = folder.add(runs, devices)
            folder.save()
            for name, cohort in cohorts:
                work = float(sum(_steps(run, datasets) for run in cohort.runs))
                if all(run.done for run in cohort.runs):
                    meter.skip(work)
                    continue
                outcome = train_cohort(
                    cohort,
                    datasets[cohort.runs[0].spec.task],
                    stop=stop,
                    overrides=overrides,
                    meter=meter,
                    name=f"{name} ",
                )
                if outcome.status == "interrupted":
                    return "interrupted"
                failed = failed or outcome.status != "completed"
    undecided = set(variants(study)) - set(chosen) if study.tuning else set()
    if undecided:
        say(f"not tuned, since a run failed: {', '.join(sorted(undecided))}")
    return "failed" if failed or undecided else "completed"


def _everything(study: Study) -> list[PlannedRun]:
    """Returns all runs of a study; the final stage is as long for any tuned values."""
    tuning = tuning_runs(study)
    point = tuning[0].point if tuning else {}
    return [*tuning, *final_runs(study, dict.fromkeys(variants(study), point))]


def _steps(run: PlannedRun | Run, datasets: dict[Task, Dataset]) -> int:
    train = datasets[run.spec.task].splits.get("train")
    return run.spec.schedule_steps(None if train is None else len(train.x))[0]

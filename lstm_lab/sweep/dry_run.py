"""What a sweep would do: its runs, programs, memory, and about how long it takes."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from lstm_lab.config.ids import program_spec, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize
from lstm_lab.sweep.axes import label
from lstm_lab.sweep.plan import PlannedCohort, lane_bytes, plan_cohorts, program_flops, tokens_read
from lstm_lab.sweep.study import PlannedRun, Search, Study, final_runs, tuning_runs, variants
from lstm_lab.tasks import Dataset, Task
from lstm_lab.utils.progress import duration
from lstm_lab.utils.tables import aligned

SHOWN = 20
# Share of a matrix product's rate that training reaches: 0.3 to 0.6 in docs/benchmarks.md.
SHARE = 0.35


def preview(study: Study, data_dir: Path) -> str:
    """Returns what `lstm-lab sweep --dry_run` prints; nothing is written or compiled.

    Args:
      study: the study.
      data_dir: where data sets are.
    """
    runs = {run_id(run.spec): run for run in tuning_runs(study) or final_runs(study, {})}
    rows = [
        [name, run.stage, run.variant, label(run.point), str(run.spec.seed)]
        for name, run in list(runs.items())[:SHOWN]
    ]
    lines = [aligned([["id", "stage", "variant", "point", "seed"], *rows])]
    if len(runs) > SHOWN:
        lines.append(f"and {len(runs) - SHOWN} more")
    tasks = {run.spec.task for run in runs.values()}
    datasets = {task: task.load(data_dir) for task in tasks}
    cohorts = plan_cohorts(
        runs, jax.local_device_count(), lambda spec: tokens_read(spec, datasets[spec.task])
    )
    lines += ["", aligned(_cohort_rows(cohorts, runs)), "", _totals(cohorts, runs, datasets)]
    if study.tuning and isinstance(study.tuning.trials, Search):
        lines.append("points are searched as results come in; those above are random ones instead")
    if study.tuning and study.seeds:
        names = variants(study)
        lines.append(
            f"then, at each variant's best point: {len(names)} variants x seeds "
            f"{', '.join(map(str, study.seeds))}: {len(names) * len(study.seeds)} runs"
        )
    return "\n".join(lines)


def _cohort_rows(cohorts: list[PlannedCohort], runs: dict[str, PlannedRun]) -> list[list[str]]:
    rows = [["cohort", "variants", "runs", "hidden", "width", "lanes", "devices", "memory"]]
    for cohort in cohorts:
        members = [runs[name] for name in cohort.runs]
        sizes = {run.spec.model.hidden for run in members}
        names = list(dict.fromkeys(run.variant for run in members))
        spec = _as_computed(members[0].spec, cohort)
        rows.append(
            [
                cohort.id,
                names[0] if len(names) == 1 else f"{len(names)} variants",
                str(len(members)),
                str(min(sizes)) if len(sizes) == 1 else f"{min(sizes)}-{max(sizes)}",
                str(spec.model.hidden),
                str(cohort.layout.lanes),
                str(cohort.layout.devices),
                f"{cohort.layout.lanes * lane_bytes(spec) / 2**20:.3g} MiB",
            ]
        )
    return rows


def _totals(
    cohorts: list[PlannedCohort], runs: dict[str, PlannedRun], datasets: dict[Task, Dataset]
) -> str:
    flops = _flops(cohorts, runs, datasets)
    programs = {
        (cohort.layout, runs[cohort.runs[0]].variant, runs[cohort.runs[0]].spec.model.hidden)
        for cohort in cohorts
    }
    rate = _matmul_rate()
    took = flops / (SHARE * rate * jax.local_device_count())
    return (
        f"{len(runs)} runs in {len(cohorts)} cohorts, about {len(programs)} programs to compile; "
        f"{flops:.3g} FLOP, about {duration(took)} at {SHARE:.0%} of the {rate / 1e9:.0f} "
        "GFLOP/s of a device's matrix product, less where runs stop early"
    )


def _flops(
    cohorts: list[PlannedCohort], runs: dict[str, PlannedRun], datasets: dict[Task, Dataset]
) -> float:
    flops = 0.0
    for cohort in cohorts:
        for name in cohort.runs:
            spec = runs[name].spec
            tokens = tokens_read(spec, datasets[spec.task])
            flops += _flops_per_token(_as_computed(spec, cohort)) * tokens
    return flops


def seconds(study: Study, data_dir: Path) -> float:
    """Returns about how long a study takes on this machine's devices, all its stages together.

    Args:
      study: the study.
      data_dir: where data sets are.
    """
    tuning = tuning_runs(study)
    final = final_runs(study, {run.variant: run.point for run in tuning})
    runs = {run_id(run.spec): run for run in [*tuning, *final]}
    datasets = {task: task.load(data_dir) for task in {run.spec.task for run in runs.values()}}
    cohorts = plan_cohorts(
        runs, jax.local_device_count(), lambda spec: tokens_read(spec, datasets[spec.task])
    )
    programs = {runs[cohort.runs[0]].variant for cohort in cohorts}
    flops = _flops(cohorts, runs, datasets) + len(programs) * program_flops()
    return flops / (SHARE * _matmul_rate() * jax.local_device_count())


def _as_computed(spec: RunSpec, cohort: PlannedCohort) -> RunSpec:
    width = cohort.layout.width or spec.model.hidden
    return program_spec(replace(spec, model=replace(spec.model, hidden=width)))


@cache
def _flops_per_token(spec: RunSpec) -> float:
    return summarize(spec).training_flops_per_token


@cache
def _matmul_rate() -> float:
    """Returns the operations a second of a float32 matrix product on the first device."""
    n = 1024
    square = jnp.ones((n, n))
    product = jax.jit(jnp.dot)
    product(square, square).block_until_ready()
    best = float("inf")
    for _ in range(5):
        start = time.monotonic()
        product(square, square).block_until_ready()
        best = min(best, time.monotonic() - start)
    return 2.0 * n**3 / best

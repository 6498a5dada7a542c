"""Predicts what a sweep would do: runs, programs, memory and time. Nothing is compiled or written.

The time is FLOP divided by a measured rate: the FLOP of every run from the model's summary, the
rate from a matrix product on the first device.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from lstm_lab.config.ids import program_spec, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.summary import summarize_program
from lstm_lab.results.looks import due_seeds, look_sizes
from lstm_lab.studies.axes import label
from lstm_lab.studies.declaration import declaration
from lstm_lab.studies.expand import PlannedRun, final_runs, tuning_runs
from lstm_lab.studies.plan import (
    PlannedCohort,
    count_tokens,
    lane_bytes,
    own_pool,
    plan_cohorts,
    program_flops,
)
from lstm_lab.studies.study import Search, Study
from lstm_lab.tasks import Dataset, Task
from lstm_lab.utils.progress import duration
from lstm_lab.utils.tables import aligned

MAX_ROWS = 20
# The share of the matrix product's rate that training reaches: 0.3 to 0.6 in docs/benchmarks.md. A
# value near the lower end, because a sweep that ends early annoys nobody.
EFFICIENCY = 0.35


def preview(
    study: Study,
    data_dir: Path,
    std: float | Path | None = None,
    difference: float | None = None,
) -> str:
    """Returns the text of `lstm-lab sweep --dry-run`.

    Args:
      study: the study.
      data_dir: the folder of data sets.
      std, difference: as in `Study.power`; without `std`, differences are in standard deviations.
    """
    declared = declaration(study)
    due = due_seeds({"study": declared})
    runs = {run_id(run.spec): run for run in tuning_runs(study) or final_runs(study, {}, due)}
    rows = [
        [name, run.stage, run.variant, label(run.point), str(run.spec.seed)]
        for name, run in list(runs.items())[:MAX_ROWS]
    ]
    lines = [aligned([["id", "stage", "variant", "point", "seed"], *rows])]
    if len(runs) > MAX_ROWS:
        lines.append(f"and {len(runs) - MAX_ROWS} more")
    # Those of all stages, as if no look decided any comparison.
    final = _final_runs(study) if study.sequential is not None or study.tuning else {}
    # The overrides of tuning may change the task.
    datasets = _load_datasets({**runs, **final}, data_dir)
    cohorts = _plan(runs, datasets)
    lines += ["", aligned(_cohort_rows(cohorts, runs)), "", _totals(cohorts, runs, datasets)]
    if study.tuning and isinstance(study.tuning.trials, Search):
        lines.append("the search chooses its points from results; the points above are random ones")
    if study.tuning and study.seeds:
        lines.append(_final_line(study, study.seeds[: min(due.values())], final, datasets))
    if study.sequential is not None:
        lines.append(_looks_line(look_sizes(declared), final, datasets))
    # Where `power` has an answer; what the user asked for is refused in words.
    if std is not None or (study.rivals and not study.folds):
        lines += ["", *_power_lines(study, std, difference)]
    return "\n".join(lines)


def _final_runs(study: Study, due: Mapping[str, int] | None = None) -> dict[str, PlannedRun]:
    """Returns the final runs by id, at the last point of each variant's tuning.

    A final run costs the same at any tuned point, so the last one stands in for the best.
    """
    points = {run.variant: run.point for run in tuning_runs(study)}
    return {run_id(run.spec): run for run in final_runs(study, points, due)}


def _final_line(
    study: Study,
    seeds: Sequence[int],
    runs: dict[str, PlannedRun],
    datasets: dict[Task, Dataset],
) -> str:
    """Returns what follows the tuning; with looks, the line after it has the time."""
    count = len(study.points)
    text = (
        f"then, at the best point of each variant: {count} variants x seeds "
        f"{', '.join(map(str, seeds))}: {count * len(seeds)} runs"
    )
    if study.sequential is not None:
        return text
    return f"{text}, about {duration(_seconds(_flops(_plan(runs, datasets), runs, datasets)))}"


def _looks_line(
    sizes: list[int], runs: dict[str, PlannedRun], datasets: dict[Task, Dataset]
) -> str:
    """Returns the least and the most that the final runs of a study with looks can cost.

    Args:
      sizes: the number of seeds of a variant at each look.
      runs: the final runs, if no look decides any comparison.
      datasets: the data sets of these runs.
    """
    most = _seconds(_flops(_plan(runs, datasets), runs, datasets))
    least = len({run.variant for run in runs.values()}) * sizes[0]
    return (
        f"looks after {', '.join(map(str, sizes))} seeds: {least} final runs, about "
        f"{duration(most * least / len(runs))}, if the first look decides every comparison; "
        f"{len(runs)}, about {duration(most)}, if none decides any"
    )


def _power_lines(study: Study, std: float | Path | None, difference: float | None) -> list[str]:
    """Returns which differences to the baseline the final seeds can find."""
    if std is not None:
        return [repr(study.power(std, difference))]
    if len(study.seeds) < 2:
        return []
    effect = study.power(1.0, 1.0).detectable
    return [
        f"{len(study.seeds)} seeds find a difference of {effect:.2g} standard deviations from the "
        f"baseline {study.baseline} with probability 0.8; --std tells the seeds that one needs"
    ]


def _load_datasets(runs: Mapping[str, PlannedRun], data_dir: Path) -> dict[Task, Dataset]:
    return {task: task.load(data_dir) for task in {run.spec.task for run in runs.values()}}


def _plan(runs: Mapping[str, PlannedRun], datasets: dict[Task, Dataset]) -> list[PlannedCohort]:
    return plan_cohorts(runs, own_pool(), lambda spec: count_tokens(spec, datasets[spec.task]))


def _cohort_rows(cohorts: list[PlannedCohort], runs: dict[str, PlannedRun]) -> list[list[str]]:
    rows = [["cohort", "variants", "runs", "hidden", "width", "lanes", "devices", "memory"]]
    for cohort in cohorts:
        members = [runs[name] for name in cohort.runs]
        sizes = {run.spec.model.hidden for run in members}
        names = list(dict.fromkeys(run.variant for run in members))
        spec = _padded_spec(members[0].spec, cohort)
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
    # Cohorts of one layout, variant and width run the same program, compiled once.
    programs = {
        (cohort.layout, runs[cohort.runs[0]].variant, runs[cohort.runs[0]].spec.model.hidden)
        for cohort in cohorts
    }
    rate = _matmul_rate()
    return (
        f"{len(runs)} runs in {len(cohorts)} cohorts, about {len(programs)} programs to compile; "
        f"{flops:.3g} FLOP, about {duration(_seconds(flops))} at {EFFICIENCY:.0%} of the "
        f"{rate / 1e9:.0f} GFLOP/s of a device's matrix product, less if runs stop early"
    )


def _flops(
    cohorts: list[PlannedCohort], runs: dict[str, PlannedRun], datasets: dict[Task, Dataset]
) -> float:
    """Returns the FLOP of training all runs to their last step, padding included."""
    flops = 0.0
    for cohort in cohorts:
        for name in cohort.runs:
            spec = runs[name].spec
            tokens = count_tokens(spec, datasets[spec.task])
            summary = summarize_program(_padded_spec(spec, cohort))
            flops += summary.training_flops_per_token * tokens
    return flops


def estimate_seconds(study: Study, data_dir: Path, due: Mapping[str, int] | None = None) -> float:
    """Returns the estimated time of all stages of a study on this machine's devices, in seconds.

    Args:
      study: the study.
      data_dir: the folder of data sets.
      due: as in `final_runs`.
    """
    tuning = {run_id(run.spec): run for run in tuning_runs(study)}
    runs = {**tuning, **_final_runs(study, due)}
    datasets = _load_datasets(runs, data_dir)
    cohorts = _plan(runs, datasets)
    # Both stages of a variant share a program: only the first compiles it.
    programs = {runs[cohort.runs[0]].variant for cohort in cohorts}
    flops = _flops(cohorts, runs, datasets) + len(programs) * program_flops(own_pool().type)
    return _seconds(flops)


def _seconds(flops: float) -> float:
    """Returns the time of so much training on all devices."""
    return flops / (EFFICIENCY * _matmul_rate() * own_pool().devices)


def _padded_spec(spec: RunSpec, cohort: PlannedCohort) -> RunSpec:
    """Returns a spec at the width at which its cohort computes it, padding included."""
    width = cohort.layout.width or spec.model.hidden
    return program_spec(replace(spec, model=replace(spec.model, hidden=width)))


@cache
def _matmul_rate() -> float:
    """Returns the FLOP/s of a float32 matrix product on the first device."""
    # Large enough that dispatch costs nothing, small enough to take milliseconds on a laptop.
    n = 1024
    square = jnp.ones((n, n))
    product = jax.jit(jnp.dot)
    product(square, square).block_until_ready()
    # The fastest of five: other processes can only make a measurement slower.
    best = float("inf")
    for _ in range(5):
        start = time.monotonic()
        product(square, square).block_until_ready()
        best = min(best, time.monotonic() - start)
    return 2.0 * n**3 / best

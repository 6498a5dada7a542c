"""The programs of a run or of a whole study, each compiled once for a target.

In: a spec or a study, its data, a target. Out: a `ProgramReport` for each program, with the number
of runs that share it. Runs share a program if `build_program` gives them the same one, so axes and
tuned numbers that are arguments of the program do not multiply. Read `report.py` next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from lstm_lab.compilation.build import build
from lstm_lab.compilation.costs import StepCost, step_cost
from lstm_lab.compilation.kernels import read_program
from lstm_lab.compilation.launches import StepLaunches, step_launches
from lstm_lab.compilation.memory import MemoryUse, memory_use
from lstm_lab.compilation.targets import Target
from lstm_lab.config.ids import program_spec, run_id
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.recurrence import Backend
from lstm_lab.results.looks import due_seeds
from lstm_lab.studies.declaration import declaration
from lstm_lab.studies.expand import PlannedRun, final_runs, tuning_runs
from lstm_lab.studies.plan import PlannedCohort, count_tokens, plan_cohorts
from lstm_lab.studies.study import Study, study_of_seeds
from lstm_lab.tasks import Dataset, Task
from lstm_lab.training.layout import Layout, run_layout
from lstm_lab.training.optimizer import schedule_length
from lstm_lab.utils.errors import UserError

ProgramKey = tuple[RunSpec, float, Layout]


class PlannedProgram(NamedTuple):
    """A program and what it trains.

    Attributes:
      spec: the first of its runs.
      layout: how a cohort lies on the devices of one process.
      variants: names of the variants that it trains.
      runs: the number of runs.
      steps: optimizer steps of all its cohorts, one after another.

    Example:
      study_programs(study, datasets, target)[0].runs  # 30
    """

    spec: RunSpec
    layout: Layout
    variants: tuple[str, ...]
    runs: int
    steps: int


class ProgramReport(NamedTuple):
    """What the compiler says about a program.

    Attributes:
      program: what was compiled.
      backends: those of the layers; () if none supports the run on this target.
      seconds: the time of compiling training and evaluation, on this machine.
      refused: why it does not compile, or "".
      memory, launches, cost: None if it does not compile.

    Example:
      report.memory is not None and report.memory.fits
    """

    program: PlannedProgram
    backends: tuple[Backend, ...]
    seconds: float
    refused: str = ""
    memory: MemoryUse | None = None
    launches: StepLaunches | None = None
    cost: StepCost | None = None

    @property
    def fits(self) -> bool:
        """Whether it compiles and the chip has room for it."""
        return self.memory is not None and self.memory.fits

    @property
    def bound(self) -> float | None:
        """The least seconds of all steps of its cohorts, one after another; None if unknown.

        Runs that stop early need fewer steps.
        """
        if self.cost is None or self.cost.seconds is None:
            return None
        return self.program.steps * self.cost.seconds


def run_program(spec: RunSpec, dataset: Dataset, target: Target) -> PlannedProgram:
    """Returns the program of a single run.

    Args:
      spec: the run.
      dataset: the data of its task.
      target: the machine. The run uses all its hosts.

    Raises:
      UserError: for a batch that several hosts or `compute.devices` cannot share, or
        `compute.devices` on several hosts.

    Example:
      run_program(spec, dataset, find_target("v5e-4")).layout.kind  # "batch"
    """
    layout = run_layout(spec, target.pool.devices * target.hosts, target.hosts)
    steps, _ = spec.schedule_steps(dataset.splits.get("train"))
    return PlannedProgram(spec, layout, (spec.model.cell,), 1, steps)


def seed_programs(
    spec: RunSpec, dataset: Dataset, target: Target, seeds: int
) -> list[PlannedProgram]:
    """Returns the programs of several seeds of a run, which training plans as a study.

    Args:
      spec: the run.
      dataset: the data of its task.
      target: the machine.
      seeds: their number.

    Raises:
      UserError: for a machine of several hosts, which train one run together.

    Example:
      len(seed_programs(spec, dataset, find_target("v5e-4"), 100))  # 2: 64 seeds, then 36
    """
    if target.hosts > 1:
        raise UserError(
            f"--seeds: got {seeds}, expected none with {target.name}: its {target.hosts} hosts "
            "train one run; `--study` gives each host its own runs"
        )
    return study_programs(study_of_seeds("seeds", spec, seeds), {spec.task: dataset}, target)


def study_programs(
    study: Study, datasets: Mapping[Task, Dataset], target: Target
) -> list[PlannedProgram]:
    """Returns the programs of all stages of a study, in the order of its plan.

    Args:
      study: the study.
      datasets: the data of all its tasks, see `study_runs`.
      target: the machine. Its hosts share the cohorts; each program is that of one host.

    Example:
      len(study_programs(study, datasets, find_target("v5e-4")))  # 4
    """
    programs: dict[ProgramKey, PlannedProgram] = {}
    for runs in study_runs(study):
        cohorts = plan_cohorts(
            runs, target.pool, lambda spec: count_tokens(spec, datasets[spec.task])
        )
        for cohort in cohorts:
            new = _program_of(cohort, runs, datasets)
            key = _key(new, datasets[new.spec.task])
            programs[key] = _joined(programs[key], new) if key in programs else new
    return list(programs.values())


def study_runs(study: Study) -> list[dict[str, PlannedRun]]:
    """Returns the runs of each stage of a study, by id.

    A final run has the program of any tuned point, so the last point stands in for the best.

    Example:
      [len(runs) for runs in study_runs(study)]  # [40, 20]
    """
    tuning = {run_id(run.spec): run for run in tuning_runs(study)}
    points = {run.variant: run.point for run in tuning.values()}
    due = due_seeds({"study": declaration(study)})
    final = {run_id(run.spec): run for run in final_runs(study, points, due)}
    return [runs for runs in (tuning, final) if runs]


def load_datasets(runs: list[dict[str, PlannedRun]], data_dir: Path) -> dict[Task, Dataset]:
    """Reads the data of all runs, whose shapes are those of the programs.

    Example:
      datasets = load_datasets(study_runs(study), folder)
    """
    tasks = {run.spec.task for stage in runs for run in stage.values()}
    return {task: task.load(data_dir) for task in tasks}


def compile_programs(
    programs: Sequence[PlannedProgram],
    datasets: Mapping[Task, Dataset],
    target: Target,
    devices: Sequence[jax.Device],
) -> Iterator[ProgramReport]:
    """Compiles programs one after another.

    Args:
      programs: from `run_program` or `study_programs`.
      datasets: the data of their tasks.
      target: the machine.
      devices: from `topologies.devices_of`.

    Yields:
      The report of each, as soon as it is there.

    Example:
      reports = list(compile_programs(programs, datasets, target, devices_of(target)))
    """
    for program in programs:
        yield _compile(program, datasets[program.spec.task], target, devices)


def _compile(
    program: PlannedProgram, dataset: Dataset, target: Target, devices: Sequence[jax.Device]
) -> ProgramReport:
    spec, layout = program.spec, program.layout
    try:
        backends = tuple(layout.backends(spec, target.pool.type))
    except UserError as error:
        return ProgramReport(program, (), 0.0, str(error))
    built = build(spec, layout, dataset, devices)
    if built.run_chunk is None:
        return ProgramReport(program, backends, built.seconds, built.refused)
    # A TPU computes single numbers next to its kernels; a GPU launches a kernel for each.
    scalars = target.pool.type.platform == "gpu"
    text = built.run_chunk.as_text()
    assert text is not None, "every compiler gives its program as text"
    launches = step_launches(read_program(text), scalars)
    cost = step_cost(spec, layout, dataset, built, launches.total, target.chip)
    memory = memory_use(built, layout, dataset, target.pool.memory)
    return ProgramReport(program, backends, built.seconds, "", memory, launches, cost)


def _program_of(
    cohort: PlannedCohort, runs: Mapping[str, PlannedRun], datasets: Mapping[Task, Dataset]
) -> PlannedProgram:
    members = [runs[name] for name in cohort.runs]
    steps = [
        run.spec.schedule_steps(datasets[run.spec.task].splits.get("train"))[0] for run in members
    ]
    # Runs take the lanes in turn: the last one ends when the mean lane does, or later.
    in_turn = max(max(steps), -(-sum(steps) // cohort.layout.lanes))
    variants = tuple(dict.fromkeys(run.variant for run in members))
    return PlannedProgram(members[0].spec, cohort.layout, variants, len(members), in_turn)


def _joined(first: PlannedProgram, second: PlannedProgram) -> PlannedProgram:
    return first._replace(
        variants=tuple(dict.fromkeys((*first.variants, *second.variants))),
        runs=first.runs + second.runs,
        steps=first.steps + second.steps,
    )


def _key(program: PlannedProgram, dataset: Dataset) -> ProgramKey:
    """Returns what is equal for runs to which `build_program` gives the same program."""
    total, _ = program.spec.schedule_steps(dataset.splits.get("train"))
    spec = program_spec(program.layout.widen(program.spec))
    return spec, schedule_length(program.spec, total), program.layout

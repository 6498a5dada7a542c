"""The verb `compile`: what a TPU or GPU that is not here would say about a run or a study.

In: flags. Out: an exit code and a printed report. Read `compilation/programs.py` next.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lstm_lab.cli.options import (
    COUNT,
    config_argument,
    data_dir,
    flag,
    switch,
    trust_code,
)
from lstm_lab.utils.errors import DONE, FAILED, UserError

if TYPE_CHECKING:
    from lstm_lab.cli.settings import Settings
    from lstm_lab.compilation.programs import PlannedProgram
    from lstm_lab.compilation.targets import Target
    from lstm_lab.studies.study import Study
    from lstm_lab.tasks import Dataset, Task

TARGET_HELP = (
    "The machine to compile for, e.g. --target=v5e-4: cpu, a slice of a TPU pod (v5e-N, v5p-N, "
    "v6e-N), or NVIDIA GPUs (h100, h100-8, a100)."
)


@click.command(
    "compile",
    epilog="""\b
Examples:
  lstm-lab compile digits:lstm --target=v5e-4
  lstm-lab compile ptb --target=h100 --seeds=64 --json
  lstm-lab compile --study=digits_ablation --target=v5p-8""",
)
@config_argument
@flag(
    "--study", "Compiles every program of a study, e.g. --study=digits_ablation.", metavar="STUDY"
)
@flag("--target", TARGET_HELP, metavar="TARGET", required=True)
@flag("--seeds", "Compiles one program for N seeds, e.g. --seeds=5.", metavar="N", type=COUNT)
@data_dir
@switch("--json", "Prints the report as JSON, e.g. --json.")
@trust_code
@click.pass_obj
def compile_(
    settings: Settings,
    config: str | None,
    config_flag: str | None,
    study: str | None,
    target: str,
    seeds: int | None,
    data_dir: Path | None,
    json: bool,
    trust_code: bool,
) -> int:
    """Compiles a run or a study for a TPU or GPU that is not here.

    Prints whether it compiles and fits: memory, kernels, communication, a lower bound of the time.
    Nothing runs. Exits with 1 if something does not fit.
    """
    from lstm_lab.cli.settings import spec_of
    from lstm_lab.studies.load import load_study
    from lstm_lab.tasks.readers.download import use_data_dir

    name = config if config_flag is None else config_flag
    if (name is None) == (study is None) or (config is not None and config_flag is not None):
        raise UserError("compile: expected one of CONFIG (lstm-lab list configs) and --study")
    if study is not None and seeds is not None:
        raise UserError("--seeds: a study declares its seeds")
    compile_on_cpu()
    folder = use_data_dir(data_dir)
    if study is not None:
        return compile_study(load_study(study, None), target, folder, as_json=json)
    assert name is not None
    from lstm_lab.compilation.programs import run_program
    from lstm_lab.compilation.targets import find_target

    machine = find_target(target)
    spec = spec_of(name, settings, trust_code)
    datasets = {spec.task: spec.task.load(folder)}
    program = run_program(spec, datasets[spec.task], machine, seeds or 1)
    return _compile([program], datasets, machine, as_json=json)


def compile_on_cpu() -> None:
    """Keeps JAX from opening a TPU or GPU of this machine: the compilers need none."""
    import jax

    from lstm_lab.training.devices import prepare_devices

    jax.config.update("jax_platforms", "cpu")
    prepare_devices()


def compile_study(study: Study, target: str, folder: Path, as_json: bool = False) -> int:
    """Compiles all programs of a study and prints the report; returns an exit code.

    Args:
      study: the study.
      target: the name of a machine.
      folder: the folder of data sets.
      as_json: whether to print JSON.
    """
    from lstm_lab.compilation.programs import load_datasets, study_programs, study_runs
    from lstm_lab.compilation.targets import find_target

    machine = find_target(target)
    datasets = load_datasets(study_runs(study), folder)
    return _compile(study_programs(study, datasets, machine), datasets, machine, as_json=as_json)


def _compile(
    programs: list[PlannedProgram],
    datasets: Mapping[Task, Dataset],
    machine: Target,
    as_json: bool,
) -> int:
    import json

    from lstm_lab.compilation import report
    from lstm_lab.compilation.programs import compile_programs
    from lstm_lab.utils.progress import Meter

    reports = []
    with Meter(len(programs), "programs") as meter:
        for compiled in compile_programs(programs, datasets, machine):
            reports.append(compiled)
            meter.advance(1, f"compiling for {machine.name}")
    if as_json:
        print(json.dumps(report.as_json(reports, machine), indent=2))
    else:
        # A file or a pipe has no width of its own: it gets the table.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
        print(report.as_text(reports, machine, width))
    return DONE if all(compiled.fits for compiled in reports) else FAILED

"""The verb `compile`: what the compiler of an absent TPU or GPU says about a run or a study.

In: flags. Out: an exit code and a printed report. Read `compilation/programs.py` next.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lstm_lab.cli.options import COUNT, config_argument, data_dir, flag, switch, trust_code
from lstm_lab.utils.errors import DONE, FAILED, UserError

if TYPE_CHECKING:
    import jax

    from lstm_lab.cli.settings import Settings
    from lstm_lab.compilation.programs import PlannedProgram
    from lstm_lab.compilation.targets import Target
    from lstm_lab.studies.study import Study
    from lstm_lab.tasks import Dataset, Task

TARGET_HELP = (
    "The machine to compile for, e.g. --target=v5e-4: cpu, a slice of a TPU pod (v5e-N, v5p-N, "
    "v6e-N), or NVIDIA GPUs (h100, h100-8, a100)."
)


@dataclass(frozen=True)
class CompileFlags:
    """The flags of `compile` that say what is compiled, and how the report is written."""

    config: str | None
    config_flag: str | None
    study: str | None
    all: bool
    seeds: int | None
    out: Path | None
    json: bool
    trust_code: bool

    @property
    def config_name(self) -> str | None:
        """The config, by argument or by flag."""
        return self.config if self.config_flag is None else self.config_flag

    def check(self, settings: Settings) -> None:
        """Raises a UserError for flags that exclude each other, or that nothing would read.

        Args:
          settings: the settings `--config.PATH=VALUE`.
        """
        chosen = {
            "CONFIG": self.config,
            "--config": self.config_flag,
            "--study": self.study,
            "--all": self.all or None,
        }
        names = [name for name, value in chosen.items() if value is not None]
        if len(names) != 1:
            raise UserError(
                f"compile: got {' and '.join(names) or 'nothing'}, expected one of CONFIG "
                "(lstm-lab list configs), --study and --all"
            )
        if self.all and self.out is None:
            raise UserError("--all: got no --out, expected --out=FILE as well, e.g. v5e.jsonl")
        if self.all and self.json:
            raise UserError("--json: got --all, expected no --json: --out has its rows as JSON")
        if self.out is not None and not self.all:
            raise UserError(f"--out: got {self.out}, expected --all as well")
        # A study and the configs of --all are compiled as they are declared.
        read_by_config = {
            **{f"--config.{path}": text or "true" for path, text in settings.items()},
            "--seeds": self.seeds,
            "--trust-code": self.trust_code or None,
        }
        for name, value in read_by_config.items():
            if value is not None and self.config_name is None:
                raise UserError(f"{name}: got {value}, expected a CONFIG as well")


@click.command(
    "compile",
    epilog="""\b
Examples:
  lstm-lab compile digits:lstm --target=v5e-4
  lstm-lab compile ptb --target=h100 --seeds=64 --json
  lstm-lab compile --study=digits_ablation --target=v5p-8
  lstm-lab compile --all --target=v5e-1 --out=v5e.jsonl""",
)
@config_argument
@flag(
    "--study", "Compiles every program of a study, e.g. --study=digits_ablation.", metavar="STUDY"
)
@switch("--all", "Compiles every config and every variant, one row of --out each, e.g. --all.")
@flag("--target", TARGET_HELP, metavar="TARGET")
@flag("--seeds", "Compiles the programs of N seeds, e.g. --seeds=5.", metavar="N", type=COUNT)
@flag(
    "--out",
    "With --all, a file of JSON lines; rows that it has are kept, e.g. --out=v5e.jsonl.",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
)
@data_dir
@switch("--json", "Prints the report as JSON, e.g. --json.")
@trust_code
@click.pass_obj
def compile_(settings: Settings, /, target: str | None, data_dir: Path | None, **flags: Any) -> int:
    """Compiles a run or a study for a TPU or GPU that is not here.

    Prints whether it compiles and fits: memory, kernels, communication, a lower bound of the time.
    Nothing runs. Exits with 1 if something does not fit.
    """
    from lstm_lab.tasks.readers.download import use_data_dir

    selection = CompileFlags(**flags)
    selection.check(settings)
    if target is None:
        raise UserError("--target is required: cpu, v5e-4, h100 or another machine")
    machine, devices = describe_target(target)
    folder = use_data_dir(data_dir)
    if selection.out is not None:
        return _survey(machine, devices, folder, selection.out)
    if selection.study is not None:
        from lstm_lab.studies.load import load_study

        study = load_study(selection.study, None)
        return compile_study(study, machine, devices, folder, as_json=selection.json)
    from lstm_lab.cli.settings import spec_of
    from lstm_lab.compilation.programs import run_program, seed_programs

    spec = spec_of(str(selection.config_name), settings, selection.trust_code)
    datasets = {spec.task: spec.task.load(folder)}
    if selection.seeds is None:
        programs = [run_program(spec, datasets[spec.task], machine)]
    else:
        programs = seed_programs(spec, datasets[spec.task], machine, selection.seeds)
    return _compile(programs, datasets, machine, devices, as_json=selection.json)


def describe_target(name: str, count: int | None = None) -> tuple[Target, tuple[jax.Device, ...]]:
    """Returns a machine and the descriptions of its devices.

    JAX is kept from opening a TPU or GPU of this machine: the compilers need none.

    Args:
      name: of the target.
      count: the number of CPU devices for the target `cpu`; None takes all cores.

    Raises:
      UserError: for an unknown name, or for a count with another target.
    """
    import jax

    from lstm_lab.compilation.targets import find_target
    from lstm_lab.compilation.topologies import devices_of
    from lstm_lab.training.devices import prepare_devices

    jax.config.update("jax_platforms", "cpu")
    prepare_devices(count)
    machine = find_target(name)
    if count is not None and machine.chip is not None:
        raise UserError(
            f"--devices: got {count}, expected none with --target={name}, whose name says how many"
        )
    return machine, devices_of(machine)


def compile_study(
    study: Study,
    machine: Target,
    devices: Sequence[jax.Device],
    folder: Path,
    as_json: bool = False,
) -> int:
    """Compiles all programs of a study and prints the report; returns an exit code.

    Args:
      study: the study.
      machine, devices: from `describe_target`.
      folder: the folder of data sets.
      as_json: whether to print JSON.
    """
    from lstm_lab.compilation.programs import load_datasets, study_programs, study_runs

    datasets = load_datasets(study_runs(study), folder)
    programs = study_programs(study, datasets, machine)
    return _compile(programs, datasets, machine, devices, as_json=as_json)


def _compile(
    programs: Sequence[PlannedProgram],
    datasets: Mapping[Task, Dataset],
    machine: Target,
    devices: Sequence[jax.Device],
    as_json: bool,
) -> int:
    from lstm_lab.compilation import report
    from lstm_lab.compilation.programs import compile_programs
    from lstm_lab.utils.progress import Meter

    reports = []
    with Meter(len(programs), "programs") as meter:
        for compiled in compile_programs(programs, datasets, machine, devices):
            reports.append(compiled)
            meter.advance(1, f"compiling for {machine.name}")
    if as_json:
        print(json.dumps(report.as_json(reports, machine), indent=2))
    else:
        # A file or a pipe has no width of its own: it gets the table.
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        print(report.as_text(reports, machine, width))
    return DONE if all(one.fits for one in reports) else FAILED


def _survey(machine: Target, devices: Sequence[jax.Device], folder: Path, out: Path) -> int:
    """Adds the rows that a file lacks; returns an exit code."""
    from lstm_lab.compilation import survey
    from lstm_lab.utils.files import write_lines
    from lstm_lab.utils.progress import say

    rows = survey.read_survey(out)
    done = {row["name"] for row in rows if row["target"] == machine.name and survey.is_final(row)}
    for row in survey.survey(machine, devices, folder, done):
        earlier = {"name": row["name"], "target": row["target"]}.items()
        rows = [*(old for old in rows if not earlier <= old.items()), row]
        # Whole after each row: a survey takes half an hour, and resumes where it was stopped.
        write_lines(out, rows)
        say(f"{row['name']}: {row['refused'] or 'compiles'}")
    own = [row for row in rows if row["target"] == machine.name]
    print(survey.survey_table(own))
    say(f"{len(own)} of {len(survey.survey_names())} rows of {machine.name} are in {out}")
    return DONE if all(map(survey.fits, own)) else FAILED

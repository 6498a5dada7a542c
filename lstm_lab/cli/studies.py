"""Verbs of studies: sweep, compare, status, report, pack; `reproductions.py` has reproduce.

In: flags. Out: an exit code, a study's folder and its report. `api/training.py` trains in this
process, `workers.py` in others. `report`, `status` and `pack` need no JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from lstm_lab.cli.compilation import TARGET_HELP, compile_study, describe_target
from lstm_lab.cli.finished_runs import folder_argument, one_folder
from lstm_lab.cli.options import (
    COUNT,
    Folder,
    OneOf,
    data_dir,
    devices,
    flag,
    kubernetes,
    log,
    named_argument,
    one_of,
    switch,
    workdir,
)
from lstm_lab.utils.errors import DONE, FAILED, UserError


@dataclass(frozen=True)
class SweepFlags:
    """The flags that `sweep` and `reproduce` share; their help texts are in `sweep_flags`."""

    workdir: Path | None
    data_dir: Path | None
    devices: int | None
    jobs: int | None
    dry_run: bool
    target: str | None
    std: str | None
    difference: float | None
    trials: int | None
    results: Path | None
    rerun: str | None
    log: str | None
    launcher: str
    slurm: str
    emit: str | None
    kubernetes: str | None
    worker: bool

    @property
    def trains_here(self) -> bool:
        """Whether the command itself waits for results."""
        return not (self.dry_run or self.emit or self.launcher == "slurm")

    def check_read(self) -> None:
        """Raises a UserError for flags that nothing would read."""
        for name, value, needed, given in (
            ("--target", self.target, "--dry-run", self.dry_run),
            ("--std", self.std, "--dry-run", self.dry_run),
            # With --target, --dry-run compiles programs and counts no seeds.
            ("--std", self.std, "--dry-run without --target", self.target is None),
            ("--difference", self.difference, "--std", self.std is not None),
            ("--kubernetes", self.kubernetes, "--emit=kubernetes", self.emit == "kubernetes"),
        ):
            if value is not None and not given:
                raise UserError(f"{name}: got {value}, expected {needed} as well")


# What --dry-run needs to say how many seeds a difference takes.
POWER = (
    flag(
        "--std",
        "With --dry-run: the standard deviation of the metric over seeds, or an earlier "
        "study (its folder, or an archive of `pack`), e.g. --std=0.01.",
        metavar="NUMBER|DIR|FILE",
    ),
    flag(
        "--difference",
        "With --dry-run and --std: the difference that matters, e.g. --difference=0.02. By "
        "default the study's rope.",
        metavar="NUMBER",
        type=float,
    ),
)

# The flags that choose how processes start.
PLACE = (
    flag(
        "--launcher",
        "Where the processes start, e.g. --launcher=slurm.",
        type=OneOf(["local", "slurm"]),
        default="local",
        show_default=True,
    ),
    flag(
        "--slurm",
        "Options of the SLURM job, e.g. --slurm=timeout_min=60,cpus_per_task=4.",
        metavar="NAME=VALUE,...",
        default="",
    ),
    flag(
        "--emit",
        "Prints the command of each process, or a Job for Kubernetes, and starts nothing, e.g. "
        "--emit=kubernetes.",
        type=OneOf(["commands", "kubernetes"]),
    ),
    kubernetes,
)


def sweep_flags(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Declares the flags of `SweepFlags`."""
    for declare in reversed(
        (
            workdir,
            data_dir,
            devices,
            flag(
                "--jobs",
                "Divides the cores among N processes, e.g. --jobs=2.",
                metavar="N",
                type=COUNT,
            ),
            switch(
                "--dry-run",
                "Prints runs, programs, memory and time, and which differences the seeds can find, "
                "e.g. --dry-run.",
            ),
            flag("--target", f"With --dry-run. {TARGET_HELP}", metavar="TARGET"),
            *POWER,
            flag(
                "--trials",
                "The number of random trials per variant, e.g. --trials=50, for a study that "
                "accepts it.",
                metavar="N",
                type=COUNT,
            ),
            flag(
                "--results",
                "An archive of `pack` whose results replace training, e.g. "
                "--results=study.jsonl.gz.",
                metavar="FILE",
                type=click.Path(path_type=Path, exists=True, dir_okay=False),
            ),
            flag(
                "--rerun",
                "Tries failed runs again, e.g. --rerun=failed.",
                type=OneOf(["failed"]),
            ),
            log,
            *PLACE,
            click.option("--worker", is_flag=True, hidden=True),
        )
    ):
        verb = declare(verb)
    return verb


@click.command(
    epilog="""\b
Examples:
  lstm-lab sweep digits_ablation --dry-run
  lstm-lab sweep my_study.py --workdir=runs/mine --jobs=2"""
)
@named_argument("study", "studies")
@click.option(
    "--study", "study_flag", metavar="STUDY", help="The same as STUDY, e.g. --study=my_study.py."
)
@sweep_flags
def sweep(study: str | None, study_flag: str | None, **flags: Any) -> int:
    """Runs what is missing of a study.

    STUDY is a name (lstm-lab list studies), or a file with get_study().
    """
    name = one_of(study, study_flag, "study", "a name (lstm-lab list studies), or FILE.py")
    return run_sweep(name, SweepFlags(**flags))


def run_sweep(name: str, flags: SweepFlags) -> int:
    """Does what the flags of `sweep` say; returns an exit code.

    Args:
      name: a study's name, or FILE.py.
      flags: the flags.
    """
    from lstm_lab.cli import workers
    from lstm_lab.studies.load import load_study
    from lstm_lab.tasks.readers.download import use_data_dir
    from lstm_lab.training.loggers.choose import find_loggers, logging_to

    flags.check_read()
    in_process = not (flags.jobs or flags.launcher == "slurm" or flags.emit)
    # Before workers start: a wrong name is then one error here, and not one in each log.
    if not in_process:
        find_loggers(flags.log)
    # A parent that only starts workers must not claim the cores for its own JAX.
    if in_process:
        from lstm_lab.training.devices import prepare_devices

        prepare_devices(flags.devices)
    data = use_data_dir(flags.data_dir)
    study = load_study(name, flags.trials)
    folder = flags.workdir or Path(f"runs/{study.name}")
    if flags.target:
        return compile_study(study, *describe_target(flags.target, flags.devices), data)
    if flags.dry_run:
        from lstm_lab.studies.dry_run import preview

        print(preview(study, data, _number_or_path(flags.std), flags.difference))
        return DONE
    # After the preview and not with the commands, which must not change anything on disk.
    if flags.rerun and not flags.emit:
        from lstm_lab.studies.failures import clear_failures
        from lstm_lab.studies.folder import StudyFolder

        # Not the failures of another study.
        StudyFolder(folder, study)
        clear_failures(folder)
    if not in_process:
        return workers.start(study, name, folder, data, replace(flags, workdir=folder))
    from lstm_lab.api.training import sweep_study

    with logging_to(flags.log):
        status = sweep_study(study, folder, data, results=flags.results)
    # Also after failures, which the report names. Not in workers: all would write the same files.
    if not flags.worker:
        print(workers.report_text(folder))
    return DONE if status == "completed" else FAILED


def _number_or_path(text: str | None) -> float | Path | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return Path(text)


@click.command(
    epilog="""\b
Examples:
  lstm-lab compare my_cell.py:mine --tasks=adding_50,digits --budget=4
  lstm-lab compare gru --against=peephole --budget=2h"""
)
@named_argument("cell", "variants", required=True)
@flag(
    "--against",
    "The variant to compare with, e.g. --against=vanilla.",
    metavar="VARIANT",
    default="lstm",
    show_default=True,
)
@flag(
    "--tasks",
    "Tasks of the battery, e.g. --tasks=adding_50,digits, or a group, --tasks=state_tracking. By "
    "default all tasks without a group whose data are there.",
    metavar="A,B",
    default="",
)
@flag(
    "--budget",
    "Learning rates that each cell tries on each task, e.g. --budget=4; or hours for everything, "
    "e.g. --budget=2h.",
    metavar="N|HOURSh",
    default="8",
    show_default=True,
)
@workdir
@data_dir
@devices
@log
def compare(
    cell: str,
    against: str,
    tasks: str,
    budget: str,
    workdir: Path | None,
    data_dir: Path | None,
    devices: int | None,
    log: str | None,
) -> int:
    """Compares a cell with a baseline on several tasks.

    CELL is FILE.py:NAME, or the name of a variant. Its gradients are checked first. Both cells get
    the same tuning budget, about the same number of parameters, and the same five new seeds.
    """
    from lstm_lab.api.training import compare_cells, comparison_folder
    from lstm_lab.config.cell_source import cell_name
    from lstm_lab.tasks.readers.download import use_data_dir
    from lstm_lab.training.devices import prepare_devices
    from lstm_lab.training.loggers.choose import logging_to

    prepare_devices(devices)
    name = cell_name(cell)
    folder = workdir or comparison_folder(name, against, budget)
    chosen = [task for task in tasks.split(",") if task]
    place = use_data_dir(data_dir)
    with logging_to(log):
        comparison, status = compare_cells(name, against, chosen, budget, folder, place)
    print(comparison.write_report())
    print(f"\nreport: {folder / 'report' / 'report.html'}")
    return DONE if status == "completed" else FAILED


@click.command(
    epilog="""\b
Example:
  lstm-lab status runs/digits_ablation"""
)
@folder_argument("FOLDER")
def status(folder: Path | None, workdir: Path | None) -> int:
    """Shows which runs are done, failed or missing.

    Also why runs failed, and which processes work on the study. FOLDER holds a study or a run.
    """
    from lstm_lab.studies.status import describe

    print("\n".join(describe(one_folder(folder, workdir, "FOLDER"))))
    return DONE


@click.command(
    epilog="""\b
Examples:
  lstm-lab report runs/digits_ablation --watch
  lstm-lab report runs/a runs/b --out=runs/both"""
)
@click.argument("folders", nargs=-1, metavar="FOLDER...", type=Folder())
@flag(
    "--workdir",
    "The same as FOLDER..., separated by commas, e.g. --workdir=runs/a,runs/b.",
    metavar="DIR[,DIR]",
    default="",
)
@flag(
    "--out",
    "The folder of a report over several studies, e.g. --out=runs/both.",
    metavar="DIR",
    type=click.Path(path_type=Path),
)
@switch("--watch", "Updates the report while the study runs, e.g. --watch.")
def report(folders: tuple[Path, ...], workdir: str, out: Path | None, watch: bool) -> int:
    """Writes the report of a run or of studies.

    Tables, statistics and figures: report.html, and files for papers. FOLDER holds a run or a
    study; several studies are compared.
    """
    named = [Path(name) for name in workdir.split(",") if name]
    first = one_folder(next(iter(folders), None), next(iter(named), None), "FOLDER")
    if len(places := list(folders) or named) > 1:
        from lstm_lab.report.render.cross_study import build_cross_study_report

        target = out or Path("runs/report")
        text = build_cross_study_report(places, target, "Several studies")
        print(f"{text}\n\nreport: {target / 'report.html'}")
        return DONE
    if (first / "run.json").is_file():
        from lstm_lab.report.render.run_report import build_run_report

        text = build_run_report(first)
    else:
        from lstm_lab.report.render import files

        text = files.watch(first) if watch else files.build(first)
    print(f"{text}\n\nreport: {first / 'report' / 'report.html'}")
    return DONE


@click.command(
    epilog="""\b
Example:
  lstm-lab pack runs/digits_ablation --out=digits.jsonl.gz"""
)
@folder_argument("STUDY")
@flag(
    "--out",
    "The file to write, e.g. --out=digits.jsonl.gz.",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
)
def pack(folder: Path | None, workdir: Path | None, out: Path) -> int:
    """Writes the results of a study to one file.

    STUDY is the folder of a study. `lstm-lab sweep --results=FILE` continues from it.
    """
    from lstm_lab.studies import archive

    place = one_folder(folder, workdir, "STUDY", "the folder of a study")
    print(f"{archive.pack(place, out)} runs: {out}")
    return DONE

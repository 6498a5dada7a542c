"""Verbs of studies: sweep, reproduce, compare, pack, status, report.

In: arguments. Out: an exit code, a study's folder and its report. This file reads flags;
`orchestrate.py`, which imports JAX, does the work. `report`, `status` and `pack` need no JAX.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lstm_lab.cli.flags import data_folder, parse, request_devices, study_folder
from lstm_lab.utils.errors import DONE, FAILED, UserError, unknown


@dataclass(frozen=True)
class SweepFlags:
    """Flags of `sweep`; `lstm-lab help` explains the common ones."""

    study: str | None = None
    workdir: str | None = None
    data_dir: str | None = None
    rerun: str | None = None
    results: str | None = None
    launcher: str | None = None
    emit: str | None = None
    slurm: str = ""
    devices: int | None = None
    jobs: int | None = None
    trials: int | None = None
    dry_run: bool = False
    worker: bool = False


@dataclass(frozen=True)
class PackFlags:
    """Flags of `pack`; `lstm-lab help` explains the common ones."""

    workdir: str | None = None
    out: str | None = None


@dataclass(frozen=True)
class ReportFlags:
    """Flags of `report`; `lstm-lab help` explains the common ones."""

    workdir: str | None = None
    out: str | None = None
    watch: bool = False


@dataclass(frozen=True)
class CompareFlags:
    """Flags of `compare`; `lstm-lab help` explains the common ones."""

    against: str = "vanilla"
    tasks: str = ""
    budget: str = "8"
    workdir: str | None = None
    data_dir: str | None = None
    devices: int | None = None


def sweep(argv: list[str]) -> int:
    """Runs what is missing of a study, here or in workers, and prints its report.

    Args:
      argv: the arguments after the verb, see `SweepFlags`.

    Returns:
      An exit code.

    Raises:
      UserError: for a wrong flag, study, folder or data.
    """
    return _sweep(parse(argv, SweepFlags))


def _sweep(flags: SweepFlags) -> int:
    from lstm_lab.cli import orchestrate
    from lstm_lab.sweep.load import load_study

    if flags.study is None:
        raise UserError("--study is required: a Python file with get_study()")
    for name, allowed in (
        ("rerun", (None, "failed")),
        ("launcher", (None, "local", "slurm")),
        ("emit", (None, "commands")),
    ):
        value = getattr(flags, name)
        if value not in allowed:
            raise unknown(f"--{name}", value, [choice for choice in allowed if choice])
    in_process = not (flags.jobs or flags.launcher == "slurm" or flags.emit)
    # A parent that only starts workers must not claim the cores for its own JAX.
    if in_process:
        request_devices(flags.devices)
    study = load_study(Path(flags.study), flags.trials)
    folder, data_dir = Path(flags.workdir or f"runs/{study.name}"), data_folder(flags.data_dir)
    if flags.dry_run:
        from lstm_lab.sweep.dry_run import preview

        print(preview(study, data_dir))
        return DONE
    # After the preview, which must not change anything on disk.
    if flags.rerun:
        orchestrate.clear_failures(folder)
    if in_process:
        results = Path(flags.results) if flags.results else None
        return orchestrate.run(study, folder, data_dir, worker=flags.worker, results=results)
    # Folders are named even if they are defaults: the environment of a worker may lack
    # $LSTM_LAB_DATA.
    shared = [f"--study={flags.study}", f"--workdir={folder}", f"--data_dir={data_dir}"]
    for name in ("trials", "results"):
        value = getattr(flags, name)
        if value is not None:
            shared.append(f"--{name}={value}")
    jobs = flags.jobs or 1
    if flags.emit:
        return orchestrate.print_commands(shared, jobs)
    if flags.launcher == "slurm":
        return orchestrate.submit_to_slurm(study, folder, jobs, shared, flags.slurm)
    return orchestrate.run_jobs(study, folder, jobs, shared)


def reproduce(argv: list[str]) -> int:
    """Runs a study of experiments/ by its name, and judges its claims.

    Args:
      argv: the name, then flags of `sweep`.

    Returns:
      An exit code; 1 if a claim does not hold, also if it is inconclusive.

    Raises:
      UserError: for an unknown name, or as in `sweep`.
    """
    from lstm_lab.cli import orchestrate
    from lstm_lab.sweep.load import find_study

    if not argv or argv[0].startswith("-"):
        raise UserError("reproduce needs the name of a study, such as odyssey_jsb")
    name, *rest = argv
    # The folder is named here: the claims are judged in the one into which `_sweep` writes.
    flags = parse(rest, SweepFlags)
    folder = Path(flags.workdir or f"runs/{name}")
    code = _sweep(replace(flags, study=str(find_study(name)), workdir=str(folder)))
    if code != DONE or not (folder / "study.json").is_file():
        return code  # a failure, or a preview or commands, which leave no study
    return DONE if orchestrate.claims_hold(folder) else FAILED


def pack(argv: list[str]) -> int:
    """Writes the results of a study into one file, for `sweep --results`.

    Args:
      argv: the arguments after the verb, see `PackFlags`.

    Raises:
      UserError: for a missing flag, or a folder without a study.
    """
    from lstm_lab.sweep import archive

    flags = parse(argv, PackFlags)
    if flags.workdir is None or flags.out is None:
        raise UserError("pack: --workdir and --out are needed, a study and FILE.jsonl.gz")
    print(f"{archive.pack(Path(flags.workdir), Path(flags.out))} runs: {flags.out}")
    return DONE


def status(argv: list[str]) -> int:
    """Prints the state of a study or a run: what is done, running, failed or missing.

    Args:
      argv: the arguments after the verb: `--workdir`.

    Raises:
      UserError: for a missing flag, or a folder of something else.
    """
    from lstm_lab.sweep.status import describe

    print("\n".join(describe(study_folder(argv))))
    return DONE


def report(argv: list[str]) -> int:
    """Writes the report of a study, once or while it runs; or one over several studies.

    Args:
      argv: the arguments after the verb, see `ReportFlags`.

    Raises:
      UserError: for a missing flag, or a folder without a study.
    """
    flags = parse(argv, ReportFlags)
    folders = [Path(name) for name in (flags.workdir or "").split(",") if name]
    if not folders:
        raise UserError("--workdir is required: the folder of a study, or several: A,B")
    if len(folders) > 1:
        from lstm_lab.report.render.cross_study import build_cross_study_report

        out = Path(flags.out or "runs/report")
        print(build_cross_study_report(folders, out, "Several studies"))
        print(f"\nreport: {out / 'report.html'}")
        return DONE
    from lstm_lab.report.render.files import build, watch

    text = watch(folders[0]) if flags.watch else build(folders[0])
    print(f"{text}\n\nreport: {folders[0] / 'report' / 'report.html'}")
    return DONE


def compare(argv: list[str]) -> int:
    """Compares a cell with a baseline on a battery of tasks; prints one verdict.

    Args:
      argv: the cell, then flags, see `CompareFlags`.

    Returns:
      An exit code; it does not depend on the verdict.

    Raises:
      UserError: for a wrong flag, cell, task or budget.
    """
    from lstm_lab.cli import orchestrate

    if not argv or argv[0].startswith("-"):
        raise UserError("compare needs a cell: FILE.py, FILE.py:NAME or the name of a variant")
    cell, *rest = argv
    flags = parse(rest, CompareFlags)
    request_devices(flags.devices)
    # A file without a name means its `cell`.
    if cell.endswith(".py"):
        cell = f"{cell}:cell"
    folder = Path(flags.workdir or f"runs/compare-{Path(cell.replace(':', '-')).name}")
    tasks = [name for name in flags.tasks.split(",") if name]
    place = data_folder(flags.data_dir)
    return orchestrate.compare(cell, flags.against, tasks, flags.budget, folder, place)

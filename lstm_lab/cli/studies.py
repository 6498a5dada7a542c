"""Verbs of studies: sweep, reproduce, compare, pack, status, report."""

from __future__ import annotations

from pathlib import Path

from lstm_lab.cli.flags import data_folder, parse, request_devices, study_folder
from lstm_lab.utils.errors import DONE, FAILED, UserError, unknown


def sweep(argv: list[str]) -> int:
    """A study."""
    from lstm_lab.cli import orchestrate
    from lstm_lab.sweep.load import load_study

    strings = dict.fromkeys(
        ("study", "workdir", "data_dir", "rerun", "results", "launcher", "emit")
    )
    given = parse(argv, {**strings, "slurm": ""}, devices=None, jobs=None, trials=None)
    if given.study is None:
        raise UserError("--study is required: a Python file with get_study()")
    for name, allowed in (
        ("rerun", (None, "failed")),
        ("launcher", (None, "local", "slurm")),
        ("emit", (None, "commands")),
    ):
        if given[name].value not in allowed:
            found = given[name].value
            raise unknown(f"--{name}", found, [one for one in allowed if one])
    spread = given.jobs or given.launcher == "slurm" or given.emit
    if not spread:
        request_devices(given.devices)
    study = load_study(Path(given.study), given.trials)
    folder, data_dir = Path(given.workdir or f"runs/{study.name}"), data_folder(given.data_dir)
    if given.dry_run:
        from lstm_lab.sweep.dry_run import preview

        print(preview(study, data_dir))
        return DONE
    if given.rerun:
        orchestrate.clear_failures(folder)
    if not spread:
        results = Path(given.results) if given.results else None
        return orchestrate.run(study, folder, data_dir, worker=given.worker, results=results)
    shared = [f"--study={given.study}", f"--workdir={folder}", f"--data_dir={data_dir}"]
    for name in ("trials", "results"):
        if given[name].value is not None:
            shared.append(f"--{name}={given[name].value}")
    if given.launcher == "slurm" or given.emit:
        options = None if given.emit else given.slurm
        return orchestrate.hand_out(study, folder, given.jobs or 1, shared, options)
    return orchestrate.run_jobs(study, folder, given.jobs, shared)


def reproduce(argv: list[str]) -> int:
    """A study of experiments/, by its name."""
    from lstm_lab.cli import orchestrate
    from lstm_lab.sweep.load import find_study

    if not argv or argv[0].startswith("-"):
        raise UserError("reproduce needs the name of a study, such as odyssey_jsb")
    name, *rest = argv
    given = [a.partition("=")[2] for a in rest if a.startswith("--workdir=")]
    folder = Path(given[-1]) if given else Path(f"runs/{name}")
    code = sweep([f"--study={find_study(name)}", *rest, f"--workdir={folder}"])
    if code != DONE or not (folder / "study.json").is_file():
        return code  # a preview or commands, which leave nothing
    return DONE if orchestrate.claims_hold(folder) else FAILED


def pack(argv: list[str]) -> int:
    """A study's results as one file."""
    from lstm_lab.sweep import archive

    given = parse(argv, {"workdir": None, "out": None})
    if given.workdir is None or given.out is None:
        raise UserError("pack: --workdir and --out are needed, a study and FILE.jsonl.gz")
    print(f"{archive.pack(Path(given.workdir), Path(given.out))} runs: {given.out}")
    return DONE


def status(argv: list[str]) -> int:
    """How far a study or a run is."""
    from lstm_lab.sweep.status import describe

    print("\n".join(describe(study_folder(argv))))
    return DONE


def report(argv: list[str]) -> int:
    """A study's report, once or while it runs; or one over several studies."""
    given = parse(argv, {"workdir": None, "out": None})
    folders = [Path(name) for name in (given.workdir or "").split(",") if name]
    if not folders:
        raise UserError("--workdir is required: the folder of a study, or several: A,B")
    if len(folders) > 1:
        from lstm_lab.report.render.cross_study import build_cross_study_report

        out = Path(given.out or "runs/report")
        print(build_cross_study_report(folders, out, "Several studies"))
        print(f"\nreport: {out / 'report.html'}")
        return DONE
    from lstm_lab.report.render.files import build, watch

    text = watch(folders[0]) if given.watch else build(folders[0])
    print(f"{text}\n\nreport: {folders[0] / 'report' / 'report.html'}")
    return DONE


def compare(argv: list[str]) -> int:
    """A cell of one's own against a baseline, on a battery of tasks."""
    from lstm_lab.cli import orchestrate

    if not argv or argv[0].startswith("-"):
        raise UserError("compare needs a cell: FILE.py, FILE.py:NAME or the name of a variant")
    cell, *rest = argv
    strings = {"against": "vanilla", "tasks": "", "budget": "8", "workdir": None, "data_dir": None}
    given = parse(rest, strings, devices=None)
    request_devices(given.devices)
    if cell.endswith(".py"):
        cell = f"{cell}:cell"
    folder = Path(given.workdir or f"runs/compare-{Path(cell.replace(':', '-')).name}")
    tasks = [name for name in given.tasks.split(",") if name]
    place = data_folder(given.data_dir)
    return orchestrate.compare(cell, given.against, tasks, given.budget, folder, place)

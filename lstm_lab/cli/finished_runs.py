"""The finished run that a verb uses: the folder that the user named, or a run of the study in it.

In: a folder, and perhaps the id of a run. Out: the folder of one run, or the run itself; a wrong
folder gets a hint. The verbs are in inference.py and interop.py.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lstm_lab.cli.options import Folder, Verb, flag
from lstm_lab.utils.errors import UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.inference.load import Trained

RUN_EXPECTED = "the folder of a run or a study"


def folder_argument(name: str) -> Callable[[Verb], Verb]:
    """Declares a folder as an argument, also as `--workdir`, for a verb that reads results.

    Args:
      name: the argument, as it appears in the usage line.
    """

    def declare(verb: Verb) -> Verb:
        verb = flag(
            "--workdir",
            f"The same as {name}, e.g. --workdir=runs/first.",
            metavar="DIR",
            type=Folder(),
        )(verb)
        return click.argument("folder", required=False, metavar=name, type=Folder())(verb)

    return declare


run_argument = folder_argument("RUN")


def one_folder(
    folder: Path | None, workdir: Path | None, name: str = "RUN", expected: str = RUN_EXPECTED
) -> Path:
    """Returns the folder of an argument or of --workdir.

    Args:
      folder: the value of the argument, or None.
      workdir: the value of --workdir, or None.
      name: the argument.
      expected: what the folder holds, for the error.

    Raises:
      UserError: if both are given, or none.
    """
    if folder is not None and workdir is not None:
        given = f"{str(folder)!r} and --workdir={workdir}"
        raise UserError(f"{name}: got {given}, expected one of both")
    place = folder or workdir
    if place is None:
        verb = click.get_current_context().info_name
        raise UserError(f"{name} is required: {expected}, e.g. lstm-lab {verb} runs/first")
    return place


def run_folder(place: Path, run: str | None) -> Path:
    """Returns the folder of a run: the given one, or that of a run of the study in it.

    Args:
      place: the folder of a run or a study.
      run: the id of a run of the study; None takes its best run on validation.

    Raises:
      UserError: for a folder that holds neither a run nor a study, an unknown run, or a run of a
        folder that is no study.
    """
    if not (place / "study.json").is_file():
        if not (place / "run.json").is_file():
            raise _no_run(place)
        if run is not None:
            raise UserError(f"--run: got {run!r}, but {place} is not a study")
        return place
    from lstm_lab.report.runs import best_run, read_study
    from lstm_lab.results.study_file import run_folder

    study = read_study(place)
    if run is None:
        return run_folder(place, best_run(study).id)
    ids = [row.id for row in study.runs]
    if run not in ids:
        raise unknown("--run", run, ids)
    return run_folder(place, run)


def _no_run(place: Path) -> UserError:
    """Returns the error for a path that holds neither a run nor a study, with the likely one."""
    # Without `..`, whose parents would include the folder itself.
    for parent in Path(os.path.normpath(place)).parents:
        for marker, what in (("run.json", "a run"), ("study.json", "a study")):
            if place.exists() and (parent / marker).is_file():
                return UserError(f"{place} is a part of {what}; did you mean {parent}?")
    if place.exists():
        return UserError(f"{place} holds no run (run.json is missing); expected {RUN_EXPECTED}")
    names = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
    similar = difflib.get_close_matches(place.name, names, 1)
    hint = f"; did you mean {place.with_name(similar[0])}?" if similar else ""
    return UserError(f"{place} does not exist{hint}")


def load_trained(folder: Path, trust_code: bool) -> Trained:
    """Loads a run on one device: what uses a finished run has nothing to do for others.

    Args:
      folder: the folder of the run.
      trust_code: whether a cell or a task in the folder may run.

    Raises:
      UserError: if the folder holds no run, a run without weights, or code that is not trusted.
    """
    from lstm_lab.inference.load import load_run
    from lstm_lab.training.devices import prepare_devices

    prepare_devices(default=1)
    return load_run(folder, trust_code)

"""The finished run that a verb uses: the folder that the user named, or a run of the study in it.

In: a folder, and perhaps the id of a run. Out: the folder of one run, or the run itself. The verbs
are in inference.py and interop.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.cli.options import required_folder
from lstm_lab.utils.errors import UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.inference.load import Trained

RUN_EXPECTED = "the folder of a run or a study"


def one_folder(folder: Path | None, workdir: Path | None) -> Path | None:
    """Returns the folder of RUN or of --workdir.

    Args:
      folder: the value of RUN, or None.
      workdir: the value of --workdir, or None.

    Raises:
      UserError: if both are given.
    """
    if folder is not None and workdir is not None:
        raise UserError(f"RUN: got {str(folder)!r} and --workdir={workdir}, expected one of both")
    return folder or workdir


def run_folder(workdir: Path | None, run: str | None) -> Path:
    """Returns the folder of a run: the given one, or that of a run of the study in it.

    Args:
      workdir: the folder of a run or a study, or None.
      run: the id of a run of the study; None takes its best run on validation.

    Raises:
      UserError: without a folder, for an unknown run, or a run of a folder that is no study.
    """
    place = required_folder(workdir, RUN_EXPECTED)
    if not (place / "study.json").is_file():
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

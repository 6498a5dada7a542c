"""Finds a study by name and loads it from its file."""

from __future__ import annotations

import sys
from pathlib import Path

from lstm_lab.config.user_code import load_module
from lstm_lab.sweep.study import Study
from lstm_lab.utils.errors import UserError, unknown


def find_study(name: str) -> Path:
    """Returns the file of a study in experiments/, of the working directory or of the package.

    Raises:
      UserError: for an unknown name.
    """
    folders = [Path("experiments"), Path(__file__).parents[2] / "experiments"]
    for folder in folders:
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    known = {path.stem for folder in folders for path in folder.glob("*.py")}
    raise unknown("reproduce", name, sorted(known))


def load_study(path: Path, trials: int | None = None) -> Study:
    """Calls `get_study()` of a study file.

    Args:
      path: the file.
      trials: passed on as `get_study(trials=...)`; None calls it without arguments.

    Returns:
      The study.

    Raises:
      UserError: if the file has no `get_study()`, or it returns something else than a Study.
    """
    # Study files write `from configs import ...`, and configs/ lies next to their folder.
    sys.path.insert(0, str(path.absolute().parent.parent))
    get_study = getattr(load_module(path, "--study"), "get_study", None)
    if not callable(get_study):
        raise UserError(f"--study: {path} has no get_study() that returns a Study")
    try:
        study = get_study() if trials is None else get_study(trials=trials)
    except TypeError as error:
        raise UserError(f"--study: {path}: get_study() failed: {error}") from error
    if not isinstance(study, Study):
        raise UserError(f"--study: {path} has no get_study() that returns a Study")
    return study

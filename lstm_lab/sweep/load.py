"""Finds a study by its name, and loads it from its file."""

from __future__ import annotations

import sys
from pathlib import Path

from lstm_lab.config.user_code import load_module
from lstm_lab.sweep.study import Study
from lstm_lab.utils.errors import UserError, unknown


def find_study(name: str) -> Path:
    """Returns the file of a study of experiments/, of this folder or of the package's.

    Raises:
      UserError: where there is none of that name.
    """
    places = [Path("experiments"), Path(__file__).parents[2] / "experiments"]
    for place in places:
        if (place / f"{name}.py").is_file():
            return place / f"{name}.py"
    raise unknown("reproduce", name, sorted({p.stem for q in places for p in q.glob("*.py")}))


def load_study(path: Path, trials: int | None = None) -> Study:
    """Runs a study file's get_study.

    Args:
      path: the file.
      trials: passed to get_study where given.

    Raises:
      UserError: where it gives no study.
    """
    # A study takes its base from configs/, which lies beside its folder.
    sys.path.insert(0, str(path.absolute().parent.parent))
    get_study = getattr(load_module(path, "--study"), "get_study", None)
    if not callable(get_study):
        raise UserError(f"--study: {path} has no get_study() that returns a Study")
    try:
        study = get_study() if trials is None else get_study(trials=trials)
    except TypeError as error:
        raise UserError(f"--study: {path}: get_study does not run: {error}") from error
    if not isinstance(study, Study):
        raise UserError(f"--study: {path} has no get_study() that returns a Study")
    return study

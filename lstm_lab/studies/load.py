"""Finds a study by its name or its file, and loads it."""

from __future__ import annotations

from lstm_lab.config.find import find_file
from lstm_lab.config.user_code import load_study_object
from lstm_lab.studies.study import Study
from lstm_lab.utils.errors import UserError


def load_study(name: str, trials: int | None = None) -> Study:
    """Returns the study that `get_study()` of a file returns.

    Args:
      name: a study's name, or FILE.py.
      trials: passed on as `get_study(trials=...)`; None calls it without arguments.

    Raises:
      UserError: for an unknown name, or a file that has no `get_study()` or returns something else
        than a Study.

    Example:
      load_study("digits_ablation")
    """
    file = find_file("experiments", name, "study")
    study = load_study_object(file, {} if trials is None else {"trials": trials})
    if not isinstance(study, Study):
        raise UserError(f"study: {file} has no get_study() that returns a Study")
    return study

"""Errors that a user can fix, as one line: the setting, its value, and what is expected."""

from __future__ import annotations

import difflib
import os
import traceback
from collections.abc import Iterable
from pathlib import Path

# Exit codes of the command line and of its worker processes. 75 is EX_TEMPFAIL of sysexits.h: a
# scheduler that sees it may start the same command again. 130 and 141 are what a shell reports for
# a program that SIGINT or SIGPIPE ended.
DONE, FAILED, WRONG_USAGE, INCONCLUSIVE = 0, 1, 2, 3
INTERRUPTED, STOPPED, CLOSED_PIPE = 75, 130, 141
AGAIN = "interrupted: run the same command again to resume"

# The names of modules that come from a user's files begin with it.
USER_MODULE = "_user_"


class Interrupted(KeyboardInterrupt):
    """A signal stopped training after a checkpoint; the same call resumes it."""


class UserError(Exception):
    """Wrong usage, config or data. The command line prints the message and exits with code 2.

    Example:
      try:
          ll.cell("peephol")
      except ll.UserError as error:
          print(error)  # model.cell: got 'peephol'; did you mean 'peephole'? ...
    """

    exit_code = WRONG_USAGE  # of the command line


class TrainingError(UserError):
    """Training failed before any run had a folder, as without memory for the first state.

    There is no result that could say so. The usage was right: the exit code is 1.
    """

    exit_code = FAILED


def missing_column(what: str, column: str, names: Iterable[str]) -> UserError:
    """Returns the error for a column that a file does not have.

    Args:
      what: the file.
      column: the name that is looked for.
      names: the names that the header of the file has.
    """
    names = list(names)
    similar = difflib.get_close_matches(column, names, 1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ";"
    return UserError(f"{what}: no column {column!r}{hint} the header has {', '.join(names)}")


def missing_file(setting: str, path: str | Path, where: str = "") -> UserError:
    """Returns the error for a file that does not exist, with the name of a similar one there.

    Args:
      setting: what named the file.
      path: the file.
      where: where it was looked for, after a comma.

    Example:
      missing_file("data", "reviews.cvs")
      # data: reviews.cvs does not exist; did you mean 'reviews.csv'?
    """
    path = Path(path)
    try:
        names = sorted(os.listdir(path.parent))
    except (OSError, ValueError):
        names = []
    # Not the name itself, which a folder may have. Among many files, many are similar by a half.
    others = [name for name in names if name != path.name]
    similar = difflib.get_close_matches(path.name, others, 1, cutoff=0.75)
    hint = f"; did you mean {str(path.with_name(similar[0]))!r}?" if similar else ""
    return UserError(f"{setting}: {path} does not exist{where}{hint}")


def no_examples(split: str, task: str) -> UserError:
    """Returns the error for a split without examples.

    Args:
      split: its name.
      task: the name of the task.
    """
    return UserError(f"task: the {split} split of {task} has no examples, expected 1 or more")


def unknown(setting: str, value: object, names: Iterable[str]) -> UserError:
    """Returns the error for a value that is not one of a list of names.

    The most similar name stands before the list, where a reader sees it even if the list is long.
    Upper case makes no difference: ONNX is similar to onnx.
    """
    names = list(names)
    if not names:
        return UserError(f"{setting}: got {value!r}, but there is nothing to choose from")
    by_lower_case = {name.lower(): name for name in reversed(names)}
    similar = difflib.get_close_matches(str(value).lower(), by_lower_case, 1)
    hint = f"; did you mean {by_lower_case[similar[0]]!r}? expected" if similar else ", expected"
    return UserError(f"{setting}: got {value!r}{hint} one of {', '.join(names)}")


def expect_several(
    setting: str, values: object, kinds: tuple[type, ...] = (object,), article: str = ""
) -> None:
    """Raises UserError for one value where several are expected, or a value of another kind.

    A text counts as one value: Python would take it for a sequence of letters.

    Args:
      setting: what the user set.
      values: its value.
      kinds: the classes that each of them may have.
      article: what one of them is called, for errors, as "an axis (grid, zipped or chain)".

    Example:
      expect_several("seeds", 3)  # seeds: got 3, expected several, such as (3,)
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        plain = values is None or isinstance(values, (str, bytes, int, float))
        kind = type(values).__name__
        shown, name = (repr(values),) * 2 if plain else (f"one {kind}", kind.lower())
        raise UserError(f"{setting}: got {shown}, expected several, such as ({name},)")
    if kinds == (object,):
        return  # not read here: an iterator gives its values once
    for value in values:
        if not isinstance(value, kinds):
            raise UserError(f"{setting}: got {value!r}, expected {article}")


def place_in_user_code(error: BaseException) -> str | None:
    """Returns the file and line of the user's code where an error was raised, or None.

    Args:
      error: an error of a cell, a task, a config or a study of the user's, or of the package.

    Example:
      place_in_user_code(error)  # "my_cell.py line 12"
    """
    frames = traceback.walk_tb(error.__traceback__)
    places = [
        (frame.f_code.co_filename, line)
        for frame, line in frames
        if str(frame.f_globals.get("__name__", "")).startswith(USER_MODULE)
    ]
    # A file that cannot be parsed runs no line; its error knows the line.
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        places.append((error.filename, error.lineno))
    if not places:
        return None
    # The innermost: closest to the mistake. Relative, as users name their files.
    path, line = places[-1]
    return f"{os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else path} line {line}"

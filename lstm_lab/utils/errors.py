"""Errors that a user can fix, as one line: the setting, its value, and what is expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Exit codes of the command line and of its worker processes. 75 is EX_TEMPFAIL of sysexits.h: a
# scheduler that sees it may start the same command again.
DONE, FAILED, WRONG_USAGE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 75
AGAIN = "interrupted: run the same command again to resume"


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
    """
    names = list(names)
    if not names:
        return UserError(f"{setting}: got {value!r}, but there is nothing to choose from")
    similar = difflib.get_close_matches(str(value), names, 1)
    hint = f"; did you mean {similar[0]!r}? expected" if similar else ", expected"
    return UserError(f"{setting}: got {value!r}{hint} one of {', '.join(names)}")

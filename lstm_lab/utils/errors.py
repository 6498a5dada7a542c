"""Errors that are a user's to mend: one line with the thing, what was found, what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# Exit codes of the command line and of its workers.
DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 75
AGAIN = "interrupted: run the same command again to go on"


class UserError(Exception):
    """Wrong usage, config or data. The command line prints it and exits with 2."""


def unknown(what: str, found: object, allowed: Iterable[str]) -> UserError:
    """Returns the error for a name that is not among those allowed, with the nearest one."""
    names = list(allowed)
    near = difflib.get_close_matches(str(found), names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UserError(f"{what}: found {found!r}, allowed {', '.join(names) or 'none'}{hint}")

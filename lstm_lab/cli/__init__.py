"""The command line: `lstm-lab VERB`.

In: arguments. Out: an exit code (`utils/errors.py`); results on standard output, progress and
errors on standard error. Read `verbs` next, which lists all verbs. This is the only package that
reads flags; the verbs call the functions of `api/`, which notebooks use too.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress

COLLECT_AFTER = 50_000  # new objects


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit code.

    Args:
      argv: the verb and its flags; None takes those of the process.

    Returns:
      0 done, 1 a run failed or a claim does not hold, 2 wrong usage, config or data, 3 a claim is
      inconclusive, 75 interrupted and to be resumed, 130 interrupted, 141 the reader of the output
      has ended.

    Example:
      main(["summary", "adding"])
    """
    arguments = sys.argv[1:] if argv is None else argv
    try:
        # All imports are inside: Ctrl-C while Python reads files ends in one line, too.
        from lstm_lab.cli import faults

        with faults.usable_streams(), faults.interruptible_imports(arguments):
            try:
                return _run(arguments)
            # A bug keeps its traceback: `exit_code` raises what it does not know.
            except BaseException as error:
                return faults.exit_code(error, arguments)
    except KeyboardInterrupt:
        print("lstm-lab: interrupted", file=sys.stderr)
        return 130


def process() -> int:
    """Runs the verb of this process, and returns the exit code.

    Example:
      sys.exit(process())
    """
    # Python's default visits all objects whenever 700 more are there, and imports make hundreds of
    # thousands that stay: a tenth of the time until the first step.
    gc.set_threshold(COLLECT_AFTER)
    code = main()
    # Python would look for garbage among them once more at its end, for a quarter of a second.
    gc.freeze()
    from lstm_lab.utils.errors import INTERRUPTED, STOPPED

    if code in (INTERRUPTED, STOPPED):
        # Threads of JAX may still compile: the end of Python would take away what they use, and the
        # process would crash after its line.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    return code


def _run(arguments: list[str]) -> int:
    from lstm_lab.cli.argv import accepts_settings, with_dashes
    from lstm_lab.cli.faults import check_address_space
    from lstm_lab.cli.verbs import app

    arguments = with_dashes(arguments)
    check_address_space(arguments)
    if arguments == ["help"]:
        arguments = ["--help"]
    settings: dict[str, str | None] = {}
    if accepts_settings(arguments) and not {"--help", "-h"} & set(arguments):
        # Late: it imports the config layer, which `--help` does not need.
        from lstm_lab.config.overrides import take_overrides

        arguments, settings = take_overrides(arguments)
    code = app.main(arguments, prog_name="lstm-lab", standalone_mode=False, obj=settings)
    # Here and not when Python ends: an error of the last write still ends in one line.
    sys.stdout.flush()
    return 0 if code is None else int(code)

"""Faults of the system and of the user's own code: one line each, and an exit code.

In: what a verb raised. Out: a line on standard error and the exit code, or the error again if it is
a bug of the package, which keeps its traceback. `utils/errors.py` has the errors that users fix in
their command, config or data.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from lstm_lab.utils.errors import (
    AGAIN,
    CLOSED_PIPE,
    FAILED,
    INTERRUPTED,
    STOPPED,
    WRONG_USAGE,
    Interrupted,
    UserError,
    place_in_user_code,
)
from lstm_lab.utils.files import EXHAUSTED
from lstm_lab.utils.progress import discard, say

# Verbs that continue where they stopped if they are called again.
RESUMING = ("train", "sweep", "compare", "reproduce")
# Unless one of these flags lets them only look.
ONLY_LOOKING = ("--find-lr", "--replay", "--dry-run", "--emit")
# The file system refuses a path: another path, or other rights, help.
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.ENOENT, errno.ENOTEMPTY),
)

# Verbs that start JAX, whose libraries abort where they get no memory. Measured with a tiny model:
# every start fails with less than `LEAST` bytes of address space, and most succeed with a little
# more; each core that JAX finds needs some for the stacks of its threads.
STARTING_JAX = (
    *("train", "summary", "check", "compile", "compare", "sweep", "reproduce"),
    *("predict", "generate", "explain", "export", "import", "bench"),
)
LEAST, AMPLE = 2e9, 4e9


def check_address_space(arguments: Sequence[str]) -> None:
    """Says before JAX starts that the address space is limited, as by `ulimit -v` or a scheduler.

    Args:
      arguments: the arguments of the process, verb first.

    Raises:
      UserError: if it is too small for any model.
    """
    if (*arguments[:1],) not in [(verb,) for verb in STARTING_JAX] or "--help" in arguments:
        return
    try:
        import resource
    except ImportError:  # a platform without such limits
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY or limit >= AMPLE:
        return
    got = f"got {limit / 1e9:.2g} GB of address space"
    if limit < LEAST:
        raise UserError(
            f"ulimit -v: {got}, expected at least {LEAST / 1e9:.2g} GB: JAX would end the process "
            "without a message"
        )
    say(f"note: ulimit -v: {got}; if it is too small, JAX ends the process without a message")


@contextmanager
def usable_streams() -> Iterator[None]:
    """Gives the process streams that it can write to.

    Python has no stream where the caller closed it, as in `2>&-`. And a name on the command line
    may be bytes that are not text in any encoding; it can still be shown. A warning is one line.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - open until the process ends
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the process ends
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        yield


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"lstm-lab: {message}")


@contextmanager
def interruptible_imports(arguments: Sequence[str]) -> Iterator[None]:
    """Ends the process at once if Ctrl-C comes while a module is imported.

    The modules of JAX are C++: an exception in the middle of their start crashes the process. While
    a module is imported there is nothing to clean up.

    Args:
      arguments: the arguments of the process, verb first.
    """
    default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # Python handles signals in its main thread; and a caller may ignore them, as `nohup` does.
    if not default or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number
        while frame is not None:
            if "importlib._bootstrap" in frame.f_code.co_filename:
                os._exit(exit_code(KeyboardInterrupt(), arguments))
            frame = frame.f_back
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_code(error: BaseException, arguments: Sequence[str]) -> int:
    """Says in one line what went wrong, and returns the exit code.

    Args:
      error: what the verb raised.
      arguments: the arguments of the process, verb first.

    Raises:
      BaseException: the error itself, if it is a bug.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message())
        return WRONG_USAGE
    if isinstance(error, UserError):
        return _say_error(str(error), error.exit_code)
    if isinstance(error, click.ClickException):
        from lstm_lab.cli.argv import usage_error

        return _say_error(str(usage_error(error)), WRONG_USAGE)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        if isinstance(error, Interrupted) or _resumes(arguments):
            say(AGAIN)
            return INTERRUPTED
        return _say_error("interrupted", STOPPED)
    # click turns a closed pipe into an exit, and nothing else: no verb calls `sys.exit`.
    from_click = isinstance(error, SystemExit) and place_in_user_code(error) is None
    if isinstance(error, BrokenPipeError) or from_click:
        # As `head` does after its last line. There is nobody to tell.
        discard(sys.stdout)
        return CLOSED_PIPE
    # With a path, an error is one of the file system, whatever its kind.
    if isinstance(error, OSError) and (error.errno in (*_REFUSED, *EXHAUSTED) or error.filename):
        # Errors of writes have no name. It may be the output, which Python would write again.
        where = _shortened(error.filename) if error.filename else "a write failed"
        if not error.filename:
            discard(sys.stdout)
        code = WRONG_USAGE if error.errno in _REFUSED else FAILED
        return _say_error(f"{where}: {error.strerror}", code)
    if isinstance(error, MemoryError):
        return _say_error("out of memory: this needs more than the machine has", FAILED)
    if _is_wrong_setting(error):
        return _say_error(f"JAX: {error}; see the environment variables JAX_...", WRONG_USAGE)
    reason = _platform_problem()
    if reason is not None:
        platforms = os.environ.get("JAX_PLATFORMS", "")
        return _say_error(f"JAX_PLATFORMS: got {platforms!r}; JAX: {reason}", WRONG_USAGE)
    place = place_in_user_code(error)
    if place is None:
        raise error
    return _say_error(f"{place}: {type(error).__name__}: {error}", WRONG_USAGE)


def _resumes(arguments: Sequence[str]) -> bool:
    """Returns whether the same command continues where it was interrupted."""
    looks = any(name.partition("=")[0] in ONLY_LOOKING for name in arguments)
    return (*arguments[:1],) in [(verb,) for verb in RESUMING] and not looks


def _is_wrong_setting(error: BaseException) -> bool:
    """Returns whether JAX does not know the value of one of its environment variables."""
    frames = list(traceback.walk_tb(error.__traceback__))
    module = frames[-1][0].f_globals.get("__name__") if frames else None
    return isinstance(error, ValueError) and module == "jax._src.config"


def _platform_problem() -> str | None:
    """Returns why JAX has no device, or None if it has one, or was not started."""
    jax = sys.modules.get("jax")
    if jax is None or not hasattr(jax, "devices"):
        return None
    try:
        jax.devices()
    # It raises several types; some have no message.
    except Exception as error:
        return str(error).partition("\n")[0] or "it finds no such device"
    return None


def _say_error(text: str, code: int) -> int:
    say(f"lstm-lab: {' '.join(text.split())}")
    return code


def _shortened(path: object) -> str:
    """Returns a path for a message; of a very long one, its beginning and end."""
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return text if len(text) <= 160 else f"{text[:80]}...{text[-60:]}"

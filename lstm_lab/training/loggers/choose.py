"""Finds the loggers that the user chose, by name, file or class.

In: the value of `--log`, or of `log=` in Python. Out: `chosen_loggers`, which the records of all
runs of the call read. It is a context variable, so that eight functions do not have to pass it on.
Read `run_loggers.py` next.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TypeAlias, cast

from lstm_lab.config.user_code import load_module
from lstm_lab.training.loggers.base import Logger
from lstm_lab.training.loggers.to_aim import Aim
from lstm_lab.training.loggers.to_mlflow import MLflow
from lstm_lab.training.loggers.to_wandb import Wandb
from lstm_lab.utils.errors import UserError, place_in_user_code, unknown
from lstm_lab.utils.progress import say

Maker: TypeAlias = Callable[[], Logger]
# A name, FILE.py:NAME, a class, a function that makes a logger, or a logger.
LogEntry: TypeAlias = str | Logger | Maker
Log: TypeAlias = LogEntry | Sequence[LogEntry]

# By the name of the package that the logger needs.
SERVICES: dict[str, Maker] = {"wandb": Wandb, "mlflow": MLflow, "aim": Aim}
# W&B writes a step when the next one begins, so it loses the last step of a killed process.
LATE = frozenset({"wandb"})
METHODS = ("start", "log", "figure", "end")


@dataclass
class ChosenLoggers:
    """The loggers of a call.

    Attributes:
      makers: for each name, a function that makes the logger of one run.
      off: the names of loggers that raised an error; they receive nothing more in this call.
      lost: the names of those of `off` whose `end` raised an error, too.

    Example:
      ChosenLoggers({"wandb": Wandb})
    """

    makers: dict[str, Maker] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def switch_off(self, name: str, error: Exception) -> None:
        """Stops using a logger after an error, and prints the reason. Training continues."""
        self.off.add(name)
        place = place_in_user_code(error)
        text = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {text}" + (f" ({place})" if place else "")
        say(f"note: {name} receives no more numbers in this process: {reason}")


_CHOSEN: ContextVar[ChosenLoggers | None] = ContextVar("chosen loggers", default=None)


def chosen_loggers() -> ChosenLoggers:
    """Returns the loggers of the current call; there are none outside `logging_to`.

    Example:
      >>> chosen_loggers().makers
      {}
    """
    return _CHOSEN.get() or ChosenLoggers()


@contextmanager
def logging_to(log: Log | None, several: bool = True) -> Iterator[None]:
    """Sends the numbers of all runs that train inside the block to loggers.

    Args:
      log: as `find_loggers` takes it.
      several: whether several runs may train.

    Raises:
      UserError: as `find_loggers`.

    Example:
      with logging_to("wandb"):
          train_spec(spec, None, None, data_dir, {})
    """
    token = _CHOSEN.set(ChosenLoggers(find_loggers(log, several)))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def find_loggers(log: Log | None, several: bool = True) -> dict[str, Maker]:
    """Returns the makers of loggers by name.

    Args:
      log: names with commas between them, as "wandb,mlflow" or "my_logger.py:Printer"; a class; a
        function without arguments that returns a logger; a logger; a sequence of these; or None.
      several: whether several runs may train; a logger that is one object is then refused.

    Raises:
      UserError: for an unknown name, a missing package, or an object that is not a logger.

    Example:
      >>> list(find_loggers(["mlflow", Printer]))
      ['mlflow', 'Printer']
    """
    entries: list[LogEntry] = []
    if isinstance(log, (list, tuple)):
        entries = list(log)
    elif log is not None:
        entries = [cast(LogEntry, log)]
    makers: dict[str, Maker] = {}
    for entry in entries:
        # The command line has names with commas between them; a path cannot contain a comma.
        for part in entry.split(",") if isinstance(entry, str) else [entry]:
            name, maker = _find(part, several)
            if name in makers:
                raise UserError(f"log: got {name} twice, expected each logger once")
            makers[name] = maker
    return makers


def _find(entry: LogEntry, several: bool) -> tuple[str, Maker]:
    """Returns the name and the maker of one entry."""
    if not isinstance(entry, str):
        return _from_object(entry, getattr(entry, "__qualname__", type(entry).__name__), several)
    path, colon, attribute = entry.rpartition(":")
    if colon:
        module = load_module(Path(path), "log")
        if not hasattr(module, attribute):
            raise unknown(f"log: {path}", attribute, _loggers_in(module))
        # Without the folder: a process that starts in another folder writes another path.
        return _from_object(getattr(module, attribute), f"{Path(path).name}:{attribute}", several)
    if entry.lower() == "tensorboard":
        raise UserError(f"log: got {entry!r}; TensorBoard is always written; leave it out")
    if entry.endswith(".py"):
        names = _loggers_in(load_module(Path(entry), "log")) or ["NAME"]
        expected = " or ".join(f"{entry}:{name}" for name in names)
        raise UserError(f"log: got {entry!r} without the name of a class, expected {expected}")
    if entry not in SERVICES:
        raise unknown("log", entry, [*SERVICES, "FILE.py:NAME"])
    spec = importlib.util.find_spec(entry)
    # Without an origin it is a folder with this name: W&B writes its runs to `wandb`.
    if spec is None or spec.origin is None:
        raise UserError(f'log: {entry} is not installed: pip install "lstm-lab[loggers]"')
    return entry, SERVICES[entry]


def _loggers_in(module: ModuleType) -> list[str]:
    """Returns the names of the loggers that a file of the user defines, and does not import."""
    return [
        key
        for key, value in vars(module).items()
        if not _missing(value) and getattr(value, "__module__", "") == module.__name__
    ]


def _from_object(entry: object, name: str, several: bool) -> tuple[str, Maker]:
    missing = _missing(entry)
    # A class has the methods of a logger; a function that makes loggers has none of them.
    is_maker = isinstance(entry, type) or (callable(entry) and missing == list(METHODS))
    if missing and (isinstance(entry, type) or not is_maker):
        raise UserError(f"log: {name} has no {missing[0]}(), expected {', '.join(METHODS)}")
    if is_maker:
        return name, cast(Maker, entry)
    if several:
        raise UserError(f"log: {name} is one object, expected its class: every run needs its own")
    return name, lambda: cast(Logger, entry)


def make_logger(maker: Maker) -> Logger:
    """Returns the logger of one run.

    Args:
      maker: of `find_loggers`.

    Raises:
      TypeError: if a function of the user returns something that is no logger.

    Example:
      make_logger(Wandb)
    """
    logger = maker()
    if missing := _missing(logger):
        kind = type(logger).__name__
        raise TypeError(f"got {kind}, which has no {missing[0]}(), expected {', '.join(METHODS)}")
    return logger


def _missing(entry: object) -> list[str]:
    """Returns the methods of a logger that an object lacks."""
    return [method for method in METHODS if not callable(getattr(entry, method, None))]

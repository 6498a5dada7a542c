"""Which loggers a call uses: names, files and classes become functions that make loggers.

In: the value of `--log`, or of `log=` in Python. Out: `chosen_loggers`, which the records of all
runs of the call read. It is a context variable and no argument: of the eight functions between the
call and a run's record, none has a use for it. Read `run_loggers.py` next.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
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

# By the name of the package that each of them needs.
SERVICES: dict[str, Maker] = {"wandb": Wandb, "mlflow": MLflow, "aim": Aim}
# W&B writes a step when the next one begins: it never gets the last step of a killed process.
LATE = frozenset({"wandb"})
METHODS = ("start", "log", "figure", "end")


@dataclass
class ChosenLoggers:
    """The loggers of a call.

    Attributes:
      makers: for each name, a function that makes the logger of one run.
      off: the names of those that raised an error; they receive no more in this call.
      lost: those of `off` that could not even be ended.

    Example:
      ChosenLoggers({"wandb": Wandb})
    """

    makers: dict[str, Maker] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)

    def switch_off(self, name: str, error: Exception) -> None:
        """Stops using a logger after an error, and says why: the runs are worth more."""
        self.off.add(name)
        place = place_in_user_code(error)
        text = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {text}" + (f" ({place})" if place else "")
        say(f"note: {name} receives no more numbers in this process: {reason}")


_CHOSEN: ContextVar[ChosenLoggers | None] = ContextVar("chosen loggers", default=None)


def chosen_loggers() -> ChosenLoggers:
    """Returns the loggers of the present call; none outside `logging_to`.

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
      several: whether several runs may train: then one object cannot serve them.

    Raises:
      UserError: for an unknown name, a missing package, or something that is no logger.

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
        # A list of names on the command line; a path has no comma there.
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
        names = [key for key, value in vars(module).items() if not _missing(value)]
        if not hasattr(module, attribute):
            raise unknown(f"log: {path}", attribute, names)
        # Without the folder: it is another one for a process that starts elsewhere.
        return _from_object(getattr(module, attribute), f"{Path(path).name}:{attribute}", several)
    if entry not in SERVICES:
        raise unknown("log", entry, [*SERVICES, "FILE.py:NAME"])
    spec = importlib.util.find_spec(entry)
    # Without an origin it is a folder of that name: W&B writes its runs to one.
    if spec is None or spec.origin is None:
        raise UserError(f'log: {entry} is not installed: pip install "lstm-lab[loggers]"')
    return entry, SERVICES[entry]


def _from_object(entry: object, name: str, several: bool) -> tuple[str, Maker]:
    missing = _missing(entry)
    # A function that makes loggers is called when a run starts; a class has the methods.
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

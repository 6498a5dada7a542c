"""Loads Python files of the user: a cell, a task, a config, a study, a logger.

In: a path. Out: the object that the file defines, or a `UserError` in one line. The file runs with
all rights of the user, as any Python program does.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from lstm_lab.cells import Spec
from lstm_lab.config.find import find_file
from lstm_lab.config.sections import ModelSpec
from lstm_lab.tasks import TASKS, Task
from lstm_lab.utils.errors import USER_MODULE, UserError, missing_file, place_in_user_code, unknown


def cell_path(model: ModelSpec) -> Path | None:
    """Returns the file of a user's cell, or None for a cell of the catalogue.

    Args:
      model: the model; its `cell` is a name, or FILE.py:NAME.
    """
    # The last colon: a path may contain others.
    path, colon, _ = model.cell.rpartition(":")
    return Path(path) if colon else None


def load_cell(path: Path, name: str) -> Spec:
    """Runs a user's file and returns the spec of that name.

    Args:
      path: the file.
      name: the name, or FILE.py:NAME, of which the part after the colon counts.

    Raises:
      UserError: for a file that is missing or does not run, or that does not define the name; the
        message lists the specs that the file defines.
    """
    attribute = name.rpartition(":")[2]
    module = load_module(path, "model.cell")
    cell = getattr(module, attribute, None)
    # A spec is recognized by its field `cell`, so a new kind of cell needs no base class.
    if not hasattr(cell, "cell") or not is_dataclass(cell) or isinstance(cell, type):
        allowed = [k for k, v in vars(module).items() if is_dataclass(v) and hasattr(v, "cell")]
        specs = [k for k in allowed if not isinstance(vars(module)[k], type)]
        # Perhaps implied by FILE.py: the user did not write it.
        if attribute == "cell" and specs:
            expected = " or ".join(f"{path}:{spec}" for spec in specs)
            raise UserError(f"model.cell: got '{path}:cell', expected {expected}")
        raise unknown(f"model.cell: {path}", attribute, specs)
    return cast(Spec, cell)


def without_folder(name: str) -> str:
    """Returns the name of a cell or a task without the folder of a user's file.

    A file for other people says nothing about the folders of the user.

    Args:
      name: `model.cell` or `task.name`: a name, or FILE.py:NAME.

    Example:
      without_folder("runs/mine/cell.py:cell")  # "cell.py:cell"
    """
    return Path(name).name


def task_path(name: object) -> Path | None:
    """Returns the file of a user's task, or None for a task of the package.

    Args:
      name: `task.name`: a name, or FILE.py:NAME.
    """
    path, colon, _ = str(name).rpartition(":")
    return Path(path) if colon else None


def load_task(name: object) -> type[Task]:
    """Returns the class of a task.

    Args:
      name: `task.name`: a name of `TASKS`, or FILE.py:NAME, which runs the file.

    Raises:
      UserError: for an unknown name, or a file that is missing, does not run, or does not define a
        task of that name.
    """
    path = task_path(name)
    if path is None:
        if not isinstance(name, str) or name not in TASKS:
            raise unknown("task.name", name, [*TASKS, "FILE.py:NAME"])
        return TASKS[name]
    if not os.path.isfile(path):
        raise missing_file("task.name", path)
    return _load_task(str(name), file_hash(path))


# Cached: two loads would give two classes, whose equal tasks would neither be equal nor share data
# and compiled programs. The hash makes sure that a changed file is loaded again.
@lru_cache(maxsize=32)
def _load_task(name: str, sha256: str) -> type[Task]:
    del sha256
    path, _, attribute = name.rpartition(":")
    module = load_module(Path(path), "task.name")
    tasks = {
        key: value
        for key, value in vars(module).items()
        # Not the tasks that the file imports.
        if isinstance(value, type) and issubclass(value, Task) and is_dataclass(value)
        if value.__module__ == module.__name__
    }
    if attribute not in tasks:
        raise unknown(f"task.name: {path}", attribute, tasks)
    task = tasks[attribute]
    # The name under which run.json records the task, and from which it is loaded again.
    task.name = name
    return task


def check_trusted(
    spec: Mapping[str, Any], source: Path, trust_code: bool, replaced: Collection[str] = ()
) -> None:
    """Raises UserError if data name code that would run, and the user has not allowed it.

    A run's folder may come from somebody else. Its JSON alone must not be able to run a program.

    Args:
      spec: the settings in the data.
      source: the file of the data.
      trust_code: whether the user allows it.
      replaced: settings that have another value now.
    """
    named = {"model.cell": ("model", "cell"), "task.name": ("task", "name")}
    for setting, (section, key) in named.items():
        options = spec.get(section)
        name = str(options.get(key, "")) if isinstance(options, Mapping) else ""
        if ":" in name and not trust_code and setting not in replaced:
            raise UserError(
                f"{setting}: {source} names the code of {name}, which runs with all your rights; "
                "if you trust it, add --trust-code (in Python, trust_code=True)"
            )


def load_config(argument: str) -> Any:
    """Runs `get_config` of a config file and returns its config.

    Args:
      argument: NAME, NAME:WORDS, FILE.py or FILE.py:WORDS; the words go to `get_config` as one
        string.

    Returns:
      What `get_config` returns, usually a ConfigDict; `build_spec` checks it.

    Raises:
      UserError: for an unknown name, or a file that is missing, has no `get_config`, or does not
        run.
    """
    name, _, words = argument.partition(":")
    file = find_file("configs", name, "config")
    get_config = getattr(load_module(file, "config"), "get_config", None)
    if not callable(get_config):
        raise UserError(f"config: {file} has no get_config()")
    with _importing_from(file.parent):
        # Most often a TypeError: there are words, and this `get_config` has no parameter for them.
        return _call("config", file, get_config, (words,) if words else (), {})


def load_study_object(file: Path, keywords: dict[str, Any]) -> Any:
    """Runs `get_study` of a study file and returns what it returns.

    Args:
      file: the file.
      keywords: arguments of `get_study`.

    Raises:
      UserError: for a file that is missing, has no `get_study`, or does not run.
    """
    get_study = getattr(load_module(file, "study"), "get_study", None)
    if not callable(get_study):
        raise UserError(f"study: {file} has no get_study() that returns a Study")
    with _importing_from(file.parent):
        return _call("study", file, get_study, (), keywords)


def _call(
    setting: str,
    file: Path,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
) -> Any:
    try:
        return function(*arguments, **keywords)
    except UserError:
        raise
    # SystemExit: a script may end itself, but not the process that loads it.
    except (Exception, SystemExit) as error:
        raise _user_error(setting, f"{file}: {function.__name__}", error) from error


def _user_error(setting: str, what: str, error: BaseException) -> UserError:
    """Returns an error of a user's file as one line.

    Args:
      setting: the flag or setting that named the file.
      what: what did not run, if the error has no line in the file.
      error: the error.
    """
    place = place_in_user_code(error) or f"{what} does not run"
    # Without the place, which the text of a SyntaxError repeats.
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return UserError(f"{setting}: {place}: {type(error).__name__}: {message}")


def file_hash(path: Path) -> str:
    """Returns the SHA-256 of a file, in hex.

    Args:
      path: the file.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_module(path: Path, what: str) -> types.ModuleType:
    """Runs a Python file and returns its module.

    Args:
      path: the file.
      what: the flag or setting that named it, for errors.

    Raises:
      UserError: for a file that is missing, or that raises an error; the message has its line.
    """
    if not os.path.isfile(path):
        raise missing_file(what, path)
    # A name of its own in sys.modules, where dataclasses look up the types of their fields: a file
    # with the name of an installed package must not hide that package. Every load runs the file as
    # it is now.
    place = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:8]
    name = f"{USER_MODULE}{path.stem}_{place}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{what}: {path} is not a Python file")
    module = importlib.util.module_from_spec(module_spec)
    earlier = sys.modules.get(name)
    sys.modules[name] = module
    try:
        with _importing_from(path.parent):
            module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if earlier is not None:
            sys.modules[name] = earlier
        else:
            del sys.modules[name]
        if isinstance(error, UserError):
            raise
        raise _user_error(what, str(path), error) from error
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Lets a user's file import the files beside it, as a script can."""
    entry = str(folder.absolute())
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)

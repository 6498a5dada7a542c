"""Loads Python files of the user: a cell, a config, a study.

In: a path. Out: the object that the file defines, or a `UserError` in one line. The file runs with
all rights of the user, as any Python program does.
"""

from __future__ import annotations

import importlib.util
import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, cast

from lstm_lab.cells import Spec
from lstm_lab.config.sections import ModelSpec
from lstm_lab.utils.errors import UserError, unknown


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
        raise unknown(f"model.cell: {path}", attribute, specs)
    return cast(Spec, cell)


def load_config(argument: str) -> Any:
    """Runs `get_config` of a config file and returns its config.

    Args:
      argument: FILE.py, or FILE.py:WORDS; the words go to `get_config` as one string.

    Returns:
      What `get_config` returns, usually a ConfigDict; `build_spec` checks it.

    Raises:
      UserError: for a file that is missing, has no `get_config`, or does not run.
    """
    file, _, words = argument.partition(":")
    get_config = getattr(load_module(Path(file), "--config"), "get_config", None)
    if not callable(get_config):
        raise UserError(f"--config: {file} has no get_config()")
    try:
        return get_config(words) if words else get_config()
    except TypeError as error:
        # Most often: there are words, and this `get_config` has no parameter for them.
        raise UserError(f"--config: {file}: get_config does not run: {error}") from error


def load_module(path: Path, what: str) -> types.ModuleType:
    """Runs a Python file and returns its module.

    Args:
      path: the file.
      what: the flag or setting that named it, for errors.

    Raises:
      UserError: for a file that is missing, or that raises one of the errors caught below.
    """
    if not path.is_file():
        raise UserError(f"{what}: {path} does not exist")
    module_spec = importlib.util.spec_from_file_location(f"_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{what}: {path} is not a Python file")
    # The module is not added to sys.modules: every load runs the file as it is now, and a file with
    # the name of an installed package does not hide that package.
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    # Typical mistakes in a file. Other errors keep their traceback, which shows where they occur.
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise UserError(f"{what}: {path} does not run: {type(error).__name__}: {error}") from error
    return module

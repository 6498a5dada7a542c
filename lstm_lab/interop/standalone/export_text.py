"""The text of the files in this folder, as an export writes them.

In: a file of this folder and the source of a step. Out: the file with that step, as text or as a
module. The files are read as text, so no framework is needed to write one.
"""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parent


def model_text(name: str) -> str:
    """Returns the text of a file.

    Args:
      name: the name of the file.

    Example:
      model_text("flax_model.py")
    """
    return (_FOLDER / name).read_text(encoding="utf-8")


def cell_text(name: str, step: str) -> str:
    """Returns the text of a file of a cell, with the equations of a trained cell as its step.

    Args:
      name: the name of the file; it has a function `step` without equations.
      step: the source of the function that takes its place.

    Example:
      cell_text("flax_cell.py", step_source(layer, JAX))
    """
    text = model_text(name)
    empty = next(
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name == "step"
    )
    lines = text.splitlines(keepends=True)
    return "".join([*lines[: empty.lineno - 1], step, *lines[empty.end_lineno :]])


def module_of(text: str) -> ModuleType:
    """Returns the module that `cell_text` wrote, without a file.

    Args:
      text: the source of the module.

    Example:
      module_of(cell_text("flax_cell.py", step_source(layer, JAX))).LinenEquationCell
    """
    module = ModuleType("cell")
    # Not with the future imports of this file, as a file would be read: dataclasses could not find
    # the module of string annotations.
    exec(compile(text, "cell.py", "exec", dont_inherit=True), module.__dict__)
    return module

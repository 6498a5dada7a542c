"""The name under which a run can load a user's cell again, and the file for it.

In: a cell as a user gives it: a name, a file, or a spec. Out: the name that `model.cell` takes. The
folder of a run has to be enough to repeat the run. Therefore a spec that exists only in a notebook
or in a script is written to a file: its fields, the sources of its functions, and what they use.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib
import inspect
import sys
import textwrap
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.cells import CATALOGUE, Spec, State, step
from lstm_lab.config.user_code import load_cell
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_text

# Cells of notebooks, by name and by a hash of their source.
FOLDER = Path("runs/cells")


def cell_name(cell: str | Spec) -> str:
    """Returns the name of a cell for `model.cell`; writes a file for a spec without one.

    Args:
      cell: the name of a variant, FILE.py, FILE.py:NAME, or a spec.

    Returns:
      The name of a variant, or FILE.py:NAME.

    Raises:
      UserError: for a spec whose source cannot be found, or cannot be written as a file.

    Example:
      cell_name("my_cell.py")  # "my_cell.py:cell"
    """
    if isinstance(cell, str):
        # A file without a name means its `cell`.
        return f"{cell}:cell" if cell.endswith(".py") else cell
    if not is_dataclass(cell) or not hasattr(cell, "cell"):
        raise UserError(f"cell: got {cell!r}, expected a variant's name, FILE.py:NAME or a spec")
    for name, variant in CATALOGUE.items():
        if variant.spec == cell:
            return name
    main = vars(sys.modules["__main__"])
    name = next((n for n, value in main.items() if value is cell and n.isidentifier()), "cell")
    text = _Source().module(name, cell)
    path = FOLDER / f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:8]}.py"
    write_text(path, text)
    _check_same(cell, load_cell(path, name), path)
    return f"{path}:{name}"


def _check_same(cell: Spec, loaded: Spec, path: Path) -> None:
    """Raises UserError if a written cell does not compute what the original computes."""
    x_BD = jax.random.normal(jax.random.key(0), (2, 3))

    def two_steps(spec: Spec) -> State:
        params = spec.cell.init(spec, jax.random.key(1), 3, 4)
        state, _ = step(spec, params, x_BD)
        return step(spec, params, x_BD, state)[0]

    states = (jax.tree.leaves(two_steps(spec)) for spec in (cell, loaded))
    for a, b in zip(*states, strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            raise UserError(
                f"cell: {path} differs from the cell; write the cell to a file of yours"
            )


class _Source:
    """Collects the imports and definitions that an object needs."""

    def __init__(self) -> None:
        self.imports: set[str] = set()
        # By name, in the order in which they were needed: the last one may use all before it.
        self.definitions: dict[str, str] = {}

    def module(self, name: str, cell: Spec) -> str:
        """Returns the source of a file that defines a cell under a name."""
        expression = self.expression(cell, name)
        # jax.numpy and the like are written in the order that linters expect.
        imports = "\n".join(sorted(self.imports))
        head = f'"""A cell that was defined in a notebook or a script."""\n\n{imports}'
        return "\n\n\n".join([head, *self.definitions.values(), f"{name} = {expression}\n"])

    def expression(self, value: Any, what: str) -> str:
        """Returns an expression for a value, and collects what it needs.

        Args:
          value: a number, a string, a tuple, a function, a class, or a dataclass of these.
          what: the value's name, for errors.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value)
        if isinstance(value, tuple):
            items = ", ".join(self.expression(item, what) for item in value)
            return f"({items}{',' if len(value) == 1 else ''})"
        if isinstance(value, functools.partial):
            self.imports.add("from functools import partial")
            parts = [self.expression(part, what) for part in (value.func, *value.args)]
            parts += [f"{k}={self.expression(v, what)}" for k, v in value.keywords.items()]
            return f"partial({', '.join(parts)})"
        if is_dataclass(value) and not isinstance(value, type):
            changed = [
                f"{f.name}={self.expression(getattr(value, f.name), f.name)}"
                for f in fields(value)
                if f.default is MISSING or getattr(value, f.name) != f.default
            ]
            return f"{self.expression(type(value), what)}({', '.join(changed)})"
        if callable(value) and hasattr(value, "__qualname__"):
            return self._named(value, what)
        raise UserError(f"cell: {what} is {value!r}, which cannot be written to a file")

    def _named(self, value: Callable[..., Any], what: str) -> str:
        """Returns the name of a function or a class, after its import or its definition."""
        name, module = value.__qualname__, value.__module__
        if module != "__main__" and not module.startswith("_user_"):
            owner = importlib.import_module(module)
            if getattr(owner, name, None) is value:
                self.imports.add(f"from {module} import {name}")
                return name
        if not name.isidentifier():
            raise UserError(f"cell: {what} is {name}, expected a function defined with def")
        if name not in self.definitions:
            source = _source_of(value)
            namespace = getattr(value, "__globals__", vars(sys.modules.get(module, builtins)))
            self._collect(source, name, namespace)
            self.definitions[name] = source
        return name

    def _collect(self, source: str, name: str, namespace: dict[str, Any]) -> None:
        """Collects the global names that a definition uses."""
        used = {
            node.id
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        for used_name in sorted(used & namespace.keys() - {name}):
            value = namespace[used_name]
            if isinstance(value, types.ModuleType):
                self.imports.add(f"import {value.__name__} as {used_name}")
                continue
            expression = self.expression(value, used_name)
            if expression != used_name:
                self.definitions[used_name] = f"{used_name} = {expression}"


def _source_of(value: Callable[..., Any]) -> str:
    """Returns the source of a function or a class, also if it was defined in a notebook."""
    try:
        return textwrap.dedent(inspect.getsource(value)).strip()
    except (OSError, TypeError):
        pass
    # inspect does not find classes of notebooks. IPython keeps the text of all cells in `In`.
    for text in reversed(vars(sys.modules["__main__"]).get("In", [])):
        try:
            nodes = ast.parse(text).body
        except SyntaxError:  # a cell with magics
            continue
        for node in nodes:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    raise UserError(
        f"cell: the source of {value.__qualname__} cannot be found; write the cell to FILE.py"
    )

"""The pages of the Python API: one per module, with autodoc for each public name."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from types import ModuleType

from docs.generate.markdown import escape, page
from lstm_lab.utils.docstrings import summary

# The modules that other code may import from, and the title of each page.
MODULES = {
    "lstm_lab": "Runs, studies and models",
    "lstm_lab.cells": "Cells",
    "lstm_lab.recurrence": "Cells over time",
    "lstm_lab.sweep": "Studies",
    "lstm_lab.tasks": "Tasks",
}

_MODULE = r"(?:[a-z_]\w*\.)+"


def pages() -> dict[str, str]:
    """Returns api/MODULE.md for each module with public names."""
    modules = {name: importlib.import_module(name) for name in MODULES}
    return {
        f"api/{name}.md": _page(name, module)
        for name, module in modules.items()
        if public_names(module)
    }


def public_names(module: ModuleType) -> list[str]:
    """Returns the names that a module exports, without its version."""
    return [name for name in getattr(module, "__all__", ()) if not name.startswith("__")]


def _page(name: str, module: ModuleType) -> str:
    entries = [_entry(name, public, getattr(module, public)) for public in public_names(module)]
    body = "\n".join(entries)
    return page(
        MODULES[name],
        f"`import {name}`. {escape(summary(module))}.",
        f"```{{eval-rst}}\n{body}\n```",
    )


def _entry(module: str, name: str, value: object) -> str:
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:\n"
    if inspect.isfunction(value):
        return f".. autofunction:: {module}.{name}\n"
    # autodata would show the docstring of the value's class.
    return f".. py:data:: {module}.{name}\n\n   {_value(value)}\n"


def _value(value: object) -> str:
    """Says what a public name without a docstring of its own is."""
    if isinstance(value, dict):
        return f"A dict with the keys {', '.join(f'`{key}`' for key in value)}."
    if typing.get_origin(value) is not None:
        # Without the modules: `jax.jaxlib._jax.Array` is `Array` to a reader.
        return f"The type `{re.sub(_MODULE, '', inspect.formatannotation(value))}`."
    if isinstance(value, (str, tuple)):
        return f"The constant `{value!r}`."
    return f"An instance of `{type(value).__name__}`."

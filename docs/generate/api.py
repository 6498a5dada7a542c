"""The pages of the Python API: one per module, with autodoc for each public name."""

from __future__ import annotations

import importlib
import inspect
import re
import typing

from docs.generate.markdown import escape, page, section, table
from lstm_lab.utils.docstrings import summary

# The modules that other code may import from, and the title of each page.
MODULES = {
    "lstm_lab": "Runs, studies and models",
    "lstm_lab.cells": "Cells",
    "lstm_lab.interop": "Other frameworks",
    "lstm_lab.recurrence": "Cells over time",
    "lstm_lab.studies": "Studies",
    "lstm_lab.tasks": "Tasks",
}

_MODULE = r"(?:[a-z_]\w*\.)+"


def pages() -> dict[str, str]:
    """Returns api/MODULE.md for each module."""
    return {f"api/{name}.md": _page(name) for name in MODULES}


def public_names(module: str) -> dict[str, object]:
    """Returns what a module exports, by name: functions first, then classes, then values."""
    imported = importlib.import_module(module)
    exported = {name: getattr(imported, name) for name in imported.__all__}
    kinds = (inspect.isfunction, inspect.isclass)
    order = {name: [not is_kind(value) for is_kind in kinds] for name, value in exported.items()}
    return {name: exported[name] for name in sorted(exported, key=lambda name: order[name])}


def _page(module: str) -> str:
    # What another page describes is only listed: Sphinx describes an object once.
    others = {
        id(value): f"{other}.{name}"
        for other in MODULES
        if module == "lstm_lab" and other != module
        for name, value in public_names(other).items()
    }
    entries, listed = [], []
    for name, value in public_names(module).items():
        if id(value) in others:
            first_line = escape(summary(value))
            listed.append([f"{{py:obj}}`{name} <{others[id(value)]}>`", first_line])
        else:
            entries.append(_entry(module, name, value))
    body = "\n".join(entries)
    return page(
        MODULES[module],
        f"`import {module}`. {escape(summary(importlib.import_module(module)))}.",
        f"```{{eval-rst}}\n{body}\n```",
        section("Also from other pages", table(["name", "what it is"], listed)),
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

"""Settings from the command line: `--config.PATH=VALUE`, with the types of the spec's fields.

In: arguments. Out: values by setting. Read `load.py` next, which builds the spec. The
package parses these flags itself; docs/design.md, "On disk", says why.
"""

from __future__ import annotations

import csv
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from lstm_lab.config.parsing import coerce, field_types, unknown_setting
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.config.user_code import load_task
from lstm_lab.utils.errors import UserError, unknown


def take_overrides(argv: list[str]) -> tuple[list[str], dict[str, str | None]]:
    """Splits `--config.PATH=VALUE` and `--config.PATH VALUE` from the other arguments.

    Args:
      argv: the arguments of a verb.

    Returns:
      The other arguments, and the text of each value by path; None for a path without a value.

    Example:
      take_overrides(["--config.optim.lr=0.1", "--seeds=3", "--config.model.tied"])
      # (["--seeds=3"], {"optim.lr": "0.1", "model.tied": None})
    """
    rest: list[str] = []
    overrides: dict[str, str | None] = {}
    # An iterator, so that a value can be taken together with the path before it.
    items = iter(range(len(argv)))
    for k in items:
        name, equals, value = argv[k].partition("=")
        if not name.startswith(("--config.", "-config.")):
            rest.append(argv[k])
            continue
        path = name.lstrip("-").removeprefix("config.")
        # An argument with a dash starts the next flag. A negative value therefore needs `=`.
        if not equals and k + 1 < len(argv) and not argv[k + 1].startswith("-"):
            value, equals = argv[next(items)], "="
        overrides[path] = value if equals else None
    return rest, overrides


def parse_overrides(
    config: Mapping[str, Any], overrides: Mapping[str, str | None]
) -> dict[str, Any]:
    """Returns settings from the command line as values of their types.

    Args:
      config: the config that they change: its task decides which options exist.
      overrides: the text of each value by dotted path, as `take_overrides` returns it.

    Returns:
      Values by dotted path; `load_spec` applies them and checks the config as a whole.

    Raises:
      UserError: for a setting that does not exist or a value not of its type.
    """
    values: dict[str, Any] = {}
    # The task decides which options exist and what types they have.
    task = overrides.get("task.name") or dict(config).get("task", {}).get("name")
    for path, text in overrides.items():
        values[path] = _parse(path, _type_of(path, task), text)
    return values


def _type_of(path: str, task: Any) -> Any:
    """Returns the type of a dotted setting."""
    section, _, name = path.rpartition(".")
    if path == "task.name":
        return str
    if section == "task":
        types_ = field_types(load_task(task))
    elif section in SECTIONS:
        types_ = field_types(SECTIONS[section])
    elif not section:
        types_ = {k: v for k, v in field_types(RunSpec).items() if k not in (*SECTIONS, "task")}
    else:
        raise unknown(f"config.{path}", section, ["task", *SECTIONS])
    if name not in types_:
        raise unknown_setting(f"config.{path}", section, name, types_)
    return types_[name]


def _parse(path: str, kind: Any, text: str | None) -> Any:
    """Parses a value's text by its type, and checks it as a config's value is checked."""
    if text is None:
        if kind is bool:
            return True
        raise UserError(f"{path}: got no value, expected one")
    return coerce(path, kind, _literal(kind, text.strip()))


def _literal(kind: Any, text: str) -> Any:
    """Returns the value that a text stands for; the text itself if it does not fit the type.

    `coerce` then rejects the text with the message that a config file gets for the same value.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(a for a in get_args(kind) if a is not type(None))
        # "none" may be a word of its own, such as `task.scheme=none`.
        is_word = get_origin(inner) is Literal and text in get_args(inner)
        if text.lower() in ("none", "null") and type(None) in get_args(kind) and not is_word:
            return None
        return _literal(inner, text)
    if origin is tuple:
        return tuple(_literal(get_args(kind)[0], item) for item in _items(text))
    if origin is Literal:
        # Options may be numbers, so they are compared as text.
        return next((option for option in get_args(kind) if str(option) == text), text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _items(text: str) -> list[str]:
    """Returns the items of a list: `a,b`, `[a, b]`, or `"wind, max (m/s)",b` with quotes as in CSV.

    The brackets of a name, as in `T (degC)`, stay: those of a list enclose the whole text.
    """
    if _encloses(text):
        text = text[1:-1]
    try:
        (items,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        # An empty list, or a quote inside a name.
        items = text.split(",")
    return [item.strip() for item in items if item.strip()]


def _encloses(text: str) -> bool:
    """Returns whether the first bracket of a text closes at its end."""
    if text[:1] not in ("(", "["):
        return False
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0:
            return place == len(text) - 1
    return False

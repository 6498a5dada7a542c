"""From a mapping to a frozen dataclass, strictly: every key known, every value of its type."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lstm_lab.utils.errors import UserError, unknown

FILLED_IN = ("cell_sha256", "vectors_sha256")  # by the program, not by a config


def build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    """Builds a frozen dataclass.

    Args:
      cls: the dataclass.
      values: its fields.
      prefix: of their names in errors, such as `model.`.

    Raises:
      UserError: for a key that is unknown or missing, or a value of a wrong type or out of range.
    """
    expect_mapping(prefix.rstrip("."), values)
    types = field_types(cls)
    built = {}
    for key, value in values.items():
        if key not in types:
            raise unknown(f"{prefix}{key}", key, types)
        built[key] = value if is_dataclass(value) else coerce(f"{prefix}{key}", types[key], value)
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in built:
            raise UserError(f"{prefix}{f.name}: missing")
    try:
        return cls(**built)
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from None


def field_types(cls: type) -> dict[str, Any]:
    """Returns a dataclass's settable fields with their types."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls) if f.init and f.name not in FILLED_IN}


def coerce(path: str, kind: Any, value: Any) -> Any:
    """Returns a value as a field's type takes it; an int serves as a float, a list as a tuple.

    Raises:
      UserError: where the value is not of the type.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        if value is None and len(options) < len(get_args(kind)):
            return None
        return coerce(path, options[0], value)
    if origin is Literal:
        allowed = get_args(kind)
        if value not in allowed or isinstance(value, bool):
            if isinstance(value, str):
                raise unknown(path, value, [str(a) for a in allowed])
            raise UserError(f"{path}: found {value!r}, allowed {', '.join(map(str, allowed))}")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(
            coerce(f"{path}[{k}]", get_args(kind)[0], item) for k, item in enumerate(value)
        )
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = isinstance(kind, type) and isinstance(value, kind)
    if fits and (kind is bool or not isinstance(value, bool)):
        return value
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    expected = names.get(kind, "a tuple of whole numbers")
    raise UserError(f"{path}: found {value!r}, allowed {expected}")


def expect_mapping(path: str, value: Any) -> None:
    """Raises UserError for a section that is no mapping."""
    if not hasattr(value, "items"):
        raise UserError(f"{path}: found {value!r}, allowed a section with options")

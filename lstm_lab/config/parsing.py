"""From a mapping to frozen dataclasses, strictly: every key known, every value of its type."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.config.user_code import cell_path
from lstm_lab.config.variant import resolve_cell
from lstm_lab.tasks import TASKS
from lstm_lab.utils.errors import UserError, unknown

FILLED_IN = ("cell_sha256", "vectors_sha256")  # by the program, not by a config


def build_spec(config: Mapping[str, Any]) -> RunSpec:
    """Builds a spec from a ConfigDict or a dict, and finds everything wrong with it.

    Raises:
      UserError: for an unknown key, a wrong type, a bad range, an unknown name or a conflict; the
        line names the key.
    """
    config = {k: v for k, v in dict(config).items() if k not in FILLED_IN}
    task = config.pop("task", {})
    expect_mapping("task", task)
    options = dict(task)
    name = options.pop("name", None)
    if name not in TASKS:
        raise unknown("task.name", name, TASKS)
    sections = {"task": build(TASKS[name], options, "task.")}
    for key, cls in SECTIONS.items():
        sections[key] = build(cls, config.pop(key, {}), f"{key}.")
    spec = build(RunSpec, {**config, **sections}, "")
    resolve_cell(spec.model)
    path = cell_path(spec.model)
    vectors = Path(spec.model.vectors) if spec.model.vectors else None
    if vectors is not None and not vectors.is_file():
        raise UserError(f"model.vectors: {vectors} does not exist")
    return replace(
        spec,
        cell_sha256=_sha256(path) if path else None,
        vectors_sha256=_sha256(vectors) if vectors else None,
    )


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with dotted fields set; sections are copied."""
    result = {k: dict(v) if hasattr(v, "items") else v for k, v in dict(config).items()}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if "." in section:
            raise UserError(f"{path}: no such setting")
        target = result.setdefault(section, {}) if section else result
        expect_mapping(section, target)
        target[name] = value
    return result


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
            raise UserError(f"{prefix}{f.name} is required")
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
            raise UserError(f"{path}: got {value!r}, expected {', '.join(map(str, allowed))}")
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
    raise UserError(f"{path}: got {value!r}, expected {expected}")


def expect_mapping(path: str, value: Any) -> None:
    """Raises UserError for a section that is no mapping."""
    if not hasattr(value, "items"):
        raise UserError(f"{path}: got {value!r}, expected a section with options")

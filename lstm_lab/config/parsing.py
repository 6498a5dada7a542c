"""From a mapping to frozen dataclasses, strictly: every key is known, every value has its type.

In: a ConfigDict, a dict, or the spec of a run.json. Out: a `RunSpec`, or a `UserError` that names
the key. Ranges are checked in `sections.py`, conflicts in `validation.py`.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lstm_lab.cells import contract_problem
from lstm_lab.config.run_spec import SECTIONS, RunSpec
from lstm_lab.config.sections import ModelSpec, is_finite
from lstm_lab.config.user_code import cell_path, file_hash, load_task, task_path
from lstm_lab.config.variant import resolve_cell
from lstm_lab.config.weights_source import source_hash, vectors_hash
from lstm_lab.tasks import Task
from lstm_lab.tasks.readers.download import default_data_dir
from lstm_lab.utils.errors import UserError, unknown

# Fields that `build_spec` computes. A run.json contains them; `build_spec` ignores these values,
# except for weights and vectors that are not there any more.
FILLED_IN = ("cell_sha256", "vectors_sha256", "init_from_sha256", "task_sha256")

# What other libraries call a setting, for hints.
OTHER_NAMES = {
    "learning_rate": "lr",
    "optimizer": "name",
    "scheduler": "schedule",
    "grad_clip": "clip",
    "clip_norm": "clip",
    "clipnorm": "clip",
    "max_norm": "clip",
    "hidden_size": "hidden",
    "hidden_dim": "hidden",
    "units": "hidden",
    "num_layers": "layers",
    "variant": "cell",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "num_steps": "steps",
    "max_steps": "steps",
    "early_stopping": "patience",
    "random_seed": "seed",
    "random_state": "seed",
}


def build_spec(config: Mapping[str, Any]) -> RunSpec:
    """Builds a spec from a ConfigDict or a dict, and checks all of it.

    Everything that can be checked without data is checked here, so that a spelling mistake costs
    no download and no compilation. A cell or a task of the user's own is loaded, which runs its
    file.

    Args:
      config: the sections `task` (with its `name`), `model`, `optim`, `train` and `compute`, and
        the seeds. Settings that it omits have their defaults.

    Raises:
      UserError: for an unknown key, a wrong type, a bad range, an unknown name, a conflict, or a
        file that is missing; the message names the key.

    Example:
      build_spec({"task": {"name": "adding"}, "train": {"steps": 100}})
    """
    recorded = dict(config)
    config = {k: v for k, v in dict(config).items() if k not in FILLED_IN}
    task = config.pop("task", {})
    expect_mapping("task", task)
    _expect_known(config)
    # A copy: the caller's config stays as it is.
    options = dict(task)
    name = options.pop("name", None)
    task_class = load_task(name)
    sections = {"task": build(task_class, _completed(task_class, options), "task.")}
    for key, cls in SECTIONS.items():
        sections[key] = build(cls, config.pop(key, {}), f"{key}.")
    spec = build(RunSpec, {**config, **sections}, "")
    # Only for its errors: a wrong cell is reported now and not at the first compiled step.
    resolve_cell(spec.model)
    cell_file, task_file = cell_path(spec.model), task_path(name)
    if cell_file is not None:
        problem = _cell_problem(spec.model.cell, file_hash(cell_file), spec.model.hidden)
        if problem is not None:
            raise UserError(f"model.cell: {spec.model.cell}: {problem}")
    init_from, vectors = spec.model.init_from, spec.model.vectors
    return replace(
        spec,
        cell_sha256=file_hash(cell_file) if cell_file else None,
        vectors_sha256=_start_hash(vectors, recorded.get("vectors_sha256"), vectors_hash),
        init_from_sha256=_start_hash(init_from, recorded.get("init_from_sha256"), source_hash),
        task_sha256=file_hash(task_file) if task_file else None,
    )


def _expect_known(config: Mapping[str, Any]) -> None:
    """Raises UserError for a key that is no section or setting.

    Before any section is built: a misspelled section would leave out what another error asks for.
    """
    for key, values in config.items():
        if key not in field_types(RunSpec):
            raise unknown_setting(key, "", key, field_types(RunSpec))
        if key in SECTIONS and hasattr(values, "items"):
            names = field_types(SECTIONS[key])
            for name in values:
                if name not in names:
                    raise unknown_setting(f"{key}.{name}", key, name, names)


# The specs of a sweep have few cells. The hash makes sure that a changed file is checked again.
@lru_cache(maxsize=256)
def _cell_problem(name: str, sha256: str, H: int) -> str | None:
    """Returns what is wrong with a user's cell; without this check, errors would name our code."""
    del sha256
    cell = resolve_cell(ModelSpec(cell=name))
    # The number of features is not known yet. A cell may need as many as it has units.
    return contract_problem(cell, 3, H) and contract_problem(cell, H, H)


def _start_hash(
    name: str | None, recorded: str | None, hash_of: Callable[[Path], str]
) -> str | None:
    """Returns the hash of what a run begins with: `model.init_from` or `model.vectors`.

    A run that resumes has its weights in a checkpoint. Those it began with may be gone; then the
    hash of its record counts. A run that begins reads them, and compares the hash.

    Args:
      name: the path in the setting, or None.
      recorded: the hash in the record of the run, or None.
      hash_of: returns the hash of a path.
    """
    if not name:
        return None
    path = Path(name)
    return recorded if recorded and not os.path.exists(path) else hash_of(path)


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config with dotted fields set; sections are copied.

    The length of training has two units, of which a config sets one. A value of the other one
    replaces it: with `train.steps`, the config's `train.epochs` becomes None, and vice versa.

    Args:
      config: a ConfigDict or a dict; it does not change.
      values: by dotted field, such as "optim.lr" or "seed".

    Raises:
      UserError: for a field below another field, or of a section that is not a mapping.
    """
    # By attribute: a ConfigDict has `items` but is not an instance of Mapping.
    result = {k: dict(v) if hasattr(v, "items") else v for k, v in dict(config).items()}
    for path, value in values.items():
        section, _, name = path.rpartition(".")
        if "." in section:
            raise UserError(f"{path}: no such setting")
        target = result.setdefault(section, {}) if section else result
        expect_mapping(section, target)
        target[name] = value
    for unit, other in (("steps", "epochs"), ("epochs", "steps")):
        if values.get(f"train.{unit}") is not None and f"train.{other}" not in values:
            result["train"][other] = None
    return result


def with_complete_task(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config whose task has all options that its files determine.

    A study builds the specs of many runs from one config; its files are then read once.

    Args:
      config: a ConfigDict or a dict; it does not change.

    Raises:
      UserError: as `build_spec` does for the section `task`.
    """
    result = dict(config)
    task = result.get("task", {})
    expect_mapping("task", task)
    options = dict(task)
    name = options.pop("name", None)
    return {**result, "task": {"name": name, **_completed(load_task(name), options)}}


def _completed(task: type[Task], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a task's options with those that its files determine."""
    # After the user's settings: they may name the files and columns that determine the rest.
    given = typed(task, options, "task.")
    try:
        return task.complete(given, default_data_dir())
    except ValueError as error:
        raise UserError(f"task.{error}") from None


def build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    """Builds a frozen dataclass.

    Args:
      cls: the dataclass.
      values: its fields by name; those with a default may be missing.
      prefix: what precedes their names in errors, such as `model.`.

    Raises:
      UserError: for a key that is unknown or missing, or a value of a wrong type or out of range.
    """
    built = typed(cls, values, prefix)
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING and f.name not in built:
            raise UserError(f"{prefix}{f.name} is required")
    try:
        return cls(**built)
    except ValueError as error:
        # A section does not know its name in the config, so the prefix is added here.
        raise UserError(f"{prefix}{error}") from None


def typed(cls: type, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Returns the fields of a dataclass that are given, each as a value of its type.

    Args:
      cls: the dataclass.
      values: some of its fields by name.
      prefix: what precedes their names in errors.

    Raises:
      UserError: for a key that is unknown, or a value of a wrong type.
    """
    expect_mapping(prefix.rstrip("."), values)
    types = field_types(cls)
    built = {}
    for key, value in values.items():
        if key not in types:
            raise unknown_setting(f"{prefix}{key}", prefix.rstrip("."), key, types)
        built[key] = value if is_dataclass(value) else coerce(f"{prefix}{key}", types[key], value)
    return built


def unknown_setting(setting: str, section: str, name: str, names: Iterable[str]) -> UserError:
    """Returns the error for a setting that does not exist.

    Args:
      setting: what the user wrote.
      section: the section in which it was looked for, or an empty text.
      name: the name of the setting.
      names: the settings of the section.
    """
    names = list(names)
    meant = find_setting(name, section)
    # A name of another library, or of another section, is a better hint than a similar spelling.
    if meant is None:
        return unknown(setting, name, names)
    return UserError(
        f"{setting}: got {name!r}; did you mean {meant!r}? expected one of {', '.join(names)}"
    )


def find_setting(name: str, section: str = "") -> str | None:
    """Returns the dotted setting that a name means, or None if no setting is called so.

    Args:
      name: the name, perhaps that of another library.
      section: the section to look into first.

    Example:
      find_setting("learning_rate")  # "optim.lr"
    """
    name = OTHER_NAMES.get(name, name)
    for known in sorted(SECTIONS, key=lambda known: known != section):
        if name in field_types(SECTIONS[known]):
            return f"{known}.{name}"
    return name if name in field_types(RunSpec) and name not in (*SECTIONS, "task") else None


def field_types(cls: type) -> Mapping[str, Any]:
    """Returns a dataclass's settable fields with their types.

    Args:
      cls: a section, a task, or `RunSpec`.
    """
    return _field_types(cls)


# Evaluating the annotations takes ten times as long as the rest of a spec, and a study of 10,000
# runs builds 60,000 sections.
@lru_cache(maxsize=256)
def _field_types(cls: type) -> Mapping[str, Any]:
    # With `from __future__ import annotations`, `fields` has the types only as text.
    hints = get_type_hints(cls)
    types_by_name = {f.name: hints[f.name] for f in fields(cls) if f.init}
    return MappingProxyType({k: v for k, v in types_by_name.items() if k not in FILLED_IN})


def coerce(path: str, kind: Any, value: Any) -> Any:
    """Converts a value to a field's type: an int to a float, a list to a tuple, nothing else.

    Args:
      path: the dotted name of the field, for errors.
      kind: its type: int, float, bool, str, Literal, tuple, or one of these or None.
      value: the value.

    Raises:
      UserError: if the value does not have the type.
    """
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        if value is None and len(options) < len(get_args(kind)):
            return None
        return coerce(path, options[0], value)
    if origin is Literal:
        allowed = get_args(kind)
        # True == 1 in Python, so `True` would pass as the option 1.
        if value not in allowed or isinstance(value, bool):
            if isinstance(value, str):
                raise unknown(path, value, [str(a) for a in allowed])
            raise UserError(f"{path}: got {value!r}, expected {', '.join(map(str, allowed))}")
        return value
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(
            coerce(f"{path}[{k}]", get_args(kind)[0], item) for k, item in enumerate(value)
        )
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        # Also for tasks, which check no ranges of their own for most numbers.
        if not is_finite(value):
            raise UserError(f"{path}: got {value}, expected a finite number")
        return float(value)
    # A bool is an int in Python, but `layers=True` is a mistake.
    fits = isinstance(kind, type) and isinstance(value, kind)
    if fits and (kind is bool or not isinstance(value, bool)):
        return value
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    many = {int: "a tuple of whole numbers", str: "a tuple of words"}
    expected = many[get_args(kind)[0]] if origin is tuple else names[kind]
    raise UserError(f"{path}: got {value!r}, expected {expected}")


def expect_mapping(path: str, value: Any) -> None:
    """Raises UserError for a section that is not a mapping.

    Args:
      path: the name of the section.
      value: its content.
    """
    if not hasattr(value, "items"):
        raise UserError(f"{path}: got {value!r}, expected a section with options")

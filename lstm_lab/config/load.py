"""From what a user gives to a `RunSpec`: a config's name, a file, a run.json, or a mapping.

In: a config and changed settings. Out: a checked `RunSpec`. The command line reads the text of its
settings with `overrides.py` first; a notebook gives values. Read `parsing.py` next.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lstm_lab.config.cell_source import cell_name
from lstm_lab.config.parsing import with_values
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.config.user_code import check_trusted, load_config, load_task
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json

ConfigLike = str | Path | Mapping[str, Any] | RunSpec


def read_config(
    config: ConfigLike, trust_code: bool = False, replaced: Collection[str] = ()
) -> Mapping[str, Any]:
    """Returns the settings of a config as a mapping.

    Args:
      config: `NAME[:WORDS]`, `FILE.py[:WORDS]`, the run.json of a run, a ConfigDict, a dict, or a
        `RunSpec`.
      trust_code: whether a run.json may name a cell or a task of its own, whose file then runs.
      replaced: the settings that the caller changes afterwards.

    Raises:
      UserError: for an unknown name, a file that is missing or of another kind, another type, or
        code that is not trusted.

    Example:
      read_config("adding:peephole")["model"]["cell"]  # "peephole"
    """
    if isinstance(config, RunSpec):
        return to_json(config)
    # By attribute: a ConfigDict has `items` but is not an instance of Mapping.
    if not isinstance(config, str | Path):
        if not hasattr(config, "items"):
            raise UserError(f"config: got {config!r}, expected a name, a file, or a mapping")
        return config
    path = Path(config)
    if path.suffix != ".json":
        loaded = load_config(str(config))
        if not hasattr(loaded, "items"):
            raise UserError(f"config: {config}: got {loaded!r}, expected a ConfigDict or a dict")
        return dict(loaded)
    data = read_json(path, spec=dict)
    if data is None:
        raise UserError(f"config: {path} is not a run.json")
    check_trusted(data["spec"], path, trust_code, replaced)
    return dict(data["spec"])


def load_spec(
    config: ConfigLike, overrides: Mapping[str, Any] | None = None, trust_code: bool = False
) -> RunSpec:
    """Returns the spec of a config, with some settings changed.

    Args:
      config: as in `read_config`.
      overrides: values by dotted setting, such as `{"task.length": 100}`; `model.cell` may be a
        spec.
      trust_code: as in `read_config`.

    Returns:
      All settings of the run, checked; those that the config leaves out have their defaults.

    Raises:
      UserError: for a wrong config or setting; the message names it.

    Example:
      load_spec("adding:peephole", {"optim.lr": 0.01, "seed": 3})
    """
    values = dict(overrides or {})
    settings = with_values(read_config(config, trust_code, values), values)
    model = settings.get("model")
    if isinstance(model, dict) and not isinstance(model.get("cell", ""), str):
        settings["model"] = {**model, "cell": cell_name(model["cell"])}
    # A recorded hash belongs to the cell, task, weights or vectors that the new ones replace.
    for setting, recorded in (
        ("model.cell", "cell_sha256"),
        ("model.init_from", "init_from_sha256"),
        ("model.vectors", "vectors_sha256"),
        ("task.name", "task_sha256"),
    ):
        if setting in values:
            settings.pop(recorded, None)
    task = settings.get("task")
    if isinstance(task, dict) and "task.sha256" not in values:
        files = {f"task.{name}" for name in load_task(task.get("name")).files}
        if files & values.keys():
            # The recorded hash is that of the files that the new ones replace.
            settings["task"] = {k: v for k, v in task.items() if k != "sha256"}
    # By `from_json`: it refuses a user's file that has changed since the run.
    return from_json(settings)

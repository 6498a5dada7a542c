"""What verbs read: flags, a config, the data folder, devices; the only file that reads flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from lstm_lab.utils.errors import UserError


def parse(
    argv: list[str],
    strings: Mapping[str, str | None],
    numbers: Mapping[str, float] | None = None,
    **integers: int | None,
) -> Any:
    """Parses a verb's flags; nothing may be left over."""
    values = flags.FlagValues()
    for name, default in strings.items():
        flags.DEFINE_string(name, default, "", flag_values=values)
    for name, number in integers.items():
        least = 0 if name == "seed" else 1
        flags.DEFINE_integer(name, number, "", lower_bound=least, flag_values=values)
    for name, value in (numbers or {}).items():
        flags.DEFINE_float(name, value, "", flag_values=values)
    for name in ("dry_run", "worker", "watch", "stream", "find_lr"):
        flags.DEFINE_bool(name, False, "", flag_values=values)
    left = values(["lstm-lab", *argv])[1:]
    if left:
        raise UserError(f"arguments: got {left[0]!r}, expected flags only, as --name=value")
    if strings.keys() & {"data_dir"} and values.data_dir:
        # So that config files, which may look into their data, find the same.
        os.environ["LSTM_LAB_DATA"] = values.data_dir
    return values


def load_spec(config: str | None, overrides: dict[str, str | None]) -> Any:
    """Loads a config file or a run.json, applies overrides, and builds the spec."""
    from lstm_lab.config.overrides import apply_overrides
    from lstm_lab.config.parsing import build_spec
    from lstm_lab.config.serialization import from_json
    from lstm_lab.utils.files import read_json

    if config is None:
        raise UserError("--config is required: FILE.py[:WORDS] or a run.json")
    path = Path(config)
    if path.suffix == ".json":
        data = read_json(path)
        if not isinstance(data, dict) or "spec" not in data:
            raise UserError(f"--config: {path} is no run.json")
        # A changed cell is refused unless another one is chosen.
        spec = data["spec"]
        return from_json(apply_overrides(spec, overrides) if overrides else spec)
    return build_spec(apply_overrides(_load_config(config), overrides))


def _load_config(argument: str) -> Any:
    """Runs a config file's get_config, with the words after the colon where there are any."""
    from lstm_lab.config.user_code import load_module

    file, _, words = argument.partition(":")
    get_config = getattr(load_module(Path(file), "--config"), "get_config", None)
    if not callable(get_config):
        raise UserError(f"--config: {file} has no get_config()")
    try:
        return get_config(words) if words else get_config()
    except TypeError as error:
        raise UserError(f"--config: {file}: get_config does not run: {error}") from error


def data_folder(given: str | None) -> Path:
    """Returns where data sets are: as given, or by default."""
    from lstm_lab.tasks.readers.download import default_data_dir

    return Path(given) if given else default_data_dir()


def request_devices(count: int | None) -> None:
    """Makes CPU cores devices, before JAX is used."""
    from lstm_lab.train.devices import keep_compiled_programs, request_cpu_devices

    keep_compiled_programs()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request_cpu_devices(count or cores or 1)


def study_folder(argv: list[str]) -> Path:
    """Returns the folder that `--workdir` names, and takes no other flag."""
    given = parse(argv, {"workdir": None})
    if given.workdir is None:
        raise UserError("--workdir is required: the folder of a study")
    return Path(given.workdir)

"""What all verbs share: parsing flags, loading a config, the data folder and the devices.

In: the arguments after a verb. Out: a frozen dataclass of flags, which each verb declares next to
it, and a `RunSpec`. Only `parse` declares flags of absl. `config/overrides.py` takes
`--config.PATH=VALUE` out of the arguments first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_type_hints

from absl import flags

from lstm_lab.utils.errors import UserError

if TYPE_CHECKING:
    from lstm_lab.config.run_spec import RunSpec


F = TypeVar("F")


def parse(argv: list[str], flags_type: type[F]) -> F:
    """Parses a verb's flags into its dataclass.

    Args:
      argv: the arguments after the verb.
      flags_type: a frozen dataclass of str, int, float and bool; each field is one flag.

    Returns:
      An instance of `flags_type`; flags that are not given have the defaults of its fields. If a
      flag is given twice, the last one counts.

    Raises:
      UserError: for an argument that is not a flag.
      absl.flags.Error: for an unknown flag, or a value of the wrong type or range.

    Example:
      parse(["--seeds=3"], TrainFlags).seeds  # 3
    """
    # Not absl's global FLAGS: verbs share names, and one process may parse several times, as the
    # tests do.
    values = flags.FlagValues()
    hints = get_type_hints(flags_type)
    declared = fields(cast(Any, flags_type))
    for field in declared:
        # `int | None` has arguments, `int` has none.
        kinds = get_args(hints[field.name]) or (hints[field.name],)
        default: Any = field.default
        if bool in kinds:
            flags.DEFINE_bool(field.name, default, "", flag_values=values)
        elif int in kinds:
            # A seed may be 0. All other whole numbers count something, so they start at 1.
            least = 0 if field.name == "seed" else 1
            flags.DEFINE_integer(field.name, default, "", lower_bound=least, flag_values=values)
        elif float in kinds:
            flags.DEFINE_float(field.name, default, "", flag_values=values)
        else:
            flags.DEFINE_string(field.name, default, "", flag_values=values)
    rest = values(["lstm-lab", *argv])[1:]
    if rest:
        raise UserError(f"arguments: got {rest[0]!r}, expected flags only, as --name=value")
    parsed = flags_type(**{field.name: values[field.name].value for field in declared})
    data_dir = getattr(parsed, "data_dir", None)
    if data_dir:
        # Config files may read their data. The environment lets them find the same folder, also in
        # worker processes.
        os.environ["LSTM_LAB_DATA"] = data_dir
    return parsed


def load_spec(config: str | None, overrides: dict[str, str | None]) -> RunSpec:
    """Loads a config file or a run.json, applies overrides, and builds the spec.

    Args:
      config: FILE.py, FILE.py:WORDS or a run.json; None if the flag is missing.
      overrides: the text of each value by dotted path, as `take_overrides` returns it.

    Raises:
      UserError: without a config, for a file of another kind, or as in `build_spec`.
    """
    from lstm_lab.config.overrides import apply_overrides
    from lstm_lab.config.parsing import build_spec
    from lstm_lab.config.serialization import from_json
    from lstm_lab.config.user_code import load_config
    from lstm_lab.utils.files import read_json

    if config is None:
        raise UserError("--config is required: FILE.py[:WORDS] or a run.json")
    path = Path(config)
    if path.suffix == ".json":
        data = read_json(path)
        if not isinstance(data, dict) or "spec" not in data:
            raise UserError(f"--config: {path} is not a run.json")
        spec = data["spec"]
        if "model.cell" in overrides:
            # The recorded hash belongs to the cell that is replaced.
            spec = {name: value for name, value in spec.items() if name != "cell_sha256"}
        # By `from_json`: it refuses a user's cell whose file has changed since.
        return from_json(apply_overrides(spec, overrides) if overrides else spec)
    return build_spec(apply_overrides(load_config(config), overrides))


def data_folder(data_dir: str | None) -> Path:
    """Returns the folder of data sets.

    Args:
      data_dir: the value of `--data_dir`; None takes $LSTM_LAB_DATA, or the user's cache.
    """
    from lstm_lab.tasks.readers.download import default_data_dir

    return Path(data_dir) if data_dir else default_data_dir()


def request_devices(count: int | None) -> None:
    """Makes CPU cores JAX devices, and turns on the cache of compiled programs.

    Call it before JAX makes its first array.

    Args:
      count: the number of devices; None is the number of cores. Accelerators are not affected.
    """
    from lstm_lab.train.devices import keep_compiled_programs, request_cpu_devices

    keep_compiled_programs()
    # The cores of this process, not of the machine: `sweep --jobs` pins each worker to its share,
    # and clusters limit jobs in the same way.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request_cpu_devices(count or cores or 1)


@dataclass(frozen=True)
class FolderFlags:
    """Flags of a verb that reads one folder."""

    workdir: str | None = None


def study_folder(argv: list[str]) -> Path:
    """Returns the folder that `--workdir` names; a verb with this one flag calls it.

    Args:
      argv: the arguments after the verb.

    Raises:
      UserError: without `--workdir`.
    """
    workdir = parse(argv, FolderFlags).workdir
    if workdir is None:
        raise UserError("--workdir is required: the folder of a study")
    return Path(workdir)

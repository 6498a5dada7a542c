"""Finds configs and studies: by name, here or in the package, or by the path of a file.

In: a name such as `adding`, or a path such as `my_config.py`. Out: the path of a Python file. Read
`user_code.py` next, which runs the file.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

from lstm_lab.utils.errors import UserError, missing_file, unknown

Kind = Literal["configs", "experiments"]

_OF_TABLES = {"imdb": "labels of texts", "series": "forecasts", "credit": "labels of rows"}
# By the ending of a file of data, the configs that read such files, each with its use.
_CONFIGS_OF_FILES = {
    ".csv": _OF_TABLES,
    ".tsv": _OF_TABLES,
    ".parquet": _OF_TABLES,
    ".jsonl": {"imdb": "labels of texts"},
    ".txt": {"characters": "the next character", "ptb": "the next word"},
    ".conll": {"tags": "a tag for each word"},
    ".conllu": {"tags": "a tag for each word"},
}


def package_folder(kind: Kind) -> Path:
    """Returns the folder of the installed package `lstm_lab.configs` or `lstm_lab.experiments`.

    Args:
      kind: which of both.

    Raises:
      UserError: if lstm_lab is imported from its source without being installed.
    """
    # Not the folder beside lstm_lab/: in an installed wheel, both lie inside the package.
    spec = importlib.util.find_spec(f"lstm_lab.{kind}")
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"lstm_lab.{kind} is not installed; in a clone of lstm_lab: pip install -e ."
        )
    return Path(spec.submodule_search_locations[0])


def list_files(kind: Kind) -> dict[str, Path]:
    """Returns the files by name: those of the package, then those of ./configs or ./experiments.

    Args:
      kind: configs or experiments.

    Returns:
      Paths by name, sorted; a file of the working directory replaces one of the package.
    """
    # A folder of the user may hold anything, so a file counts only if it defines the function that
    # will be called.
    function = "def get_config" if kind == "configs" else "def get_study"
    files = {}
    for folder in (package_folder(kind), Path(kind)):
        for path in sorted(folder.glob("*.py")):
            if function in path.read_text(encoding="utf-8", errors="replace"):
                files[path.stem] = path
    return dict(sorted(files.items()))


def find_file(kind: Kind, name: str, setting: str) -> Path:
    """Returns the file of a config or a study.

    Args:
      kind: configs or experiments.
      name: a name, or the path of a file: a name has neither a slash nor the ending `.py`.
      setting: the flag or argument that named it, for errors.

    Raises:
      UserError: for a file that does not exist, or an unknown name.

    Example:
      find_file("configs", "adding", "--config")  # .../configs/adding.py
    """
    path = Path(name)
    if kind == "configs":
        _refuse_data(name, setting)
    if "/" not in name and path.suffix != ".py":
        files = list_files(kind)
        if name not in files:
            _refuse_run(path, setting)
            raise unknown(setting, name, [*files, "FILE.py"])
        return files[name]
    if not os.path.isfile(path):
        _refuse_run(path, setting)
        # Texts of a clone say configs/adding.py; with an installed package, the name is enough.
        if path.stem in list_files(kind):
            raise UserError(f"{setting}: {path} does not exist; did you mean {path.stem!r}?")
        raise missing_file(setting, path)
    return path


def _refuse_data(name: str, setting: str) -> None:
    """Raises UserError for a file of data where a config belongs."""
    # The ending before that of a packed file.
    endings = [ending for ending in Path(name).suffixes if ending not in (".gz", ".zip")]
    configs = _CONFIGS_OF_FILES.get(endings[-1] if endings else "")
    if configs:
        meant = " or ".join(f"{config}:{name} ({use})" for config, use in configs.items())
        raise UserError(f"{setting}: got {name!r}, a file of data; did you mean {meant}?")


def _refuse_run(path: Path, setting: str) -> None:
    """Raises UserError for the folder of a run, whose run.json is a config, or of a study."""
    if os.path.isfile(path / "study.json"):
        raise UserError(
            f"{setting}: {path} is the folder of a study; expected its name or file, and "
            f"--workdir={path}"
        )
    if os.path.isfile(path / "run.json"):
        raise UserError(
            f"{setting}: {path} is the folder of a run; did you mean {path / 'run.json'}?"
        )

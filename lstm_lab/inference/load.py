"""Loads a finished run: its spec, its best weights and its preprocessing.

The run's folder is enough; neither the config file nor the data set is read. The other files of
this package take the `Trained` that `load_run` returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import from_json
from lstm_lab.config.user_code import check_trusted, file_hash
from lstm_lab.results.intact import read_preprocessing
from lstm_lab.results.run_files import read_settings
from lstm_lab.tasks.readers.text import Vocabulary
from lstm_lab.training.checkpoint import best_weights
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON, PyTree


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
      spec: all settings of the run.
      params: the parameters of its best checkpoint.
      preprocessing: vocabulary, labels and scales of the training data, as in `Dataset`.
    """

    spec: RunSpec
    params: PyTree
    preprocessing: dict[str, JSON]


def load_run(folder: Path, trust_code: bool = False) -> Trained:
    """Loads a finished run from its folder.

    Args:
      folder: the folder that holds run.json, of a single run or of one run of a study.
      trust_code: whether the cell or the task in the folder, if the run has its own, may run.

    Raises:
      UserError: if the folder holds no run, a run without weights, or code that is not trusted.

    Example:
      >>> trained = load_run(Path("runs/imdb"))
      >>> trained.spec.model.hidden
      128
    """
    record = read_settings(folder)
    if record is None:
        is_study = (folder / "study.json").is_file()
        hint = f"; it is a study: choose one of {folder / 'runs'}" if is_study else ""
        damaged = " (run.json is damaged)" if (folder / "run.json").is_file() else ""
        raise UserError(f"workdir: {folder} holds no run{damaged}{hint}")
    spec_json = record["spec"]
    check_trusted(spec_json, folder / "run.json", trust_code)
    for section, key, copy in (("model", "cell", "cell.py"), ("task", "name", "task.py")):
        spec_json[section][key] = _copied(folder / copy, spec_json, section, key)
    # What the run began with is part of its weights by now; the files may be gone.
    spec_json["model"] |= {"vectors": None, "init_from": None, "init_parts": []}
    for name in ("vectors_sha256", "init_from_sha256"):
        spec_json.pop(name, None)
    try:
        spec = from_json(spec_json)
    except UserError as error:
        # A setting that no user wrote: the file has changed since.
        raise UserError(f"workdir: {folder / 'run.json'}: {error}") from None
    shapes = jax.eval_shape(TrainStep(spec.for_tracing(), 1).init, member_of(spec, 1)).params
    like = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
    params = best_weights(folder, "workdir", like)
    content = read_preprocessing(folder, record, "workdir")
    preprocessing = {name: _without_lists(value) for name, value in content.items()}
    return Trained(spec, params, preprocessing)


def _copied(copy: Path, spec_json: dict[str, JSON], section: str, key: str) -> str:
    """Returns the name of a cell or a task; of a user's own, the name in the copy of its file.

    The run made the copy, since the user's file may have changed after training.
    """
    file, colon, name = spec_json[section][key].rpartition(":")
    # A run with a variant of the catalogue made no copy: a file of that name is not its own.
    if not colon:
        return str(name)
    recorded = spec_json.get("cell_sha256" if section == "model" else "task_sha256")
    # Before the file runs.
    if not copy.is_file() or file_hash(copy) != recorded:
        raise UserError(f"workdir: {copy} is not the copy of {file} that the run made")
    return f"{copy}:{name}"


def _without_lists(value: JSON) -> JSON:
    """Returns a list of symbols as a vocabulary, and other values as they are."""
    symbols = isinstance(value, list) and all(isinstance(symbol, str) for symbol in value)
    return Vocabulary(value) if symbols else value

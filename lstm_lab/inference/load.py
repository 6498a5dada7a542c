"""A finished run: its spec, its best weights, and what preprocessing it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import from_json
from lstm_lab.train.checkpoint import Checkpoints
from lstm_lab.train.state import member_of
from lstm_lab.train.step import TrainStep
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
      spec: what was trained.
      params: its best weights.
      preprocessing: what it found in its training data, as `Dataset.fitted`.
    """

    spec: RunSpec
    params: Any
    preprocessing: dict[str, Any]


def load_run(folder: Path) -> Trained:
    """Reads a finished run; neither its config nor its data set is needed.

    Raises:
      UserError: for a folder that holds no run, or one without weights.
    """
    head = read_json(folder / "run.json")
    if head is None:
        study = (folder / "study.json").is_file()
        hint = f"; it is a study: choose one of {folder / 'runs'}" if study else ""
        raise UserError(f"--workdir: {folder} holds no run{hint}")
    data = head["spec"]
    if (folder / "cell.py").is_file():
        name = data["model"]["cell"].rpartition(":")[2]
        data["model"]["cell"] = f"{folder / 'cell.py'}:{name}"
    data["model"]["vectors"] = None  # they are in the weights
    spec = from_json(data)
    best = Checkpoints(folder / "checkpoints" / "best")
    if best.latest_step() is None:
        raise UserError(f"--workdir: {folder} has no weights; the run is {head['status']}")
    shapes = jax.eval_shape(TrainStep(spec, 1).init, member_of(spec, 1)).params
    _, params = best.restore(jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes))
    return Trained(spec, params, read_json(folder / "preprocessing.json") or {})

"""Word vectors made elsewhere, with which an embedding begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks.readers.text import read_text
from lstm_lab.train.state import TrainState
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say


def with_vectors(spec: RunSpec, state: TrainState, preprocessing: dict[str, Any]) -> TrainState:
    """Returns a member's first state with the embedding of `model.vectors`, where it names one.

    Words that the file lacks keep what was drawn for them.

    Args:
      spec: the run.
      state: the member's state, host arrays.
      preprocessing: what the task found in its data; its `inputs` are the words.

    Raises:
      UserError: for a task without words, or a file that is missing or not of this form.
    """
    if spec.model.vectors is None:
        return state
    if "inputs" not in preprocessing:
        raise UserError(f"model.vectors: {spec.task.name} has no words")
    table_VD = np.array(state.params["embed"]["embedding"])
    found = read_vectors(Path(spec.model.vectors), table_VD.shape[1])
    known = [number for number, word in enumerate(preprocessing["inputs"]) if word in found]
    for number in known:
        table_VD[number] = found[preprocessing["inputs"][number]]
    say(f"{spec.model.vectors}: vectors of {len(known)} of {len(preprocessing['inputs'])} words")
    params = {**state.params, "embed": {"embedding": table_VD}}
    return state._replace(params=params, best=state.best._replace(params=params))


def read_vectors(path: Path, features: int) -> dict[str, np.ndarray]:
    """Reads vectors in text: a word and its numbers a line, as GloVe and fastText give them.

    Raises:
      UserError: for a line with another count of numbers; a first line of two numbers is a head.
    """
    found = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        word, *parts = line.rstrip().split(" ")
        if not parts or (number == 1 and len(parts) == 1):
            continue
        if len(parts) != features:
            raise UserError(
                f"model.vectors: {path} line {number} has {len(parts)} numbers, allowed "
                f"{features}, the embedding's"
            )
        try:
            found[word] = np.array(parts, np.float32)
        except ValueError as error:
            raise UserError(f"model.vectors: {path} line {number}: {error}") from None
    return found

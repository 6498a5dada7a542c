"""Pretrained word vectors as the start of an embedding.

In: a run and its first state. Out: the state with the vectors in its embedding.
`initial_weights.py` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.training.state import TrainState, with_params
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON


def with_word_vectors(
    spec: RunSpec, state: TrainState, preprocessing: Mapping[str, JSON]
) -> TrainState:
    """Returns a member's first state with the word vectors of `model.vectors`, if it names a file.

    Words that the file lacks keep their random vectors.

    Args:
      spec: the run.
      state: the member's first state, host arrays.
      preprocessing: what the task computed from its training data; `inputs` are the words.

    Raises:
      UserError: for a task without words, or a file that is missing or has another format.
    """
    if spec.model.vectors is None:
        return state
    if "inputs" not in preprocessing:
        raise UserError(f"model.vectors: the inputs of {spec.task.name} are not words")
    table_VD = np.array(state.params["embed"]["embedding"])
    vectors = read_vectors(Path(spec.model.vectors), table_VD.shape[1])
    words = preprocessing["inputs"]
    known = [index for index, word in enumerate(words) if word in vectors]
    for index in known:
        table_VD[index] = vectors[words[index]]
    say(f"{spec.model.vectors}: vectors for {len(known)} of {len(words)} words")
    return with_params(state, {**state.params, "embed": {"embedding": table_VD}})


def read_vectors(path: Path, features: int) -> dict[str, np.ndarray]:
    """Reads word vectors from a text file in the format of GloVe and fastText.

    Each line has a word and its numbers, separated by spaces. A first line with one number after
    the word is the header of fastText and is skipped.

    Args:
      path: the file.
      features: numbers per word, the embedding's.

    Raises:
      UserError: for a line with another count of numbers, or with something else than numbers.
    """
    vectors = {}
    for line_number, line in enumerate(read_text(path).split("\n"), 1):
        word, *parts = line.rstrip().split(" ")
        if not parts or (line_number == 1 and len(parts) == 1):
            continue
        if len(parts) != features:
            raise UserError(
                f"model.vectors: {path} line {line_number}: got {len(parts)} numbers, expected "
                f"{features}, as in model.embedding"
            )
        try:
            vectors[word] = np.array(parts, np.float32)
        except ValueError as error:
            raise UserError(f"model.vectors: {path} line {line_number}: {error}") from None
    return vectors

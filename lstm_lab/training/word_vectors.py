"""Pretrained word vectors as the start of an embedding.

In: a run and its first state. Out: the state with the vectors in its embedding, and a line that
says for how many words.
`initial_weights.py` calls it.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.weights_source import vectors_hash
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.training.state import TrainState, with_params
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON


def with_word_vectors(
    spec: RunSpec, state: TrainState, preprocessing: Mapping[str, JSON]
) -> tuple[TrainState, str]:
    """Returns a member's first state with the word vectors of `model.vectors`, and a line on them.

    Words that the file lacks keep their random vectors.

    Args:
      spec: the run; `model.vectors` names a file.
      state: the member's first state, host arrays.
      preprocessing: what the task computed from its training data; `inputs` are the words.

    Raises:
      UserError: for a task without words, or a file that is missing, was changed or has another
        format.
    """
    if "inputs" not in preprocessing:
        raise UserError(f"model.vectors: the inputs of {spec.task.name} are not words")
    table_VD = np.array(state.params["embed"]["embedding"])
    path, words = str(spec.model.vectors), tuple(preprocessing["inputs"])
    vectors = _known_vectors(Path(path), str(spec.vectors_sha256), table_VD.shape[1], words)
    for index, word in enumerate(words):
        if word in vectors:
            table_VD[index] = vectors[word]
    known = sum(word in vectors for word in words)
    line = f"{path}: vectors for {known} of {len(words)} words"
    return with_params(state, {**state.params, "embed": {"embedding": table_VD}}), line


# All runs of a cohort start from the same vectors, and a file may have gigabytes.
@lru_cache(maxsize=1)
def _known_vectors(
    path: Path, sha256: str, features: int, words: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Reads the vectors of a vocabulary; the hash is that of the run's id."""
    now = vectors_hash(path)
    if now != sha256:
        raise UserError(
            f"model.vectors: {path} was changed after the run was set up; restore the file, or "
            f"start a new run (sha256 {now}, then {sha256})"
        )
    return read_vectors(path, features, frozenset(words))


def read_vectors(
    path: Path, features: int, words: Container[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads word vectors from a text file in the format of GloVe and fastText.

    Each line has a word and its numbers, separated by spaces. A first line with one number after
    the word is the header of fastText and is skipped.

    Args:
      path: the file.
      features: numbers per word, the embedding's.
      words: the words to return; None returns all.

    Raises:
      UserError: for a line with another count of numbers, or with something else than numbers that
        float32 can hold.
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
            # An overflow is what is looked for.
            with np.errstate(over="ignore"):
                vector = np.array(parts, np.float32)
        except ValueError as error:
            raise UserError(f"model.vectors: {path} line {line_number}: {error}") from None
        if not np.isfinite(vector).all():
            wrong = parts[int(np.isfinite(vector).argmin())]
            raise UserError(
                f"model.vectors: {path} line {line_number}: got {wrong}, expected finite numbers "
                "of float32"
            )
        if words is None or word in words:
            vectors[word] = vector
    return vectors

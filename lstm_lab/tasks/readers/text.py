"""Text: vocabularies and their numbers, hashes of files.

In: words. Out: int32 arrays. A vocabulary is a tuple of symbols; the number of a symbol is its
index. Read words.py next for the words of a text, records.py or tables.py for columns.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lstm_lab.utils.errors import UserError

Unit = Literal["word", "character"]

# The files of the Penn Treebank of Mikolov et al. 2010 already contain <unk>. <eos> stands for the
# end of a line.
UNKNOWN = "<unk>"
END = "<eos>"


def most_frequent(tokens: Iterable[str], size: int) -> tuple[str, ...]:
    """Returns a vocabulary: `<unk>`, then the most frequent tokens.

    Args:
      tokens: the tokens of the training split; those of other splits would leak into the model.
      size: largest number of symbols, with `<unk>`.
    """
    counts = Counter(tokens)
    # A text may contain <unk> itself. It is number 0 anyway and must not appear twice.
    counts.pop(UNKNOWN, None)
    # Equally frequent tokens stay in the order of the text, so the same file always gives the same
    # numbers.
    return (UNKNOWN, *(token for token, _ in counts.most_common(size - 1)))


def encode(tokens: Iterable[str], vocabulary: tuple[str, ...]) -> np.ndarray:
    """Returns the numbers of tokens [N], int32; a token that is not in the vocabulary becomes 0."""
    numbers = {symbol: number for number, symbol in enumerate(vocabulary)}
    return np.array([numbers.get(token, 0) for token in tokens], np.int32)


def padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pads rows of numbers with zeros to the longest one.

    Args:
      rows: int32 arrays of different lengths; at least one.

    Returns:
      The rows [N,T] and their lengths [N], both int32.
    """
    # 0 and not -1: padding must be a valid index of the embedding and of the classes. The lengths
    # tell padding from real zeros.
    lengths = np.array([len(row) for row in rows], np.int32)
    filled = np.zeros((len(rows), lengths.max()), np.int32)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled, lengths


def check_unchanged(paths: Iterable[Path], sha256: str | None) -> None:
    """Raises UserError if the files are not those that a run was configured for.

    Args:
      paths: the files, in the order in which they were hashed.
      sha256: their hash, or None to check nothing.
    """
    # A resumed run would silently read other words under the same numbers if the files changed.
    paths = list(paths)
    if sha256 is not None and sha256_of(paths) != sha256:
        raise UserError(
            f"task.sha256: {', '.join(map(str, paths))} changed since the run was configured"
        )


def sha256_of(paths: Iterable[Path]) -> str:
    """Returns one SHA-256, in hex, of the contents of files in this order."""
    # A hash of hashes: plain concatenation could not tell where one file ends and the next begins.
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

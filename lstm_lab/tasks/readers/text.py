"""Text: vocabularies and their numbers, hashes of files.

In: words. Out: int32 arrays. A vocabulary is a tuple of symbols; the number of a symbol is its
index. Read words.py next for the words of a text, records.py or tables.py for columns.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from lstm_lab.utils.errors import UserError

Unit = Literal["word", "character"]

# The files of the Penn Treebank of Mikolov et al. 2010 already contain <unk>. <eos> stands for the
# end of a line.
UNKNOWN = "<unk>"
END = "<eos>"


class Vocabulary(tuple[str, ...]):
    """Symbols in the order of their numbers.

    A tuple that computes its hash once: predictions look its numbers up line by line.

    Example:
      encode(["a", "b"], Vocabulary(["<unk>", "a"]))  # [1, 0]
    """

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return super().__hash__()


def most_frequent(tokens: Iterable[str], size: int) -> tuple[str, ...]:
    """Returns a vocabulary: `<unk>`, then the most frequent tokens.

    Args:
      tokens: the tokens of the training split, a string for its characters; those of other splits
        would leak into the model.
      size: largest number of symbols, with `<unk>`.
    """
    counts = _character_counts(tokens) if isinstance(tokens, str) else Counter(tokens)
    # A text may contain <unk> itself. It is number 0 anyway and must not appear twice.
    counts.pop(UNKNOWN, None)
    # Equally frequent tokens stay in the order of the text, so the same file always gives the same
    # numbers.
    return (UNKNOWN, *(token for token, _ in counts.most_common(size - 1)))


def encode(tokens: Iterable[str], vocabulary: tuple[str, ...]) -> np.ndarray:
    """Returns the numbers of tokens [N], int32; a token that is not in the vocabulary becomes 0.

    Args:
      tokens: the tokens; a string for its characters.
      vocabulary: the symbols.
    """
    numbers = _numbers(vocabulary)
    if isinstance(tokens, str):
        return _encode_characters(tokens, numbers)
    return np.fromiter((numbers.get(token, 0) for token in tokens), np.int32)


def encode_rows(
    rows: Sequence[Sequence[str]], vocabulary: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the numbers of rows of tokens, padded with zeros to the longest row.

    Args:
      rows: tokens of each row; at least one row.
      vocabulary: the symbols; a token that is not among them becomes 0.

    Returns:
      The numbers [N,T] and the lengths of the rows [N], both int32.
    """
    # 0 and not -1: padding must be a valid index of the embedding and of the classes. The lengths
    # tell padding from real zeros.
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    filled = np.zeros((len(rows), lengths.max()), np.int32)
    # All tokens at once: an array for each of 200,000 rows would take longer than their numbers.
    filled[np.arange(filled.shape[1]) < lengths[:, None]] = encode(
        chain.from_iterable(rows), vocabulary
    )
    return filled, lengths


def unknown_share(x_NT: np.ndarray, lengths: np.ndarray, ends: int = 0) -> float:
    """Returns the share of `<unk>` among the tokens of padded rows.

    Args:
      x_NT: the numbers of the tokens.
      lengths: the lengths of the rows [N].
      ends: the number of `<eos>` in each row, which are not counted.
    """
    # Padding is 0, as `<unk>` is, so what is not 0 is counted.
    unknown = int(lengths.sum()) - int(np.count_nonzero(x_NT))
    return unknown / max(int((lengths - ends).sum()), 1)


def unknown_note(shares: Mapping[str, float], size: int, unit: str) -> str:
    """Returns a line for people on the tokens that a vocabulary lacks.

    Args:
      shares: the share of `<unk>` in each split.
      size: the number of symbols of the vocabulary.
      unit: what a token is called.

    Example:
      unknown_note({"train": 0.0, "test": 0.25}, 50, "word")
      # "unknown with 50 words: 0.0% of train, 25.0% of test"
    """
    order = [split for split in ("train", "valid", "test") if split in shares]
    listed = ", ".join(f"{shares[split]:.1%} of {split}" for split in order)
    return f"unknown with {size} {unit}s: {listed}"


# A text of 100 million characters as Python objects would take gigabytes. It stays one string, and
# its characters become numbers in parts of this length.
PART = 2**22


def _parts(text: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yields a text in parts, each with its code points, uint32."""
    for start in range(0, len(text), PART):
        part = text[start : start + PART]
        yield part, np.frombuffer(part.encode("utf-32-le", "surrogatepass"), np.uint32)


def _character_counts(text: str) -> Counter[str]:
    """Returns how often each character occurs, in the order of their first places."""
    counts = np.zeros(sys.maxunicode + 1, np.int64)
    characters: list[str] = []
    for part, points in _parts(text):
        occurring = np.bincount(points)
        new = np.flatnonzero(occurring.astype(bool) & (counts[: len(occurring)] == 0))
        characters += sorted(map(chr, new), key=part.find)
        counts[: len(occurring)] += occurring
    return Counter({character: int(counts[ord(character)]) for character in characters})


def _encode_characters(text: str, numbers: Mapping[str, int]) -> np.ndarray:
    """Returns the numbers of the characters of a text [N], int32."""
    table = np.zeros(sys.maxunicode + 1, np.int32)
    for symbol, number in numbers.items():
        if len(symbol) == 1:  # not <unk>
            table[ord(symbol)] = number
    encoded, start = np.empty(len(text), np.int32), 0
    for _, points in _parts(text):
        encoded[start : start + len(points)] = table[points]
        start += len(points)
    return encoded


@lru_cache(maxsize=8)
def _numbers(vocabulary: tuple[str, ...]) -> dict[str, int]:
    """Returns the number of each symbol; kept, since predictions encode line by line."""
    return {symbol: number for number, symbol in enumerate(vocabulary)}


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
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()

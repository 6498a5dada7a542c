"""The symbols of many texts as numbers, all texts at once.

In: texts. Out: numbers of their words or characters, the vocabulary of the most frequent, and
padded arrays. The same words, vocabulary and numbers as those of words.py and text.py, which take
one text at a time, and would take several times as long for 200,000.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, count
from typing import Literal, NamedTuple

import numpy as np

from lstm_lab.tasks.readers.text import UNKNOWN, Unit
from lstm_lab.tasks.readers.words import pieces_of, words_of


class CodedTexts(NamedTuple):
    """The symbols of N texts, one after the other.

    Attributes:
      symbols: the different symbols.
      numbers: for each symbol of the texts its index in `symbols`, int.
      lengths: number of symbols of each text [N].

    Example:
      code_texts(["to be", "be"], "word")  # symbols ["to", "be"], numbers [0, 1, 1], lengths [2, 1]
    """

    symbols: list[str]
    numbers: np.ndarray
    lengths: np.ndarray

    def shortened(self, max_length: int, keep: Literal["first", "last"]) -> CodedTexts:
        """Returns the first or the last symbols of each text.

        Args:
          max_length: largest number of symbols of a text.
          keep: which ones.
        """
        places = _steps(self.lengths)
        if keep == "last":
            places += max_length - np.repeat(self.lengths, self.lengths)
            inside = places >= 0
        else:
            inside = places < max_length
        lengths = np.minimum(self.lengths, max_length)
        return CodedTexts(self.symbols, self.numbers[inside], lengths)

    def vocabulary(self, size: int) -> tuple[str, ...]:
        """Returns `<unk>`, then the most frequent symbols; of two equally frequent ones the first.

        Args:
          size: largest number of symbols, with `<unk>`.
        """
        counts = np.bincount(self.numbers, minlength=len(self.symbols))
        first = np.zeros(len(self.symbols), np.int64)
        # Backwards: what is written last stays, the first place of each symbol.
        first[self.numbers[::-1]] = np.arange(len(self.numbers))[::-1]
        order = np.lexsort((first, -counts))
        found = (self.symbols[k] for k in order if counts[k])
        return (UNKNOWN, *[s for s in found if s != UNKNOWN][: size - 1])

    def padded(self, vocabulary: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the texts, padded with zeros to the longest.

        Args:
          vocabulary: the symbols; one that is not among them becomes 0, `<unk>`.

        Returns:
          The numbers [N,T] and the lengths of the texts [N], both int32. A text without symbols
          has one `<unk>`, since a sequence needs at least one step.
        """
        known = {symbol: number for number, symbol in enumerate(vocabulary)}
        table = np.array([known.get(symbol, 0) for symbol in self.symbols], np.int32)
        lengths = np.maximum(self.lengths, 1).astype(np.int32)
        filled = np.zeros((len(lengths), lengths.max()), np.int32)
        filled[np.arange(filled.shape[1]) < self.lengths[:, None]] = table[self.numbers]
        return filled, lengths


def code_texts(texts: Iterable[str], unit: Unit) -> CodedTexts:
    """Returns the symbols of texts as numbers.

    Args:
      texts: the texts.
      unit: whether a symbol is a word, as in `words_of`, or a character.

    Example:
      code_texts(["To be"], "word").vocabulary(3)  # ("<unk>", "to", "be")
    """
    return _code_words(texts) if unit == "word" else _code_characters(list(texts))


def _code_words(texts: Iterable[str]) -> CodedTexts:
    # What stands between spaces is the same many times, and is split into words only once.
    piece_numbers: defaultdict[str, int] = defaultdict(count().__next__)
    lists = [pieces_of(text) for text in texts]
    pieces = np.fromiter(map(piece_numbers.__getitem__, chain.from_iterable(lists)), np.int64)
    word_numbers: defaultdict[str, int] = defaultdict(count().__next__)
    words = [[word_numbers[word] for word in words_of(piece)] for piece in piece_numbers]
    widths = np.fromiter(map(len, words), np.int64, len(words))
    flat = np.fromiter(chain.from_iterable(words), np.int64)
    starts = np.cumsum(widths) - widths
    each = widths[pieces]
    numbers = flat[np.repeat(starts[pieces], each) + _steps(each)]
    ends = np.cumsum(np.fromiter(map(len, lists), np.int64, len(lists)))
    total = np.concatenate([[0], np.cumsum(each)])[ends]
    return CodedTexts(list(word_numbers), numbers, np.diff(total, prepend=0))


def _code_characters(texts: list[str]) -> CodedTexts:
    encoded = "".join(texts).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(encoded, np.uint32)
    occurring = np.zeros(sys.maxunicode + 1, bool)
    occurring[points] = True
    # The number of a character is how many of the others come before it.
    numbers = np.cumsum(occurring)[points] - 1
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return CodedTexts([chr(point) for point in np.flatnonzero(occurring)], numbers, lengths)


def _steps(lengths: np.ndarray) -> np.ndarray:
    """Returns 0, 1, ... for each row, one row after the other: [0, 1, 0] for the lengths [2, 1]."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)

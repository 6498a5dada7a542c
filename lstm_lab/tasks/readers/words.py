"""Words of a text in any language, from which the text can be put together again.

In: a text. Out: its words, punctuation marks, and the characters of scripts without spaces, such as
Chinese. `split_text` also records where no space, or an unexpected one, stands between two of them:
`join_text(split_text(text)) == normalize(text)`. Read subwords.py next: parts of words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple


class Tokenizer(NamedTuple):
    """How a text becomes tokens, and tokens a text: `join(split(text)) == normalize(text)`.

    Example:
      WORDS.join(WORDS.split("A dog."))  # "a dog."
    """

    split: Callable[[str], list[str]]
    join: Callable[[Sequence[str]], str]


# Marks of a token, at the side of its neighbor. GLUED: no space stands between them, where one is
# usual. SPACED: a space stands between them, where none is usual.
GLUED, SPACED = "\uffed", "\u2581"
_MARKS = GLUED + SPACED

# Scripts that have no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
# Their punctuation marks, which have no spaces around them either.
_UNSPACED_MARKS = "\u3000-\u3004\u3008-\u303f\uff00-\uff65"
# No space stands before these marks, of Latin, Indian and Arabic script.
_CLOSING = frozenset(".,!?;:।،؛؟")
# Longest piece between spaces whose words are kept. Scripts without spaces have longer ones, which
# hardly ever come again.
KEPT_PIECE = 24
# Zero-width joiners; in Persian and Hindi they stand inside words.
_JOINERS = "\u200c\u200d"


@lru_cache(maxsize=1)
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Returns patterns of one token, and of a token that needs no space next to it."""
    # Combining marks: accents of decomposed letters, vowels of Hindi, points of Hebrew. \w lacks
    # them, and a word would fall apart at each of them.
    numbers = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))  # where Unicode has marks
    runs = groupby(numbers, lambda number: unicodedata.category(chr(number))[0] == "M")
    ranges = [list(run) for is_mark, run in runs if is_mark]
    marks = _JOINERS + "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in ranges)
    # The order matters, since the first pattern that matches wins: <unk> as one word and not as
    # three; single characters of scripts without spaces; words with apostrophes, such as don't;
    # punctuation marks, one by one.
    token = rf"<\w+>|[{_UNSPACED}][{marks}]*|(?:[^\W{_UNSPACED}]|['{marks}])+|[^\w\s][{marks}]*"
    return re.compile(token), re.compile(f"[{_UNSPACED}{_UNSPACED_MARKS}]")


def normalize(text: str) -> str:
    """Returns a text in lower case, with single spaces and without the two marks of `split_text`.

    Example:
      normalize("A  dog\\n")  # "a dog"
    """
    return " ".join(pieces_of(text))


def pieces_of(text: str) -> list[str]:
    """Returns what stands between the spaces of a text, in lower case.

    Args:
      text: the text; the two marks of `split_text` count as spaces.

    Example:
      pieces_of("To be, or")  # ["to", "be,", "or"]
    """
    return text.lower().translate(_TO_SPACES).split()


_TO_SPACES = str.maketrans(dict.fromkeys(_MARKS, " "))


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case, its punctuation marks, and Chinese characters.

    Example:
      words_of("I don't—know 晓晓!")  # ["i", "don't", "—", "know", "晓", "晓", "!"]
    """
    # A token never contains a space, and most pieces occur many times in a text.
    words: list[str] = []
    for piece in pieces_of(text):
        words += _words_of_piece(piece) if len(piece) <= KEPT_PIECE else _find_words(piece)
    return words


def _find_words(piece: str) -> list[str]:
    return _patterns()[0].findall(piece)


_words_of_piece = lru_cache(maxsize=2**16)(_find_words)


def split_text(text: str) -> list[str]:
    """Returns the words of a text with marks, so that `join_text` can put them together again.

    A mark is needed only where the space between two words is not the usual one. The punctuation
    mark of the two gets it, so that a word has few forms.

    Example:
      split_text("A dog-cat, 3 km .")  # ["a", "dog", "￭-￭", "cat", ",", "3", "km", "▁."]
    """
    matches = list(_patterns()[0].finditer(normalize(text)))
    tokens = [match.group() for match in matches]
    marked = list(tokens)
    for k, (left, right) in enumerate(pairwise(matches)):
        spaced = left.end() < right.start()
        if spaced == _is_spaced(tokens[k], tokens[k + 1]):
            continue
        mark = SPACED if spaced else GLUED
        if tokens[k + 1][0].isalnum() and not tokens[k][0].isalnum():
            marked[k] += mark
        else:
            marked[k + 1] = mark + marked[k + 1]
    return marked


def join_text(tokens: Sequence[str]) -> str:
    """Returns the text of marked words, also of those that a model predicts.

    Args:
      tokens: words as in `split_text`.

    Example:
      join_text(["a", "dog", ","])  # "a dog,"
    """
    words = [token.strip(_MARKS) for token in tokens]
    text = words[:1]
    for (left, right), (before, after) in zip(pairwise(tokens), pairwise(words), strict=True):
        # A model may predict two marks that contradict each other; then the right one counts.
        mark = right[:1] if right[:1] in _MARKS else left[-1:]
        usual = _is_spaced(before, after)
        spaced = {SPACED: True, GLUED: False}.get(mark, usual)
        text.append(f" {after}" if spaced else after)
    return "".join(text)


def _is_spaced(left: str, right: str) -> bool:
    """Returns whether a space usually stands between two words."""
    unspaced = _patterns()[1]
    if unspaced.match(left) or unspaced.match(right):
        return False
    return right not in _CLOSING


WORDS = Tokenizer(split_text, join_text)

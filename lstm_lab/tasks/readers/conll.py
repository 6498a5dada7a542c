"""CoNLL files: one word per line with its tags in columns, an empty line between sentences.

In: a file. Out: sentences of words, tags and an intent. The columns are separated by tabs, or by
spaces and tabs; all other white space belongs to a word. Read datasets/tagging.py next.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstm_lab.tasks.readers.files import read_text
from lstm_lab.utils.errors import UserError


class Sentence(NamedTuple):
    """One sentence of a file.

    Attributes:
      words: the words.
      tags: a tag for each word.
      intent: the label of the sentence; empty if the file has none.
      line: the line of the first word, for error messages; counted from 1.

    Example:
      Sentence(["to", "Oslo"], ["O", "B-city"], intent="flight", line=1)
    """

    words: list[str]
    tags: list[str]
    intent: str
    line: int


class Columns(NamedTuple):
    """The columns of words and tags, counted from 1; None means that the file decides.

    Example:
      Columns(word=2, tag=4)  # words and parts of speech of CoNLL-U
    """

    word: int | None = None
    tag: int | None = None


DETECTED = Columns()


class _Block(NamedTuple):
    """The lines between two empty lines: comments, and rows of columns with their line numbers."""

    comments: list[str]
    rows: list[tuple[int, list[str]]]


# `# sent_id = 3` in CoNLL-U, `# intent: flight` in data sets of slots.
_INTENT = re.compile(r"#\s*intent\s*[=:]\s*(.*)", re.IGNORECASE)
# CoNLL-U numbers its words: 3-4 is one written word that counts as two, 8.1 a word that is not
# written.
_NUMBER, _EXTRA_NUMBER = re.compile(r"\d+"), re.compile(r"\d+[-.]\d+")
_CONLL_U, _CONLL_U_WIDTH = Columns(word=2, tag=4), 10


def split_words(line: str) -> list[str]:
    """Splits a line at spaces and tabs; a no-break space stays inside a word.

    Example:
      split_words("to  New\\u00a0York")  # ["to", "New\\u00a0York"]
    """
    return re.findall(r"[^ \t]+", line)


def read_conll(path: Path, columns: Columns = DETECTED) -> list[Sentence]:
    """Reads the sentences of a CoNLL file.

    Lines that begin with # before a sentence are comments if they have not the columns of a word.
    The comment `# intent = NAME` or `# intent: NAME` is the intent of the sentence. If the first
    column counts the words, as in CoNLL-U, extra words such as 3-4 and 8.1 are left out.

    Args:
      path: the file.
      columns: the columns of words and tags. By default, words are in the first column, or in the
        second one after a count, and tags in the last one; in CoNLL-U, tags are parts of speech.

    Raises:
      UserError: if a line has no tag, or other columns than the rest.
    """
    blocks = _blocks(path)
    is_counted = _is_counted(blocks)
    width = len(blocks[0].rows[0][1])
    usual = Columns(2 if is_counted and width > 2 else 1, width)
    if is_counted and width == _CONLL_U_WIDTH:
        usual = _CONLL_U
    word_column, tag_column = columns.word or usual.word or 1, columns.tag or usual.tag or width
    for name, column in (("word_column", word_column), ("tag_column", tag_column)):
        if column > width:
            raise UserError(f"task.{name}: got {column}, but {path} has {width} columns")
    sentences = []
    for comments, rows in blocks:
        kept = [row for row in rows if not (is_counted and _EXTRA_NUMBER.fullmatch(row[1][0]))]
        words = [row[word_column - 1] for _, row in kept]
        tags = [row[tag_column - 1] for _, row in kept]
        for (number, _), *word_and_tag in zip(kept, words, tags, strict=True):
            if not all(word_and_tag):
                raise UserError(f"data: {path} line {number} has an empty word or tag")
        intents = [match[1].strip() for c in comments if (match := _INTENT.fullmatch(c))]
        sentences.append(Sentence(words, tags, "".join(intents[-1:]), kept[0][0]))
    return sentences


def _is_counted(blocks: Sequence[_Block]) -> bool:
    """Returns whether the first column counts the words of every sentence, from 0 or from 1."""
    for block in blocks:
        counts = [row[0] for _, row in block.rows if not _EXTRA_NUMBER.fullmatch(row[0])]
        if not counts or not all(map(_NUMBER.fullmatch, counts)):
            return False
        numbers = [int(count) for count in counts]
        if numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            return False
    return True


def _blocks(path: Path) -> list[_Block]:
    """Returns the sentences of a file with their comments; all rows have the same width."""
    groups: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(read_text(path).split("\n"), 1):
        # CoNLL-2003 begins each document with the line -DOCSTART-, which is not a sentence.
        if not line.strip() or split_words(line)[:1] == ["-DOCSTART-"]:
            groups.append([])
        else:
            groups[-1].append((number, line))
    certain = [line for group in groups for _, line in group if not line.startswith("#")]
    if not certain:
        raise UserError(f"data: {path} has no words, expected a word and its tag a line")
    split = _splitter(certain)
    rows = [split(line) for line in certain]
    # The usual width, and not that of the first row, which may be the damaged one.
    width = Counter(map(len, rows)).most_common(1)[0][0]
    tags = {row[-1] for row in rows}

    blocks: list[_Block] = []
    comments: list[str] = []
    for group in groups:
        words = list(group)
        while words and _is_comment(words[0][1], split, width, tags):
            comments.append(words.pop(0)[1])
        if words:
            blocks.append(_Block(comments, [(number, split(line)) for number, line in words]))
            # An empty line may stand between a comment and its sentence.
            comments = []
    for block in blocks:
        _check_width(path, block, width)
    return blocks


def _splitter(lines: Sequence[str]) -> Callable[[str], list[str]]:
    """Returns the function that splits a line into columns: at tabs, or at spaces and tabs."""

    def at_tabs(line: str) -> list[str]:
        return [cell.strip(" ") for cell in line.split("\t")]

    # Where only one way gives equally many columns, it is right. A damaged file has none, and its
    # error message should count the columns that the other lines have.
    equal = [len({len(split(line)) for line in lines}) == 1 for split in (at_tabs, split_words)]
    most = sum("\t" in line for line in lines) > len(lines) / 2
    return at_tabs if most and (equal[0] or not equal[1]) else split_words


def _is_comment(line: str, split: Callable[[str], list[str]], width: int, tags: set[str]) -> bool:
    # The word # may begin a sentence. It has a tag that other words have, too.
    row = split(line)
    is_word = len(row) == width and (not line.startswith("# ") or row[-1] in tags)
    return line.startswith("#") and not is_word


def _check_width(path: Path, block: _Block, width: int) -> None:
    for number, row in block.rows:
        if len(row) == 1:
            raise UserError(
                f"data: {path} line {number} has {row[0]!r} and no tag; expected a word and "
                "its tag a line, and empty lines between sentences"
            )
        if len(row) != width:
            raise UserError(
                f"data: {path} line {number} has {len(row)} columns, expected {width} as in most "
                "lines"
            )

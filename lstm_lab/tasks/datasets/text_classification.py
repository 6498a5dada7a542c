"""Texts with one label each: sentiment, topics, intents.

In: CSV or JSON lines with a text and a label per record. Out: padded sequences of words or
characters with a class each. tagging.py predicts a tag for each word instead.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, Measure, Split, Task, Tokens
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.records import Record, read_records
from lstm_lab.tasks.readers.splits import check_shares, read_splits
from lstm_lab.tasks.readers.text import (
    UNKNOWN,
    Unit,
    encode,
    encode_rows,
    most_frequent,
    sha256_of,
)
from lstm_lab.tasks.readers.words import words_of
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import shown

Rows = list[tuple[int, Record]]


@dataclass(frozen=True)
class Text(Task):
    """Which label a text has.

    Attributes:
      train: the file of the training split: CSV with a header, or JSON lines; gzipped if its name
        ends in .gz.
      labels: all labels, in the order of their numbers.
      valid, test: files of these splits; without them, they are held out of `train`.
      text, label: names of the columns.
      unit: whether a symbol is a word or a character. Words are in lower case, and punctuation
        marks are words.
      vocabulary: number of symbols with `<unk>`; rarer symbols become `<unk>`.
      max_length: largest number of symbols of a text that are read.
      keep: which part of a longer text is read.
      valid_share, test_share: shares of `train` for these splits if they have no files.
      split_seed: seed of the random choice of held-out texts, the same for all runs.
      sha256: hash of the user's own files, or None; see `options`.

    Example:
      task = Text("reviews.csv", ("negative", "positive"), text="review", label="sentiment")
      task.target.size, task.metric  # 2, "accuracy"
    """

    train: str
    labels: tuple[str, ...]
    valid: str | None = None
    test: str | None = None
    text: str = "text"
    label: str = "label"
    unit: Unit = "word"
    vocabulary: int = 10_000
    max_length: int = 400
    keep: Literal["first", "last"] = "last"
    valid_share: float = 0.1
    test_share: float = 0.1
    split_seed: int = 0
    sha256: str | None = None

    name: ClassVar[str] = "text"
    metric: ClassVar[str] = "accuracy"
    files: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 2), ("max_length", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} or more")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: got {self.labels}, expected two or more that differ")
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Tokens:
        """The symbols of the text."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The label of the text."""
        # Several classes are often unbalanced, and accuracy hides the rare ones.
        extra: tuple[Measure, ...] = ("macro_f1",) if len(self.labels) > 2 else ()
        return Categorical(len(self.labels), metrics=("accuracy", *extra))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the texts.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or malformed, or has an unknown label.
        """
        find = partial(locate, data_dir=data_dir)
        paths, splits = read_splits(self, find, partial(read_records, columns=self.columns))
        symbols = {
            split: [
                self.symbols(record[self.text])
                for _, record in shown(part, len(part), "texts", f"reading {split}")
            ]
            for split, part in splits.items()
        }
        vocabulary = most_frequent((s for text in symbols["train"] for s in text), self.vocabulary)
        examples: dict[str, Split] = {}
        for split, part in splits.items():
            x_NT, lengths = encode_rows(symbols[split], vocabulary)
            y = self._numbers(paths[split], part)
            examples[split] = Examples(x_NT, y, lengths)
        return Dataset(examples, {"inputs": vocabulary, "outputs": self.labels})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a line to the numbers of its symbols [T].

        Args:
          line: a text, or a JSON object with the text column, like a line of the training file.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if a line that begins with { is not such an object.
        """
        if line.lstrip().startswith("{"):
            try:
                line = json.loads(line)[self.text]
            except (json.JSONDecodeError, KeyError):
                raise UserError(f"input: got {line!r}, expected JSON with {self.text!r}") from None
        return encode(self.symbols(line), tuple(preprocessing["inputs"]))

    @property
    def columns(self) -> tuple[str, str]:
        """The columns that each record must have."""
        return self.text, self.label

    def symbols(self, text: Any) -> list[str]:
        """Returns the symbols of a text that the model reads.

        Args:
          text: the text; a number, which JSON allows, is converted.
        """
        tokens = words_of(str(text)) if self.unit == "word" else list(str(text))
        tokens = tokens[-self.max_length :] if self.keep == "last" else tokens[: self.max_length]
        # A sequence needs at least one step, since the label is predicted after the last one.
        return tokens or [UNKNOWN]

    def _numbers(self, path: Path, rows: Rows) -> np.ndarray:
        # str, because a JSON label may be a number or a Boolean, while the config has strings.
        numbers = {label: number for number, label in enumerate(self.labels)}
        for line, record in rows:
            if str(record[self.label]) not in numbers:
                raise UserError(
                    f"data: {path} line {line} has the label {str(record[self.label])!r}, "
                    f"expected one of those of the config: {', '.join(self.labels)}"
                )
        return np.array([numbers[str(record[self.label])] for _, record in rows], np.int32)


def options(
    train: str, text: str = "text", label: str = "label", unit: Unit = "word", most: int = 10_000
) -> dict[str, Any]:
    """Returns the options of the task for a user's own file: labels, vocabulary size and hash.

    Args:
      train: the file.
      text, label: names of the columns.
      unit: whether a symbol is a word or a character.
      most: largest size of the vocabulary.

    Raises:
      UserError: if the file is missing or malformed, or has only one label.
    """
    rows = read_records(Path(train), (text, label))
    # Sorted, so that the numbers of the labels do not depend on the order of the rows.
    labels = tuple(sorted(Counter(str(record[label]) for _, record in rows)))
    if len(labels) < 2:
        raise UserError(f"data: {train} has the label {labels[0]!r} alone, expected two or more")
    task = Text(train, labels, text=text, label=label, unit=unit)
    symbols: Sequence[str] = [s for _, record in rows for s in task.symbols(record[text])]
    return {
        "name": Text.name,
        "train": train,
        "labels": labels,
        "text": text,
        "label": label,
        "unit": unit,
        "vocabulary": len(most_frequent(symbols, most)),
        "sha256": sha256_of([Path(train)]),
    }

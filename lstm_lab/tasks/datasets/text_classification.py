"""Texts with a label each: sentiment, topics, intents."""

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
    most_frequent,
    padded,
    sha256_of,
    words_of,
)
from lstm_lab.utils.errors import UserError

Rows = list[tuple[int, Record]]


@dataclass(frozen=True)
class Text(Task):
    """Which label a text has.

    Attributes:
      train: records of text and label: CSV with a header, or JSON lines; gzipped where its name
        ends in .gz.
      labels: all labels.
      valid, test: records of these splits; without them they are held out of `train` at random.
      text, label: the columns.
      unit: what a symbol is; words are lower-case, punctuation marks are words.
      vocabulary: symbols, `<unk>` among them; rarer ones are left out.
      max_length: symbols of a text that are read, at most;
      keep: which of a longer one.
      valid_share, test_share: of `train`, where these splits have no files of their own.
      split_seed: of what is held out, the same for every run.
      sha256: hash of the files, for those of the user's own; see `options`.
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
        """The text."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """Its label."""
        extra: tuple[Measure, ...] = ("macro_f1",) if len(self.labels) > 2 else ()
        return Categorical(len(self.labels), metrics=("accuracy", *extra))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the texts.

        Raises:
          UserError: for a file that is missing, changed, or not of this form, or an unknown label.
        """
        find = partial(locate, data_dir=data_dir)
        paths, splits = read_splits(self, find, partial(read_records, columns=self.columns))
        symbols = {
            split: [self.symbols(record[self.text]) for _, record in part]
            for split, part in splits.items()
        }
        vocabulary = most_frequent((s for text in symbols["train"] for s in text), self.vocabulary)
        examples: dict[str, Split] = {}
        for split, part in splits.items():
            x_NT, lengths = padded([encode(text, vocabulary) for text in symbols[split]])
            y = self._numbers(paths[split], part)
            examples[split] = Examples(x_NT, y, lengths)
        return Dataset(examples, {"inputs": vocabulary, "outputs": self.labels})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Returns the symbols of a line [T]: a text, or a JSON object that has one."""
        if line.lstrip().startswith("{"):
            try:
                line = json.loads(line)[self.text]
            except (json.JSONDecodeError, KeyError):
                raise UserError(f"input: got {line!r}, expected JSON with {self.text!r}") from None
        return encode(self.symbols(line), tuple(preprocessing["inputs"]))

    @property
    def columns(self) -> tuple[str, str]:
        """What each record has."""
        return self.text, self.label

    def symbols(self, text: Any) -> list[str]:
        """Returns the symbols of a text that are read; an empty one is `<unk>`."""
        tokens = words_of(str(text)) if self.unit == "word" else list(str(text))
        tokens = tokens[-self.max_length :] if self.keep == "last" else tokens[: self.max_length]
        return tokens or [UNKNOWN]

    def _numbers(self, path: Path, rows: Rows) -> np.ndarray:
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
    """Returns the task's options for records of the user's own: labels, vocabulary and hash.

    Args:
      train: the file.
      text, label: the columns.
      unit: what a symbol is.
      most: symbols of the vocabulary, at most.

    Raises:
      UserError: as `Text.load`.
    """
    rows = read_records(Path(train), (text, label))
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

"""Texts with one label each: sentiment, topics, intents.

In: CSV or JSON lines with a text and a label per record. Out: padded sequences of words or
characters with a class each. tagging.py predicts a tag for each word instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Measure, Task, Tokens
from lstm_lab.tasks.examples import Examples, Split
from lstm_lab.tasks.readers.coded import CodedTexts, code_texts
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.labels import all_labels, check_label_header, label_numbers
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.records import (
    Records,
    find_text_columns,
    parse_object,
    read_record_file,
    read_records,
)
from lstm_lab.tasks.readers.rows import DELIMITERS, parse_table, split_rows
from lstm_lab.tasks.readers.splits import check_shares, read_splits
from lstm_lab.tasks.readers.tables import RowFormat
from lstm_lab.tasks.readers.text import (
    UNKNOWN,
    Unit,
    encode,
    sha256_of,
    unknown_note,
    unknown_share,
)
from lstm_lab.tasks.readers.words import words_of
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import shown


@dataclass(frozen=True)
class Text(RowFormat, Task):
    """Which label a text has.

    Attributes:
      train: the file of the training split: a table with a header, or JSON lines.
      labels: all labels, in the order of their numbers.
      valid, test: files of these splits; without them, they are held out of `train`.
      text, label: names of the columns.
      missing: `drop` leaves records without a text or a label out; None refuses them.
      unit: whether a symbol is a word or a character. Words are in lower case, and punctuation
        marks are words.
      vocabulary: number of symbols with `<unk>`; rarer symbols become `<unk>`.
      max_length: largest number of symbols of a text that are read.
      keep: which part of a longer text is read.
      valid_share, test_share: shares of `train` for these splits if they have no files.
      split_seed: seed of the random choice of held-out texts, the same for all runs.
      sha256: hash of the user's own files, or None; see `complete`.

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
    missing: Literal["drop"] | None = None
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
        self.check_format()

    @classmethod
    @collector_paused()
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds columns, labels, the size of the vocabulary and the hash of a user's files.

        Args:
          options: the options that were given; `vocabulary` is the largest size otherwise.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, has only one label, or has several columns
            that may be the texts or the labels.
        """
        options = set_options(options)
        if not incomplete(options, cls.files, ("labels",), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        form = RowFormat(delimiter=options.get("delimiter"))
        form.check_format()
        files = {split: read_record_file(path, form) for split, path in paths.items()}
        columns = find_text_columns(files["train"], options.get("text"), options.get("label"))
        records = {s: file.having(columns, options.get("missing")) for s, file in files.items()}
        # Labels of all splits: one that occurs only in the test split needs a number, too.
        labels = options.get("labels") or all_labels(
            {
                f"data: {paths[split]} line {line}": label_text(record[columns[1]])
                for split, part in records.items()
                for line, record in part
            }
        )
        if options.get("label") is None:
            # Found by their values, as those of a file without a header may be.
            check_label_header(f"data: {paths['train']}", columns[1], labels)
        added: dict[str, Any] = {"labels": labels, "text": columns[0], "label": columns[1]}
        task = cls(**{**options, **added})
        coded = task._coded(records["train"])
        added["vocabulary"] = max(len(coded.vocabulary(task.vocabulary)), 2)
        return {**options, **added, "sha256": options.get("sha256", sha256_of(paths.values()))}

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

    @collector_paused()
    def load(self, data_dir: Path) -> Dataset:
        """Reads the texts.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or malformed, or has an unknown label.
        """
        find = partial(locate, data_dir=data_dir)
        read = partial(read_records, columns=self.columns, form=self, missing=self.missing)
        paths, splits = read_splits(self, find, read)
        coded = {split: self._coded(part, split) for split, part in splits.items()}
        vocabulary = coded["train"].vocabulary(self.vocabulary)
        examples: dict[str, Split] = {}
        unknown = {}
        for split, part in splits.items():
            x_NT, lengths = coded[split].padded(vocabulary)
            unknown[split] = unknown_share(x_NT, lengths)
            examples[split] = Examples(x_NT, self._numbers(paths[split], part), lengths)
        header = list(splits["train"][0][1])
        preprocessing = {"inputs": vocabulary, "outputs": self.labels, "header": header}
        left_out = {name: "not used" for name in header if name not in self.columns}
        source = {
            "reads": [self.text],
            "predicts": [self.label],
            "left_out": left_out,
            "rows_read": sum(len(part) for part in splits.values()),
        }
        # The known reviews, which have no hash, have the vocabulary of their papers.
        if self.sha256 is not None:
            source["notes"] = [unknown_note(unknown, len(vocabulary), self.unit)]
        return Dataset(examples, preprocessing, source)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a line to the numbers of its symbols [T].

        Args:
          line: a text, or a JSON object with the text column, like a line of the training file.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if a line that begins with { is not such an object.
        """
        text: Any = line
        if line.lstrip().startswith("{"):
            record = parse_object("input", line)
            if record.get(self.text) is None:
                raise UserError(f"input: got {line!r}, expected JSON with {self.text!r}")
            text = record[self.text]
        return encode(self.symbols(text), preprocessing["inputs"])

    def read_inputs(
        self, lines: Iterable[str], preprocessing: Mapping[str, Any]
    ) -> Iterator[np.ndarray]:
        """Converts texts, one per line; or a table with the header of the training file.

        Args:
          lines: the lines.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: for a malformed table or line, or a missing text.
        """
        rest = (line for line in lines if line.strip())
        first = next(rest, None)
        if first is None:
            return
        if not self._is_header(first, preprocessing.get("header", ())):
            for line in chain([first], rest):
                yield self.read_line(line, preprocessing)
            return
        table = parse_table("input", "\n".join([first, *rest]), self.mark)
        for line_number, text in table.frame[self.text].items():
            if text == "":
                raise UserError(f"{table.place(line_number, self.text)} has no text")
            yield encode(self.symbols(text), preprocessing["inputs"])

    def _is_header(self, line: str, header: Iterable[str]) -> bool:
        """Returns whether a line is a header: the text column, and others of the training file.

        Further columns may be between them, but a line of one text and a comma is no header.
        """
        known = {*header, *self.columns}
        marks = [self.mark] if self.mark else list(DELIMITERS)
        for mark in marks:
            try:
                ((_, names),) = split_rows("input", line, mark)
            except UserError:
                continue
            if self.text in names and (set(names) <= known or len(known & set(names)) > 1):
                return True
        return False

    @property
    def columns(self) -> tuple[str, str]:
        """The columns that each record must have."""
        return self.text, self.label

    def symbols(self, text: Any) -> list[str]:
        """Returns the symbols of a text that the model reads.

        Args:
          text: the text; a number, which JSON allows, is converted.

        Raises:
          UserError: for a list or an object.
        """
        content = self._content(text)
        tokens = words_of(content) if self.unit == "word" else list(content)
        tokens = tokens[-self.max_length :] if self.keep == "last" else tokens[: self.max_length]
        # A sequence needs at least one step, since the label is predicted after the last one.
        return tokens or [UNKNOWN]

    def _coded(self, rows: Records, split: str = "train") -> CodedTexts:
        """Returns the symbols of all texts of a split, the same as `symbols` for each."""
        reading = shown(rows, len(rows), "texts", f"reading {split}")
        texts = (self._content(record[self.text]) for _, record in reading)
        return code_texts(texts, self.unit).shortened(self.max_length, self.keep)

    def _content(self, text: Any) -> str:
        if isinstance(text, list | dict):
            raise UserError(f"data: got {text!r:.60} in column {self.text!r}, expected a text")
        return str(text)

    def _numbers(self, path: Path, rows: Records) -> np.ndarray:
        places = [f"data: {path} line {line}" for line, _ in rows]
        return label_numbers(places, [label_text(r[self.label]) for _, r in rows], self.labels)


def label_text(label: Any) -> str:
    """Returns a label as text without surrounding spaces; JSON labels may be numbers or Booleans.

    Raises:
      UserError: for a list or an object.
    """
    if isinstance(label, list | dict):
        raise UserError(f"data: got the label {label!r}, expected a word or a number")
    return str(label).strip()

"""Sentences with a tag for each word, or with one label: named entities, slots, intents.

In: CoNLL files, or folders with three parallel files. Out: padded sentences with a tag per step or
an intent per sentence. `tasks.span_f1` scores the tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Measure, Task, Tokens
from lstm_lab.tasks.examples import Examples, Split
from lstm_lab.tasks.readers.conll import DETECTED, Columns, Sentence, read_conll, split_words
from lstm_lab.tasks.readers.download import get, locate
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.sources import DATA_SETS
from lstm_lab.tasks.readers.splits import check_shares, read_splits
from lstm_lab.tasks.readers.text import encode, encode_rows, most_frequent, sha256_of
from lstm_lab.tasks.tag_schemes import Scheme, detect_scheme, is_valid, usual_scheme
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError

Predicted = Literal["tags", "intent"]


@dataclass(frozen=True)
class Tags(Task):
    """Which tag each word of a sentence has, or which intent the whole sentence has.

    A file has the CoNLL format: one word per line with its tag in the last column, and an empty
    line between sentences; `# intent = NAME` before a sentence is its intent. A folder has the
    files `seq.in` (words), `seq.out` (tags) and `label` (intents), with one sentence per line.

    Attributes:
      train: the file or folder of the training split.
      labels: all tags, or all intents, in the order of their numbers.
      predict: whether to predict tags or intents.
      scheme: how tags mark spans, whose F1 is the metric. With `none`, the metric is the accuracy
        of single tags, such as parts of speech. Without a value, the prefixes of the tags decide;
        they mean IOB2 rather than IOB1, and IOE2 rather than IOE1.
      valid, test: files or folders of these splits; without them, they are held out of `train`.
      word_column, tag_column: the columns of a CoNLL file, counted from 1. By default, words are in
        the first column, or in the second one after a column that counts them, and tags in the last
        one. In CoNLL-U, tags are universal parts of speech (column 4).
      vocabulary: number of words with `<unk>`; rarer words become `<unk>`.
      lower: whether to convert words to lower case.
      valid_share, test_share: shares of `train` for these splits if they have no files.
      split_seed: seed of the random choice of held-out sentences, the same for all runs.
      sha256: hash of the user's own files, or None; see `complete`.

    Example:
      task = Tags("train.conll", ("O", "B-city", "I-city"), vocabulary=5_000)
      task.metric  # "span_f1"
    """

    train: str
    labels: tuple[str, ...]
    predict: Predicted = "tags"
    scheme: Scheme | None = None
    valid: str | None = None
    test: str | None = None
    word_column: int | None = None
    tag_column: int | None = None
    vocabulary: int = 10_000
    lower: bool = True
    valid_share: float = 0.1
    test_share: float = 0.1
    split_seed: int = 0
    sha256: str | None = None

    name: ClassVar[str] = "tags"
    files: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    def __post_init__(self) -> None:
        if self.vocabulary < 2:
            raise ValueError(f"vocabulary: got {self.vocabulary}, expected 2 or more")
        for name in ("word_column", "tag_column"):
            column = getattr(self, name)
            if column is not None and column < 1:
                raise ValueError(f"{name}: got {column}, expected 1 or more")
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: got {self.labels}, expected two or more that differ")
        if self.predict == "tags":
            self._check_scheme()
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    def _check_scheme(self) -> None:
        scheme = self.scheme or usual_scheme(self.labels)
        invalid = [label for label in self.labels if not is_valid(label, scheme)]
        if invalid:
            raise ValueError(f"scheme: got {scheme}, which has no tag {invalid[0]!r}")

    @classmethod
    @collector_paused()
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the labels, the scheme, the size of the vocabulary and the hash of a user's files.

        Args:
          options: the options that were given; the columns and the spelling count here, too.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, or a sentence has no intent to predict.
        """
        options = set_options(options)
        if not incomplete(options, cls.files, ("labels",), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(find, data_dir=data_dir))
        columns = Columns(options.get("word_column"), options.get("tag_column"))
        read = {split: read_sentences(path, columns) for split, path in paths.items()}
        sentences = [sentence for part in read.values() for sentence in part]
        added: dict[str, Any] = {}
        if options.get("predict") == "intent":
            _check_intents(paths, read)
            labels = {sentence.intent for sentence in sentences}
        else:
            labels = {tag for sentence in sentences for tag in sentence.tags}
            if options.get("scheme") is None:
                added["scheme"] = _scheme(paths["train"], sentences)
        # From all splits: a label that occurs only in the test split also needs a number, or `load`
        # would reject the file. The words come from training alone.
        added["labels"] = tuple(sorted(labels))
        words = {word for sentence in read["train"] for word in sentence.words}
        if options.get("lower", cls.lower):
            words = {word.lower() for word in words}
        added |= {"vocabulary": len(words) + 1, "sha256": sha256_of(_files(paths.values()))}
        return {**added, **options}

    @property
    def inputs(self) -> Tokens:
        """The words of the sentence."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """A tag for each word, or one intent per sentence."""
        if self.predict == "intent":
            return Categorical(len(self.labels))
        scheme = self.scheme or usual_scheme(self.labels)
        if scheme == "none":
            return Categorical(len(self.labels), True, may_ignore=False)
        metrics: tuple[Measure, ...] = ("accuracy", "span_f1")
        return Categorical(len(self.labels), True, metrics, self.labels, scheme, may_ignore=False)

    @property
    def metric(self) -> str:
        """F1 of spans for tags that mark spans, accuracy for other tags and for intents."""
        # Not accuracy for spans: most words are outside of any span, so O alone scores high.
        return self.target.metrics[-1]

    @collector_paused()
    def load(self, data_dir: Path) -> Dataset:
        """Reads the sentences.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or malformed, or a tag or intent is not among the
            labels.
        """
        place = partial(find, data_dir=data_dir)
        read = partial(read_sentences, columns=Columns(self.word_column, self.tag_column))
        paths, splits = read_splits(self, place, read, _files)
        words = {k: [self.words(s.words) for s in part] for k, part in splits.items()}
        vocabulary = most_frequent((w for s in words["train"] for w in s), self.vocabulary)
        examples: dict[str, Split] = {}
        for split, part in splits.items():
            x_NT, lengths = encode_rows(words[split], vocabulary)
            y = self._numbers(paths[split], part)
            examples[split] = Examples(x_NT, y, lengths)
        return Dataset(examples, {"inputs": vocabulary, "outputs": self.labels})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts the words of a line, separated by spaces or tabs, to their numbers [T]."""
        return encode(self.words(split_words(line.rstrip("\r\n"))), preprocessing["inputs"])

    def words(self, words: list[str]) -> list[str]:
        """Returns words in the spelling of the vocabulary: in lower case with `lower`."""
        return [word.lower() for word in words] if self.lower else words

    def _numbers(self, path: Path, sentences: list[Sentence]) -> Any:
        numbers = {label: number for number, label in enumerate(self.labels)}
        rows = []
        for sentence in sentences:
            targets = sentence.tags if self.predict == "tags" else [sentence.intent]
            for label in targets:
                if label not in numbers:
                    raise UserError(
                        f"data: {path} line {sentence.line} has {label!r}, which is not among the "
                        f"{len(self.labels)} of the config; see `task.labels`"
                    )
            rows.append(targets)
        # Tags [N,T], or intents [N,1]. Padding gets tag 0, a valid index; the lengths of the
        # sentences exclude it from loss and metrics.
        y_NT, _ = encode_rows(rows, self.labels)
        return y_NT if self.predict == "tags" else y_NT[:, 0]


def find(path: str, data_dir: Path) -> Path:
    """Returns the path of a file or folder, as given or in the data folder.

    Args:
      path: the path in the options.
      data_dir: the data folder.

    Raises:
      UserError: if it does not exist.
    """
    # A folder of a known data set: what is missing of it is downloaded. A download that stopped may
    # have left a part.
    for name, data_set in DATA_SETS.items():
        if any(source.path.startswith(f"{path}/") for source in data_set.files):
            get(name, data_dir)
            return data_dir / path
    for place in (Path(path), data_dir / path):
        if place.is_dir():
            return place
    return locate(path, data_dir)


def _files(paths: Iterable[Path]) -> list[Path]:
    """Returns the paths with each folder replaced by its three files."""
    # The order is part of the hash and of `read_sentences`.
    names = ("seq.in", "seq.out", "label")
    return [f for p in paths for f in ([p / n for n in names] if p.is_dir() else [p])]


def read_sentences(path: Path, columns: Columns = DETECTED) -> list[Sentence]:
    """Reads the sentences of a CoNLL file or of a folder; empty sentences are skipped.

    Args:
      path: the file or folder.
      columns: the columns of words and tags of a file.

    Raises:
      UserError: if a line has no tag, or the files of a folder do not match.
    """
    if not path.is_dir():
        return read_conll(path, columns)
    # Empty lines inside a file keep their place; without them, all later sentences would get the
    # tags of other sentences.
    rows = [read_text(file).rstrip("\n").split("\n") for file in _files([path])]
    if len({len(part) for part in rows}) > 1:
        counts = ", ".join(str(len(part)) for part in rows)
        raise UserError(f"data: {path} has seq.in, seq.out and label of {counts} lines")
    sentences = []
    for number, (words, tags, intent) in enumerate(zip(*rows, strict=True), 1):
        sentence = Sentence(split_words(words), split_words(tags), intent.strip(), number)
        if len(sentence.words) != len(sentence.tags):
            raise UserError(
                f"data: {path} line {number} has {len(sentence.words)} words and "
                f"{len(sentence.tags)} tags"
            )
        if sentence.words:
            sentences.append(sentence)
    return sentences


def _scheme(path: Path, sentences: Sequence[Sentence]) -> Scheme | None:
    """Returns the scheme of the tags, or None if the labels alone tell it."""
    try:
        detected = detect_scheme(sentence.tags for sentence in sentences)
    except ValueError as error:
        raise UserError(f"data: {path}: {error}") from None
    # Recorded only where it is needed, so ids of earlier runs stay the same.
    usual = usual_scheme({tag for sentence in sentences for tag in sentence.tags})
    return None if detected == usual else detected


def _check_intents(paths: Mapping[str, Path], read: Mapping[str, list[Sentence]]) -> None:
    for split, path in paths.items():
        for sentence in read[split]:
            if not sentence.intent:
                raise UserError(
                    f"data: {path} line {sentence.line} begins a sentence without an intent; "
                    "expected `# intent = NAME` before it, or a line of `label` in a folder"
                )

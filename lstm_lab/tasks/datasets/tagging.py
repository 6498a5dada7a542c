"""Sentences with a tag for each word, with one label, or with both: named entities, slots, intents.

In: CoNLL files, or folders with three parallel files. Out: padded sentences with a tag per step, an
intent per sentence, or both. `tasks.span_f1` scores the tags.
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
from lstm_lab.tasks.readers.text import (
    END,
    encode,
    encode_rows,
    most_frequent,
    sha256_of,
    unknown_note,
    unknown_share,
)
from lstm_lab.tasks.tag_schemes import OUTSIDE, Scheme, detect_scheme, is_valid, usual_scheme
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError

Predicted = Literal["tags", "intent", "both"]


@dataclass(frozen=True)
class Tags(Task):
    """Which tag each word of a sentence has, which intent the whole sentence has, or both.

    A file has the CoNLL format: one word per line with its tag in the last column, and an empty
    line between sentences; `# intent = NAME` before a sentence is its intent. A folder has the
    files `seq.in` (words), `seq.out` (tags) and `label` (intents), with one sentence per line.

    To predict both, `<eos>` follows the words of each sentence, and its tag is the intent: one
    model, one softmax over tags and intents (Hakkani-Tür et al. 2016).

    Attributes:
      train: the file or folder of the training split.
      labels: all tags, or all intents if only they are predicted, in the order of their numbers.
      predict: whether to predict tags, intents or both.
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
      intents: all intents, if both are predicted; their numbers follow those of the tags.

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
    intents: tuple[str, ...] = ()

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
        if self.predict != "intent":
            self._check_scheme()
        if (self.predict == "both") != bool(self.intents):
            raise ValueError(f"intents: got {self.intents}, expected some only with predict=both")
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
          options: the options that were given; `word_column`, `tag_column` and `lower` are used.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or malformed, or a sentence has no intent to predict.
        """
        options = set_options(options)
        predict = options.get("predict", cls.predict)
        determined = ("labels", "intents") if predict == "both" else ("labels",)
        if not incomplete(options, cls.files, determined, data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(find, data_dir=data_dir))
        columns = Columns(options.get("word_column"), options.get("tag_column"))
        read = {split: read_sentences(path, columns) for split, path in paths.items()}
        sentences = [sentence for part in read.values() for sentence in part]
        added: dict[str, Any] = {}
        # From all splits: a label that occurs only in the test split also needs a number, or `load`
        # would reject the file. The words come from training alone.
        if predict != "tags":
            _check_intents(paths, read)
            intents = tuple(sorted({sentence.intent for sentence in sentences}))
            added["labels" if predict == "intent" else "intents"] = intents
        if predict != "intent":
            added["labels"] = tuple(sorted({t for sentence in sentences for t in sentence.tags}))
            if options.get("scheme") is None:
                added["scheme"] = _scheme(paths["train"], sentences)
        words = {word for sentence in read["train"] for word in sentence.words}
        if options.get("lower", cls.lower):
            words = {word.lower() for word in words}
        if predict == "both":
            words.add(END)
        added |= {"vocabulary": len(words) + 1, "sha256": sha256_of(_files(paths.values()))}
        return {**added, **options}

    @property
    def inputs(self) -> Tokens:
        """The words of the sentence."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """A tag for each word, one intent per sentence, or both."""
        size = len(self.labels) + len(self.intents)
        if self.predict == "intent":
            return Categorical(size)
        scheme = self.scheme or usual_scheme(self.labels)
        whole: tuple[Measure, ...] = ()
        if self.predict == "both":
            whole = ("last_accuracy", "sequence_accuracy")
        if scheme == "none":
            return Categorical(size, True, (*whole, "accuracy"), may_ignore=False)
        # An intent is no part of a span.
        names = (*self.labels, *[OUTSIDE] * len(self.intents))
        metrics: tuple[Measure, ...] = ("accuracy", *whole, "span_f1")
        return Categorical(size, True, metrics, names, scheme, may_ignore=False)

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
        unknown = {}
        for split, part in splits.items():
            x_NT, lengths = encode_rows(words[split], vocabulary)
            unknown[split] = unknown_share(x_NT, lengths, ends=self.predict == "both")
            y = self._numbers(paths[split], part)
            examples[split] = Examples(x_NT, y, lengths)
        outputs = (*self.labels, *self.intents)
        preprocessing = {"inputs": vocabulary, "outputs": outputs}
        # The known sentences, which have no hash, have the vocabulary of their papers.
        notes = [unknown_note(unknown, len(vocabulary), "word")] if self.sha256 else []
        return Dataset(examples, preprocessing, {"notes": notes} if notes else {})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts the words of a line, separated by spaces or tabs, to their numbers [T]."""
        return encode(self.words(split_words(line.rstrip("\r\n"))), preprocessing["inputs"])

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Converts outputs to labels; with both, the last step has the intent, the others tags.

        Args:
          x, outputs, preprocessing: as in `Task.describe_prediction`.
        """
        if self.predict != "both":
            return super().describe_prediction(x, outputs, preprocessing)
        # Each step chooses among the labels that it can have. Metrics choose among all.
        tags = len(self.labels)
        outputs_TC = np.atleast_2d(outputs)
        labels = [self.labels[k] for k in outputs_TC[:-1, :tags].argmax(-1)]
        return {"labels": labels, "intent": self.intents[int(outputs_TC[-1, tags:].argmax())]}

    def words(self, words: list[str]) -> list[str]:
        """Returns the symbols of a sentence: its words, in lower case with `lower`, and its end."""
        words = [word.lower() for word in words] if self.lower else words
        return [*words, END] if self.predict == "both" else words

    def _numbers(self, path: Path, sentences: list[Sentence]) -> Any:
        known = (*self.labels, *map(_end_label, self.intents))
        names = set(known)  # a search in a tuple for each word would be slow
        rows = []
        for sentence in sentences:
            row = [] if self.predict == "intent" else [*sentence.tags]
            if self.predict != "tags":
                both = self.predict == "both"
                row.append(_end_label(sentence.intent) if both else sentence.intent)
            unknown = [label for label in row if label not in names]
            if unknown:
                label = unknown[0].removeprefix(_end_label(""))
                options = self.labels if label == unknown[0] else self.intents
                raise UserError(
                    f"data: {path} line {sentence.line} has {label!r}, which is not among the "
                    f"{len(options)} of the config; see "
                    f"`task.{'labels' if options is self.labels else 'intents'}`"
                )
            rows.append(row)
        # Labels of all steps [N,T], or intents [N,1]. Padding gets label 0, a valid index; the
        # lengths of the sentences exclude it from loss and metrics.
        y_NT, _ = encode_rows(rows, known)
        return y_NT[:, 0] if self.predict == "intent" else y_NT


def _end_label(intent: str) -> str:
    # A tag has no spaces, so no tag has the same name.
    return f"{END} {intent}"


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

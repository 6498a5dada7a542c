"""Sentences with a tag on each word, and one label: named entities, slots, intents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, Split, Task, Tokens
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.splits import check_shares, read_splits
from lstm_lab.tasks.readers.text import encode, most_frequent, padded, read_text, sha256_of
from lstm_lab.utils.errors import UserError

Predicted = Literal["tags", "intent"]


class Sentence(NamedTuple):
    """Words, a tag for each, the label of all (empty where there is none), and its line."""

    words: list[str]
    tags: list[str]
    intent: str
    line: int


@dataclass(frozen=True)
class Tags(Task):
    """Which tag each word of a sentence has, or which intent the sentence.

    A file is of CoNLL's form: a word a line with its tag in the last column, empty lines between
    sentences. A folder holds `seq.in`, `seq.out` and `label`, a sentence a line each.

    Attributes:
      train: the file or folder.
      labels: all tags, or all intents.
      predict: which of them.
      valid, test: of these splits; without them they are held out of `train` at random.
      vocabulary: words, `<unk>` among them; rarer ones are left out.
      lower: read words in lower case.
      valid_share, test_share: of `train`, where these splits have no files of their own.
      split_seed: of what is held out, the same for every run.
      sha256: hash of the files, for those of the user's own; see `options`.
    """

    train: str
    labels: tuple[str, ...]
    predict: Predicted = "tags"
    valid: str | None = None
    test: str | None = None
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
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: got {self.labels}, expected two or more that differ")
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Tokens:
        """The words."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """A tag for each word, or one intent."""
        if self.predict == "intent":
            return Categorical(len(self.labels))
        return Categorical(len(self.labels), True, ("accuracy", "span_f1"), self.labels)

    @property
    def metric(self) -> str:
        """F1 of spans, or accuracy of intents."""
        return "span_f1" if self.predict == "tags" else "accuracy"

    def load(self, data_dir: Path) -> Dataset:
        """Reads the sentences.

        Raises:
          UserError: for a file that is missing, changed, or not of this form, or a tag or intent
            that is not among the labels.
        """
        place = partial(find, data_dir=data_dir)
        paths, splits = read_splits(self, place, read_sentences, _files)
        words = {k: [self.words(s.words) for s in part] for k, part in splits.items()}
        vocabulary = most_frequent((w for s in words["train"] for w in s), self.vocabulary)
        examples: dict[str, Split] = {}
        for split, part in splits.items():
            x_NT, lengths = padded([encode(sentence, vocabulary) for sentence in words[split]])
            y = self._numbers(paths[split], part)
            examples[split] = Examples(x_NT, y, lengths)
        return Dataset(examples, {"inputs": vocabulary, "outputs": self.labels})

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Returns the words of a line [T], as white space separates them."""
        return encode(self.words(line.split()), tuple(preprocessing["inputs"]))

    def words(self, words: list[str]) -> list[str]:
        """Returns words as the vocabulary has them."""
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
            rows.append(encode(targets, self.labels))
        y_NT, _ = padded(rows)
        return y_NT if self.predict == "tags" else y_NT[:, 0]


def find(path: str, data_dir: Path) -> Path:
    """Returns a file, or a folder of three."""
    for place in (Path(path), data_dir / path):
        if place.is_dir():
            return place
    return locate(path, data_dir)


def _files(paths: Iterable[Path]) -> list[Path]:
    """Returns the files of paths, the three of a folder."""
    names = ("seq.in", "seq.out", "label")
    return [f for p in paths for f in ([p / n for n in names] if p.is_dir() else [p])]


def read_sentences(path: Path) -> list[Sentence]:
    """Reads the sentences of a file of CoNLL's form, or of a folder.

    Raises:
      UserError: for a line without a tag, or files of a folder that do not fit each other.
    """
    if not path.is_dir():
        return _conll(path)
    rows = [read_text(file).rstrip("\n").split("\n") for file in _files([path])]
    if len({len(part) for part in rows}) > 1:
        counts = ", ".join(str(len(part)) for part in rows)
        raise UserError(f"data: {path} has seq.in, seq.out and label of {counts} lines")
    sentences = []
    for number, (words, tags, intent) in enumerate(zip(*rows, strict=True), 1):
        sentence = Sentence(words.split(), tags.split(), intent.strip(), number)
        if len(sentence.words) != len(sentence.tags):
            raise UserError(
                f"data: {path} line {number} has {len(sentence.words)} words and "
                f"{len(sentence.tags)} tags"
            )
        if sentence.words:
            sentences.append(sentence)
    return sentences


def _conll(path: Path) -> list[Sentence]:
    sentences: list[Sentence] = []
    words: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*read_text(path).split("\n"), ""], 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            if words:
                sentences.append(Sentence(words, tags, "", number - len(words)))
                words, tags = [], []
        elif len(columns) == 1:
            raise UserError(
                f"data: {path} line {number} has {columns[0]!r} and no tag; expected a word and "
                "its tag a line, and empty lines between sentences"
            )
        else:
            words.append(columns[0])
            tags.append(columns[-1])
    return sentences


def options(
    train: str,
    valid: str | None = None,
    test: str | None = None,
    predict: Predicted = "tags",
    data_dir: Path = Path(),
) -> dict[str, Any]:
    """Returns the task's options for sentences of the user's own: labels, vocabulary and hash.

    Args:
      train, valid, test: files or folders.
      predict: tags or intents.
      data_dir: where else to look for them.

    Raises:
      UserError: as `Tags.load`.
    """
    files = {"train": train, "valid": valid, "test": test}
    paths = {split: find(path, data_dir) for split, path in files.items() if path}
    read = {split: read_sentences(path) for split, path in paths.items()}
    labels = {
        label
        for sentences in read.values()
        for sentence in sentences
        for label in (sentence.tags if predict == "tags" else [sentence.intent])
    }
    words = {word.lower() for sentence in read["train"] for word in sentence.words}
    return {
        "name": Tags.name,
        **files,
        "predict": predict,
        "labels": tuple(sorted(labels)),
        "vocabulary": len(words) + 1,
        "sha256": sha256_of(_files(paths.values())),
    }

"""Language models: the next word or character of a text.

In: one text, or one per split. Out: a `Stream` per split, along which the model carries its state.
`batches.chunk` reads a stream chunk by chunk; `lstm_lab.inference.generate` continues a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Measure, Split, Stream, Task, Tokens
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.splits import check_shares
from lstm_lab.tasks.readers.text import (
    END,
    Unit,
    check_unchanged,
    encode,
    lines_of,
    most_frequent,
    read_text,
    sha256_of,
)
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import shown

# The customary measures: perplexity of words, bits per character.
MEASURES: dict[Unit, tuple[Measure, ...]] = {
    "word": ("perplexity", "accuracy"),
    "character": ("bits", "accuracy"),
}


@dataclass(frozen=True)
class Language(Task):
    """Which symbol of a text comes next.

    Words are separated by white space, and `<eos>` ends each line, as in the Penn Treebank of
    Mikolov et al. 2010. Symbols that are not in the training text become `<unk>`.

    Attributes:
      train: a UTF-8 text in any language, gzipped if its name ends in .gz.
      valid, test: texts of these splits, both or none; without them, the last parts of `train`.
      unit: whether a symbol is a word or a character.
      vocabulary: number of symbols with `<unk>`; rarer symbols become `<unk>`. Training a text of
        your own prints their share.
      unroll: time steps of a chunk; gradients flow through one chunk.
      unroll_std: standard deviation of the length of training chunks, at most a quarter of
        `unroll`. Above 0, the cuts between chunks are at other places in each epoch (Merity et al.
        2018, without their occasional chunks of half the length).
      eval_tracks: number of tracks into which valid and test are cut. More tracks are faster, but
        each track starts from the zero state; 1 gives every symbol its full context.
      valid_share, test_share: shares of `train` for these splits if they have no files.
      sha256: hash of the user's own files, or None; see `options`.

    Example:
      dataset = Language(train="book.txt", unit="char", vocabulary=60, unroll=50).load(Path("data"))
      dataset.splits["train"].T  # 50
      dataset.preprocessing["inputs"][:3]  # the first symbols of the vocabulary
    """

    train: str
    valid: str | None = None
    test: str | None = None
    unit: Unit = "word"
    vocabulary: int = 10_000
    unroll: int = 20
    unroll_std: float = 0.0
    eval_tracks: int = 1
    valid_share: float = 0.05
    test_share: float = 0.05
    sha256: str | None = None

    name: ClassVar[str] = "language"
    is_stream: ClassVar[bool] = True
    files: ClassVar[tuple[str, ...]] = ("train", "valid", "test")

    def __post_init__(self) -> None:
        for name, least in (("vocabulary", 2), ("unroll", 1), ("eval_tracks", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} or more")
        if (self.valid is None) != (self.test is None):
            raise ValueError(f"valid, test: got {self.valid} and {self.test}, expected both, none")
        # Cuts move by up to 1.5 deviations (`Stream.shift`), so two neighbors cannot cross.
        if not 0.0 <= self.unroll_std <= self.unroll / 4:
            raise ValueError(
                f"unroll_std: got {self.unroll_std}, expected 0 to a quarter of unroll, "
                f"{self.unroll / 4}"
            )
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Tokens:
        """The symbols of the text."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The next symbol, at every step."""
        return Categorical(self.vocabulary, every_step=True, metrics=MEASURES[self.unit])

    @property
    def metric(self) -> str:
        """Perplexity for words, bits for characters."""
        return MEASURES[self.unit][0]

    def load(self, data_dir: Path) -> Dataset:
        """Reads the texts.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or not a text, or a split is too short.
        """
        files = [path for path in (self.train, self.valid, self.test) if path is not None]
        paths = [locate(path, data_dir) for path in files]
        check_unchanged(paths, self.sha256)
        texts = [self._symbols(read_text(path)) for path in paths]
        train, valid, test = texts if len(texts) == 3 else self._parts(texts[0])
        vocabulary = most_frequent(train, self.vocabulary)
        splits: dict[str, Split] = {}
        unknown = {}
        for split, symbols in (("train", train), ("valid", valid), ("test", test)):
            # One symbol to read and one to predict.
            if len(symbols) < 2:
                raise UserError(f"data: {paths[0]} leaves {split} {len(symbols)} symbols of 2")
            tokens = encode(symbols, vocabulary)
            if split == "train":
                splits[split] = Stream(tokens, self.unroll, std=self.unroll_std)
            else:
                # A track needs at least one prediction, also in a very short text.
                tracks = min(self.eval_tracks, len(symbols) - 1)
                splits[split] = Stream(tokens, self.unroll, tracks)
            unknown[split] = float((tokens == 0).mean())
        preprocessing = {"inputs": vocabulary, "outputs": vocabulary, "unknown": unknown}
        return Dataset(splits, preprocessing)

    def notice(self, preprocessing: Mapping[str, Any]) -> str:
        """Returns the shares of unknown symbols in a text of the user's own.

        Args:
          preprocessing: as in `Dataset`.
        """
        # Perplexities of models with different shares cannot be compared. The known texts, which
        # have no hash, have the vocabulary of their papers.
        if self.sha256 is None:
            return ""
        unknown, size = preprocessing["unknown"], len(preprocessing["inputs"])
        shares = ", ".join(f"{share:.1%} of {split}" for split, share in unknown.items())
        return f"unknown with {size} {self.unit}s: {shares}"

    def _symbols(self, text: str) -> Sequence[str]:
        if self.unit == "character":
            return text
        # One object for each different word, and not for each word of the text.
        lines = shown(lines_of(text), text.count("\n"), "lines", "reading words")
        return [symbol for line in lines for symbol in (*map(intern, line.split()), END)]

    def _parts(self, symbols: Sequence[str]) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
        """Cuts one text into train, valid and test."""
        # In the order of the text: sentences at random would have their neighbors in training, and
        # a stream needs text without gaps.
        ends = 1.0 - np.cumsum([0.0, self.test_share, self.valid_share])[::-1]
        first, second = (round(len(symbols) * end) for end in ends[:2])
        return symbols[:first], symbols[first:second], symbols[second:]


def options(train: str, unit: Unit = "character", most: int = 10_000) -> dict[str, Any]:
    """Returns the options of the task for a user's own text: vocabulary size and hash.

    Args:
      train: the file.
      unit: whether a symbol is a word or a character.
      most: largest size of the vocabulary.

    Raises:
      UserError: if the file is missing or not a text.
    """
    # Only the training part, from which `load` also takes its vocabulary: the output layer then has
    # no symbols that never occur in training.
    vocabulary = len(most_frequent(_training_part(train, unit), most))
    options = {"train": train, "unit": unit, "vocabulary": vocabulary}
    return {"name": Language.name, **options, "sha256": sha256_of([Path(train)])}


def training_length(train: str, unit: Unit = "character") -> int:
    """Returns the number of symbols of the training part of a user's own text.

    A schedule of the learning rate that counts steps needs it.

    Args:
      train: the file.
      unit: whether a symbol is a word or a character.

    Raises:
      UserError: if the file is missing or not a text.
    """
    return len(_training_part(train, unit))


def _training_part(train: str, unit: Unit) -> Sequence[str]:
    task = Language(train, unit=unit)
    return task._parts(task._symbols(read_text(Path(train))))[0]

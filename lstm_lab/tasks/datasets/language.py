"""Language models: the next word or character of a text.

In: one text, or one per split. Out: a `Stream` per split, along which the model carries its state.
`batches.chunk` reads a stream chunk by chunk; `lstm_lab.inference.generate` continues a text.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from sys import intern
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Measure, Task, Tokens
from lstm_lab.tasks.examples import Split, Stream
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.files import lines_of, read_text
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.splits import check_shares, find_splits
from lstm_lab.tasks.readers.text import (
    END,
    Unit,
    encode,
    most_frequent,
    sha256_of,
    unknown_note,
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
      train: a text in any language, in UTF-8 or in UTF-16 with a byte order mark.
      valid, test: texts of these splits; without them, the last parts of `train`.
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
      sha256: hash of the user's own files, or None; see `complete`.

    Example:
      task = Language(train="book.txt", unit="character", vocabulary=60, unroll=50)
      dataset = task.load(Path("data"))
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
        # Cuts move by up to 1.5 deviations (`Stream.shift`), so two neighbors cannot cross.
        if not 0.0 <= self.unroll_std <= self.unroll / 4:
            raise ValueError(
                f"unroll_std: got {self.unroll_std}, expected 0 to a quarter of unroll, "
                f"{self.unroll / 4}"
            )
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the size of the vocabulary and the hash of a user's texts.

        Args:
          options: the options that were given; `vocabulary` is the largest size otherwise.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing or not a text.
        """
        options = set_options(options)
        if not incomplete(options, cls.files, (), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        task = cls(**options)
        # Only the training part, from which `load` also takes its vocabulary: the output layer then
        # has no symbols that never occur in training.
        train = task._parts({"train": task._symbols(read_text(paths["train"]))}, paths)["train"]
        size = max(len(most_frequent(train, task.vocabulary)), 2)
        return {
            **options,
            "vocabulary": options.get("vocabulary", size),
            "sha256": options.get("sha256", sha256_of(paths.values())),
        }

    @property
    def inputs(self) -> Tokens:
        """The symbols of the text."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The next symbol, at every step."""
        return Categorical(self.vocabulary, True, MEASURES[self.unit], may_ignore=False)

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
        paths = find_splits(self, partial(locate, data_dir=data_dir))
        texts = {split: self._symbols(read_text(path)) for split, path in paths.items()}
        parts = self._parts(texts, paths)
        vocabulary = most_frequent(parts["train"], self.vocabulary)
        splits: dict[str, Split] = {}
        unknown = {}
        for split, symbols in parts.items():
            # One symbol to read and one to predict.
            if len(symbols) < 2:
                path = paths.get(split, paths["train"])
                raise UserError(f"data: {path} leaves {split} {len(symbols)} symbols of 2")
            tokens = encode(symbols, vocabulary)
            if split == "train":
                splits[split] = Stream(tokens, self.unroll, std=self.unroll_std)
            else:
                # A track needs at least one prediction, also in a very short text.
                tracks = min(self.eval_tracks, len(symbols) - 1)
                splits[split] = Stream(tokens, self.unroll, tracks)
            unknown[split] = float((tokens == 0).mean())
        preprocessing = {"inputs": vocabulary, "outputs": vocabulary, "unknown": unknown}
        notes = self._notes(unknown, len(vocabulary))
        return Dataset(splits, preprocessing, {"notes": notes} if notes else {})

    def _notes(self, unknown: Mapping[str, float], size: int) -> list[str]:
        """Returns the shares of unknown symbols in a text of the user's own, for people."""
        # Perplexities of models with different shares cannot be compared. The known texts, which
        # have no hash, have the vocabulary of their papers.
        if self.sha256 is None:
            return []
        return [unknown_note(unknown, size, self.unit)]

    def _symbols(self, text: str) -> Sequence[str]:
        if self.unit == "character":
            return text
        # One object for each different word, and not for each word of the text.
        lines = shown(lines_of(text), text.count("\n"), "lines", "reading words")
        return [symbol for line in lines for symbol in (*map(intern, line.split()), END)]

    def _parts(
        self, texts: Mapping[str, Sequence[str]], files: Container[str]
    ) -> dict[str, Sequence[str]]:
        """Returns the texts of all splits; those without a file end the training text."""
        # In the order of the text: sentences at random would have their neighbors in training, and
        # a stream needs text without gaps.
        shares = {"test": self.test_share, "valid": self.valid_share}
        held = [0.0 if split in files else share for split, share in shares.items()]
        ends = 1.0 - np.cumsum([0.0, *held])[::-1]
        train = texts["train"]
        first, second = (round(len(train) * end) for end in ends[:2])
        parts = {"train": train[:first], "valid": train[first:second], "test": train[second:]}
        return {**parts, **{split: text for split, text in texts.items() if split != "train"}}

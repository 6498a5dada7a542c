"""Translation: pairs of sentences, a line each in two files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, SourceTokens, Split, Task, Tokens
from lstm_lab.tasks.readers.download import Source, locate
from lstm_lab.tasks.readers.splits import check_filled, check_shares, complete
from lstm_lab.tasks.readers.text import (
    check_unchanged,
    encode,
    most_frequent,
    padded,
    read_text,
    sha256_of,
    words_of,
)
from lstm_lab.utils.errors import UserError

BEGIN, END = "<s>", "</s>"
BEGIN_NUMBER, END_NUMBER = 1, 2  # behind `<unk>`

_URL = (
    "https://raw.githubusercontent.com/multi30k/dataset/"
    "a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
)
SOURCES = tuple(
    Source(f"multi30k/{name}.gz", f"{_URL}{name}.gz", sha256)
    for name, sha256 in (
        ("train.en", "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
        ("train.de", "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
        ("val.en", "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
        ("val.de", "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
        ("test_2016_flickr.en", "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"),
        ("test_2016_flickr.de", "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"),
    )
)
Pair = tuple[str, str]


@dataclass(frozen=True)
class Translation(Task):
    """The next word of a translation, from the source and the words before.

    Words are lower-case, punctuation marks are words.

    Attributes:
      train_source, train_target: a sentence a line in each; gzipped where the name ends in .gz.
      valid_source, valid_target, test_source, test_target: of these splits; without them they are
        held out at random.
      source_vocabulary, vocabulary: words of each language, with `<unk>`, `<s>` and `</s>`.
      max_length: words of a sentence that training reads, at most; longer pairs are left out of it.
      valid_share, test_share: of the training part, where these splits have no files of their own.
      split_seed: of what is held out, the same for every run.
      sha256: hash of the files, for those of the user's own; see `options`.
    """

    train_source: str
    train_target: str
    valid_source: str | None = None
    valid_target: str | None = None
    test_source: str | None = None
    test_target: str | None = None
    source_vocabulary: int = 8_000
    vocabulary: int = 8_000
    max_length: int = 40
    valid_share: float = 0.05
    test_share: float = 0.05
    split_seed: int = 0
    sha256: str | None = None

    name: ClassVar[str] = "translation"
    metric: ClassVar[str] = "perplexity"
    final_metric_names: ClassVar[tuple[str, ...]] = ("bleu",)
    files: ClassVar[tuple[str, ...]] = (
        "train_source",
        "train_target",
        "valid_source",
        "valid_target",
        "test_source",
        "test_target",
    )

    def __post_init__(self) -> None:
        for name, least in (("source_vocabulary", 4), ("vocabulary", 4), ("max_length", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} or more")
        for part in ("valid", "test"):
            pair = self._pair(part)
            if (pair[0] is None) != (pair[1] is None):
                raise ValueError(f"{part}_source, {part}_target: expected both or none")
        check_shares(valid_share=self.valid_share, test_share=self.test_share)

    @property
    def inputs(self) -> Tokens:
        """The word before."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The next word."""
        return Categorical(self.vocabulary, every_step=True, metrics=("perplexity", "accuracy"))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the pairs.

        Raises:
          UserError: for a file that is missing, changed or no text, or files of different length.
        """
        source = {part: self._pair(part) for part in ("train", "valid", "test")}
        paths = {
            part: (locate(source, data_dir, SOURCES), locate(target, data_dir, SOURCES))
            for part, (source, target) in source.items()
            if source is not None and target is not None
        }
        check_unchanged([path for pair in paths.values() for path in pair], self.sha256)
        shares = {"valid": self.valid_share, "test": self.test_share}
        read = {part: read_pairs(*pair) for part, pair in paths.items()}
        pairs = complete(read, shares, self.split_seed)
        words = {
            part: [(words_of(source), words_of(target)) for source, target in sentence_pairs]
            for part, sentence_pairs in pairs.items()
        }
        words["train"] = [pair for pair in words["train"] if max(map(len, pair)) <= self.max_length]
        check_filled(paths["train"][0], words)
        sources = most_frequent((w for s, _ in words["train"] for w in s), self.source_vocabulary)
        most = most_frequent((w for _, t in words["train"] for w in t), self.vocabulary - 2)
        targets = (most[0], BEGIN, END, *most[1:])
        splits: dict[str, Split] = {
            part: self._examples(words[part], sources, targets)
            for part in ("train", "valid", "test")
        }
        preprocessing = {"given": sources, "inputs": targets, "outputs": targets}
        return Dataset(
            splits, {**preprocessing, "references": [target for _, target in pairs["test"]]}
        )

    def _pair(self, part: str) -> tuple[str | None, str | None]:
        return getattr(self, f"{part}_source"), getattr(self, f"{part}_target")

    def _examples(
        self,
        words: Sequence[tuple[list[str], list[str]]],
        sources: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> Examples:
        given_NS, given_lengths = padded([encode(s or [sources[0]], sources) for s, _ in words])
        rows = [encode([BEGIN, *target, END], targets) for _, target in words]
        numbers_NT, lengths = padded(rows)
        source = SourceTokens(given_NS, given_lengths)
        return Examples(numbers_NT[:, :-1], numbers_NT[:, 1:], lengths - 1, source=source)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Returns the words of a source sentence [S]."""
        sources = tuple(preprocessing["given"])
        return encode(words_of(line) or [sources[0]], sources)

    def final_metrics(
        self, outputs: np.ndarray, test: Examples, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the BLEU of translations, lower-case, words as sacrebleu splits them."""
        try:
            import sacrebleu
        except ImportError:
            raise UserError("task: BLEU needs sacrebleu: pip install 'lstm-lab[nlp]'") from None
        texts = [self.text(row, preprocessing) for row in outputs]
        bleu = sacrebleu.corpus_bleu(texts, [preprocessing["references"]], lowercase=True)
        return {"bleu": bleu.score}

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the `text` of a translation, for target tokens [T] as outputs."""
        del x
        return {"text": self.text(outputs, preprocessing)}

    def text(self, numbers: np.ndarray, preprocessing: Mapping[str, Any]) -> str:
        """Returns the sentence of target words' numbers, up to its end."""
        names = preprocessing["outputs"]
        # A model may have more numbers than the data have words.
        words = [names[number] if number < len(names) else names[0] for number in numbers]
        words = words[: words.index(END)] if END in words else words
        return re.sub(r" ([.,!?;:])", r"\1", " ".join(words))


def read_pairs(source: Path, target: Path) -> list[Pair]:
    """Reads pairs of lines.

    Raises:
      UserError: for files that have not as many lines.
    """
    lines = [read_text(path).rstrip("\n").split("\n") for path in (source, target)]
    if len(lines[0]) != len(lines[1]):
        raise UserError(
            f"data: {source} has {len(lines[0])} lines and {target} {len(lines[1])}, "
            "expected as many in both"
        )
    return [pair for pair in zip(*lines, strict=True) if pair[0].strip() and pair[1].strip()]


def options(source: str, target: str, most: int = 8_000) -> dict[str, Any]:
    """Returns the task's options for a pair of files of the user's own: vocabularies and hash.

    Args:
      source, target: the files.
      most: words of each vocabulary, at most.

    Raises:
      UserError: as `Translation.load`.
    """
    pairs = read_pairs(Path(source), Path(target))
    counts = [len({word for pair in pairs for word in words_of(pair[k])}) for k in (0, 1)]
    return {
        "name": Translation.name,
        "train_source": source,
        "train_target": target,
        "source_vocabulary": max(min(counts[0] + 1, most), 4),
        "vocabulary": max(min(counts[1] + 3, most), 4),
        "sha256": sha256_of([Path(source), Path(target)]),
    }

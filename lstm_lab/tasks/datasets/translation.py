"""Translation: pairs of sentences in two parallel files, one sentence per line.

In: source and target files. Out: examples of a language model over the target words, with the
source sentence in `Examples.source`. `models.encoder_decoder` learns them, and
`models.beam_search` decodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, SourceTokens, Split, Task, Tokens
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.tasks.readers.options import given_files, incomplete
from lstm_lab.tasks.readers.splits import check_filled, check_shares, complete
from lstm_lab.tasks.readers.text import (
    check_unchanged,
    encode,
    most_frequent,
    padded,
    sha256_of,
    words_of,
)
from lstm_lab.utils.errors import UserError

BEGIN, END = "<s>", "</s>"
BEGIN_NUMBER, END_NUMBER = 1, 2  # in every target vocabulary; beam search needs them as constants

Pair = tuple[str, str]


@dataclass(frozen=True)
class Translation(Task):
    """The next word of a translation, from the source sentence and the target words before.

    Words are in lower case, and punctuation marks are words.

    Attributes:
      train_source, train_target: files with one sentence per line; gzipped if the name ends in .gz.
      valid_source, valid_target, test_source, test_target: files of these splits; without them,
        pairs are held out of the training files.
      source_vocabulary: number of source words with `<unk>`.
      vocabulary: number of target words with `<unk>`, `<s>` and `</s>`.
      max_length: largest number of words of a training sentence. Longer pairs are left out of
        training only, so that test scores stay comparable.
      valid_share, test_share: shares of the training files for these splits if they have no files.
      split_seed: seed of the random choice of held-out pairs, the same for all runs.
      sha256: hash of the user's own files, or None; see `complete`.

    Example:
      task = Translation("train.en.gz", "train.de.gz", vocabulary=10_000)
      task.inputs, task.source_vocabulary  # Tokens(vocabulary=10000), 8000

    Source of the data: Multi30k, task 1, https://github.com/multi30k/dataset.
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
    # BLEU needs a beam search over the whole split, which is too slow for every evaluation.
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

    @classmethod
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the sizes of the vocabularies and the hash of a user's files.

        Args:
          options: the options that were given.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing, or the two training files have different numbers of
            lines.
        """
        # Both languages: one file alone is an error, which `build_spec` reports.
        if not options.get("train_target") or not incomplete(options, cls.files, (), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        pairs = read_pairs(paths["train_source"], paths["train_target"])
        # Counted in all pairs, also those that will be held out: upper bounds, which cost a few
        # unused rows of the embedding.
        counts = [len({word for pair in pairs for word in words_of(pair[k])}) for k in (0, 1)]
        sizes = {
            "source_vocabulary": max(min(counts[0] + 1, cls.source_vocabulary), 4),
            "vocabulary": max(min(counts[1] + 3, cls.vocabulary), 4),
        }
        return {**sizes, "sha256": sha256_of(paths.values()), **options}

    @property
    def inputs(self) -> Tokens:
        """The target words before, which begin with `<s>`."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The next target word, at every step; the last one is `</s>`."""
        return Categorical(self.vocabulary, every_step=True, metrics=("perplexity", "accuracy"))

    def load(self, data_dir: Path) -> Dataset:
        """Reads the pairs.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing, changed or not a text, if source and target differ in
            their numbers of lines, or if a split has no pairs.
        """
        source = {part: self._pair(part) for part in ("train", "valid", "test")}
        paths = {
            part: (locate(source, data_dir), locate(target, data_dir))
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
        # Filtered before the vocabularies are counted: pairs that do not train add no words.
        words["train"] = [pair for pair in words["train"] if max(map(len, pair)) <= self.max_length]
        check_filled(paths["train"][0], words)
        sources = most_frequent((w for s, _ in words["train"] for w in s), self.source_vocabulary)
        # Two places are left for <s> and </s>, which come right after <unk>.
        most = most_frequent((w for _, t in words["train"] for w in t), self.vocabulary - 2)
        targets = (most[0], BEGIN, END, *most[1:])
        splits: dict[str, Split] = {
            part: self._examples(words[part], sources, targets)
            for part in ("train", "valid", "test")
        }
        preprocessing = {"sources": sources, "inputs": targets, "outputs": targets}
        # References are the sentences of the file: sacrebleu splits them into words by its own
        # rules, which makes scores comparable with those of others.
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
        # An empty source becomes <unk>: attention needs at least one word.
        given_NS, given_lengths = padded([encode(s or [sources[0]], sources) for s, _ in words])
        rows = [encode([BEGIN, *target, END], targets) for _, target in words]
        numbers_NT, lengths = padded(rows)
        source = SourceTokens(given_NS, given_lengths)
        # Teacher forcing: the inputs are the true words, one step behind the targets.
        return Examples(numbers_NT[:, :-1], numbers_NT[:, 1:], lengths - 1, source=source)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a source sentence to the numbers of its words [S]; an empty one to `<unk>`."""
        sources = tuple(preprocessing["sources"])
        return encode(words_of(line) or [sources[0]], sources)

    def final_metrics(
        self, outputs: np.ndarray, test: Examples, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the BLEU of translations, in percent, in lower case, by sacrebleu.

        Args:
          outputs: target tokens [N,T] from beam search.
          test: not used; the reference sentences are in `preprocessing`.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if sacrebleu is not installed.
        """
        try:
            import sacrebleu
        except ImportError:
            raise UserError("task: BLEU needs sacrebleu: pip install 'lstm-lab[nlp]'") from None
        texts = [self.text(row, preprocessing) for row in outputs]
        # Lower case, because the model never sees capital letters.
        bleu = sacrebleu.corpus_bleu(texts, [preprocessing["references"]], lowercase=True)
        return {"bleu": bleu.score}

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Returns the `text` of a translation.

        Args:
          x: not used.
          outputs: target tokens [T] from beam search.
          preprocessing: as in `Dataset`.
        """
        del x
        return {"text": self.text(outputs, preprocessing)}

    def text(self, numbers: np.ndarray, preprocessing: Mapping[str, Any]) -> str:
        """Returns target tokens as a sentence, up to the first `</s>`.

        Args:
          numbers: target tokens [T].
          preprocessing: as in `Dataset`.
        """
        names = preprocessing["outputs"]
        # A short text has fewer words than `vocabulary`, and the model may predict the rest.
        words = [names[number] if number < len(names) else names[0] for number in numbers]
        words = words[: words.index(END)] if END in words else words
        # `words_of` made punctuation marks words of their own; this joins them to the word before.
        return re.sub(r" ([.,!?;:])", r"\1", " ".join(words))


def read_pairs(source: Path, target: Path) -> list[Pair]:
    """Reads the pairs of sentences of two parallel files.

    Args:
      source, target: the files.

    Returns:
      Source and target sentences; pairs with an empty sentence are left out.

    Raises:
      UserError: if the files have different numbers of lines.
    """
    # Empty lines keep their place until both files are paired; without them, all later pairs would
    # be wrong.
    lines = [read_text(path).rstrip("\n").split("\n") for path in (source, target)]
    if len(lines[0]) != len(lines[1]):
        raise UserError(
            f"data: {source} has {len(lines[0])} lines and {target} {len(lines[1])}, "
            "expected as many in both"
        )
    return [pair for pair in zip(*lines, strict=True) if pair[0].strip() and pair[1].strip()]

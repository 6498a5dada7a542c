"""Translation: pairs of sentences in two parallel files, one sentence per line.

In: source and target files. Out: examples of a language model over the target words, with the
source sentence in `Examples.source`. `models.encoder_decoder` learns them, and
`models.beam_search` decodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Direction, Measure, Task, Tokens
from lstm_lab.tasks.bleu import bleu, bleu_signature
from lstm_lab.tasks.examples import Examples, SourceTokens, Split, Stored
from lstm_lab.tasks.readers.download import locate
from lstm_lab.tasks.readers.files import read_text
from lstm_lab.tasks.readers.options import given_files, incomplete, set_options
from lstm_lab.tasks.readers.splits import check_filled, check_shares, complete
from lstm_lab.tasks.readers.subwords import subword_tokenizer, subwords_of, train_subwords
from lstm_lab.tasks.readers.text import (
    check_unchanged,
    encode,
    encode_rows,
    most_frequent,
    sha256_of,
    unknown_note,
)
from lstm_lab.tasks.readers.words import WORDS, Tokenizer
from lstm_lab.utils.collector import collector_paused
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import shown

BEGIN, END = "<s>", "</s>"
BEGIN_NUMBER, END_NUMBER = 1, 2  # in every target vocabulary; beam search needs them as constants

Pair = tuple[str, str]
Symbols = tuple[list[str], list[str]]
TranslationUnit = Literal["word", "subword"]


@dataclass(frozen=True)
class Translation(Task):
    """The next word of a translation, from the source sentence and the target words before.

    Words are in lower case, and punctuation marks are words. A mark of a word says where no space
    stands next to it, so that a translation is a text with the spaces of its language.

    Attributes:
      train_source, train_target: files with one sentence per line; gzipped if the name ends in .gz.
      valid_source, valid_target, test_source, test_target: files of these splits; without them,
        pairs are held out of the training files.
      unit: whether a symbol is a word, or a subword: byte-pair encoding splits rare words, so no
        word is unknown (sentencepiece; 256 symbols are bytes). Chinese words are characters.
      source_vocabulary: number of source symbols with `<unk>`.
      vocabulary: number of target symbols with `<unk>`, `<s>` and `</s>`.
      max_length: largest number of symbols of a training sentence. Longer pairs are left out of
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
    unit: TranslationUnit = "word"
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
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"bleu": "max"}
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
    @collector_paused()
    def complete(cls, options: Mapping[str, Any], data_dir: Path) -> dict[str, Any]:
        """Adds the unit, the sizes of the vocabularies and the hash of a user's files.

        The unit is a word, unless the files have more words than the vocabularies: then words
        without a number would be unknown.

        Args:
          options: the options that were given; `source_vocabulary` and `vocabulary` are the largest
            sizes otherwise.
          data_dir: another folder in which to look for the files.

        Raises:
          UserError: if a file is missing, or the two training files have different numbers of
            lines.
        """
        options = set_options(options)
        # Both languages: one file alone is an error, which `build_spec` reports.
        if not options.get("train_target") or not incomplete(options, cls.files, (), data_dir):
            return dict(options)
        paths = given_files(options, cls.files, partial(locate, data_dir=data_dir))
        pairs = read_pairs(paths["train_source"], paths["train_target"])
        texts = [[pair[k] for pair in pairs] for k in (0, 1)]
        sizes, unit = _sizes(texts, options)
        added = {**sizes, "unit": unit, "sha256": sha256_of(paths.values())}
        return {**added, **options}

    @property
    def inputs(self) -> Tokens:
        """The target words before, which begin with `<s>`."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """The next target word, at every step; the last one is `</s>`."""
        metrics: tuple[Measure, ...] = ("perplexity", "accuracy")
        return Categorical(self.vocabulary, True, metrics, may_ignore=False)

    @collector_paused()
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
        models = self._models(pairs["train"])
        tokenizers = [_tokenizer(model) for model in models]
        symbols = {
            part: [
                (tokenizers[0].split(s), tokenizers[1].split(t))
                for s, t in shown(sentence_pairs, len(sentence_pairs), "pairs", f"reading {part}")
            ]
            for part, sentence_pairs in pairs.items()
        }
        # Filtered before the vocabularies are counted: pairs that do not train add no words.
        symbols["train"] = [
            pair for pair in symbols["train"] if max(map(len, pair)) <= self.max_length
        ]
        check_filled(paths["train"][0], symbols)
        sources, targets = self._vocabularies(models, symbols["train"])
        splits: dict[str, Split] = {
            part: self._examples(symbols[part], sources, targets)
            for part in ("train", "valid", "test")
        }
        # References are the sentences of the file: sacrebleu splits them into words by its own
        # rules, which makes scores comparable with those of others.
        references = [target for _, target in pairs["test"]]
        # Subwords know every text: characters that they lack become bytes.
        listed = self.unit == "word" and self.sha256 is not None
        notes = [_unknown_words(symbols, sources)] if listed else []
        return Dataset(
            splits,
            {
                "sources": sources,
                "inputs": targets,
                "outputs": targets,
                "source_model": models[0],
                "target_model": models[1],
                "references": references,
                # Also a check before the training that sacrebleu is installed.
                "bleu": bleu_signature(references),
            },
            {"notes": notes} if notes else {},
        )

    def _models(self, pairs: Sequence[Pair]) -> tuple[str | None, str | None]:
        """Returns the models of subwords of source and target; None for words."""
        if self.unit == "word":
            return None, None
        source = train_subwords(
            (s for s, _ in pairs), self.source_vocabulary, "task.source_vocabulary"
        )
        return source, train_subwords((t for _, t in pairs), self.vocabulary, "task.vocabulary")

    def _vocabularies(
        self, models: tuple[str | None, str | None], symbols: Sequence[Symbols]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the symbols of source and target; <unk>, <s> and </s> are the first targets."""
        if models[0] and models[1]:
            return subwords_of(models[0]), subwords_of(models[1])
        sources = most_frequent((w for s, _ in symbols for w in s), self.source_vocabulary)
        # Two places are left for <s> and </s>, which come right after <unk>.
        most = most_frequent((w for _, t in symbols for w in t), self.vocabulary - 2)
        return sources, (most[0], BEGIN, END, *most[1:])

    def _pair(self, part: str) -> tuple[str | None, str | None]:
        return getattr(self, f"{part}_source"), getattr(self, f"{part}_target")

    def _examples(
        self,
        symbols: Sequence[Symbols],
        sources: tuple[str, ...],
        targets: tuple[str, ...],
    ) -> Examples:
        # An empty source becomes <unk>: attention needs at least one word.
        given_NS, given_lengths = encode_rows([s or [sources[0]] for s, _ in symbols], sources)
        rows = [[BEGIN, *target, END] for _, target in symbols]
        numbers_NT, lengths = encode_rows(rows, targets)
        source = SourceTokens(given_NS, given_lengths)
        # Teacher forcing: the inputs are the true words, one step behind the targets.
        return Examples(numbers_NT[:, :-1], numbers_NT[:, 1:], lengths - 1, source=source)

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Converts a source sentence to the numbers of its symbols [S]; an empty one to `<unk>`."""
        sources = preprocessing["sources"]
        symbols = _tokenizer(preprocessing.get("source_model")).split(line)
        return encode(symbols or [sources[0]], sources)

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the BLEU of translations; `preprocessing` has the signature of sacrebleu.

        Args:
          outputs: target tokens [N,T] from beam search.
          test: not used; the reference sentences are in `preprocessing`.
          preprocessing: as in `Dataset`.

        Raises:
          UserError: if sacrebleu is not installed.
        """
        texts = [self.text(row, preprocessing) for row in outputs]
        return {"bleu": bleu(texts, preprocessing["references"])}

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
        return _tokenizer(preprocessing.get("target_model")).join(words)


def _sizes(
    texts: Sequence[Sequence[str]], options: Mapping[str, Any]
) -> tuple[dict[str, int], TranslationUnit]:
    """Returns the sizes of the vocabularies of source and target texts, and the unit."""
    names = ("source_vocabulary", "vocabulary")
    most = [options.get(name, getattr(Translation, name)) for name in names]
    # Counted in all pairs, also those that will be held out: upper bounds, which cost a few unused
    # rows of the embedding.
    words = [len({word for text in part for word in WORDS.split(text)}) for part in texts]
    sizes = [max(words[0] + 1, 4), max(words[1] + 3, 4)]
    fits = all(size <= limit for size, limit in zip(sizes, most, strict=True))
    unit: TranslationUnit = options.get("unit") or ("word" if fits else "subword")
    if unit == "subword":
        # Vocabularies of a size that was given have this size.
        sizes = [
            limit
            if name in options
            else len(subwords_of(train_subwords(part, limit, f"task.{name}")))
            for part, limit, name in zip(texts, most, names, strict=True)
        ]
    return {name: min(pair) for name, *pair in zip(names, sizes, most, strict=True)}, unit


def _unknown_words(symbols: Mapping[str, Sequence[Symbols]], sources: tuple[str, ...]) -> str:
    """Returns the shares of source words that the model does not know, for people."""
    known, shares = set(sources), {}
    for split, pairs in symbols.items():
        words = [word in known for source, _ in pairs for word in source]
        shares[split] = 1.0 - sum(words) / max(len(words), 1)
    return unknown_note(shares, len(sources), "source word")


def _tokenizer(model: str | None) -> Tokenizer:
    return subword_tokenizer(model) if model else WORDS


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

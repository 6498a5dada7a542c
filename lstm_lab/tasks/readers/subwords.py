"""Subwords: frequent words as they are, rare words in parts, by byte-pair encoding.

In: sentences and the size of a vocabulary. Out: a model as text, which preprocessing.json can hold,
and its tokenizer. No text has unknown words: characters that the model does not know become bytes.

Source: Sennrich et al. 2016; Kudo and Richardson 2018, SentencePiece.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from lstm_lab.tasks.readers.words import Tokenizer, normalize
from lstm_lab.utils.errors import UserError


def train_subwords(sentences: Iterable[str], size: int, option: str) -> str:
    """Learns a vocabulary of subwords; the same sentences always give the same one.

    Args:
      sentences: the training split; other splits would leak into the model.
      size: largest number of subwords, with <unk>, <s>, </s> and 256 bytes.
      option: the option that sets `size`, for error messages.

    Returns:
      The model, in base64.

    Raises:
      UserError: if sentencepiece is not installed, or `size` is too small for the characters.

    Example:
      model = train_subwords(["ein hund", "ein kleiner hund"], 280, "task.vocabulary")
      subword_tokenizer(model).split("ein hund")  # ["▁ein", "▁hund"]
    """
    model = io.BytesIO()
    try:
        _sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter([normalize(sentence) for sentence in sentences]),
            model_writer=model,
            vocab_size=size,
            model_type="bpe",
            # Without the defaults that change a text: it could not be put together again.
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            character_coverage=1.0,
            byte_fallback=True,
            # A small text has fewer subwords than `size`.
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if needed is None:
            raise
        raise UserError(
            f"{option}: got {size}, expected {needed[1]} or more for subwords of this text"
        ) from None
    return base64.b64encode(model.getvalue()).decode("ascii")


def subword_tokenizer(model: str) -> Tokenizer:
    """Returns the tokenizer of a model.

    Args:
      model: as `train_subwords` returns it.

    Raises:
      UserError: if sentencepiece is not installed.
    """
    processor = _processor(model)
    return Tokenizer(
        lambda text: processor.encode(normalize(text), out_type=str), processor.decode_pieces
    )


def subwords_of(model: str) -> tuple[str, ...]:
    """Returns all subwords of a model; the first three are <unk>, <s> and </s>.

    Args:
      model: as `train_subwords` returns it.

    Raises:
      UserError: if sentencepiece is not installed.
    """
    processor = _processor(model)
    return tuple(processor.id_to_piece(list(range(processor.get_piece_size()))))


@lru_cache(maxsize=4)
def _processor(model: str) -> Any:
    return _sentencepiece().SentencePieceProcessor(model_proto=base64.b64decode(model))


def _sentencepiece() -> Any:
    try:
        with warnings.catch_warnings():
            # Its types, made by SWIG, warn when they are created. Python ends the process if that
            # warning is an error.
            warnings.filterwarnings("ignore", "builtin type", DeprecationWarning)
            import sentencepiece
    except ImportError:
        raise UserError(
            "task.unit: subword needs sentencepiece: pip install 'lstm-lab[nlp]'"
        ) from None
    return sentencepiece

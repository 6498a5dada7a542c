"""Text: files of any writing, words and characters, and the numbers that stand for them."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lstm_lab.utils.errors import UserError

Unit = Literal["word", "character"]

UNKNOWN = "<unk>"
END = "<eos>"

# Words, each sign of scripts that are written without spaces, and punctuation marks.
_WORDS = re.compile(r"<\w+>|[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[\w']+|[^\w\s]")


def read_text(path: Path) -> str:
    """Reads a UTF-8 file, gzipped where its name ends in .gz.

    Raises:
      UserError: for a file that is missing, empty, or not UTF-8; it names the line.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"data: {path} {reason}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"data: {path} line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); "
            "save the whole file as UTF-8"
        ) from None
    if not text.strip():
        raise UserError(f"data: {path} is empty")
    return text.replace("\r\n", "\n")


def words_of(text: str) -> list[str]:
    """Splits text into lower-case words, punctuation marks and signs of unspaced scripts."""
    return _WORDS.findall(text.lower())


def most_frequent(tokens: Iterable[str], size: int) -> tuple[str, ...]:
    """Returns a vocabulary: `<unk>` and the most frequent tokens, ties in the order of the text.

    Args:
      tokens: the training data's.
      size: most symbols of the vocabulary, `<unk>` among them.
    """
    counts = Counter(tokens)
    counts.pop(UNKNOWN, None)
    return (UNKNOWN, *(token for token, _ in counts.most_common(size - 1)))


def encode(tokens: Iterable[str], vocabulary: tuple[str, ...]) -> np.ndarray:
    """Returns the numbers of tokens [N]; one that the vocabulary lacks is `<unk>`, number 0."""
    numbers = {symbol: number for number, symbol in enumerate(vocabulary)}
    return np.array([numbers.get(token, 0) for token in tokens], np.int32)


def padded(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of numbers as one array [N,T], zero behind their ends, and their lengths [N]."""
    lengths = np.array([len(row) for row in rows], np.int32)
    filled = np.zeros((len(rows), lengths.max()), np.int32)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled, lengths


def check_unchanged(paths: Iterable[Path], sha256: str | None) -> None:
    """Raises UserError for files that are not those which a run was configured for."""
    paths = list(paths)
    if sha256 is not None and sha256_of(paths) != sha256:
        raise UserError(
            f"task.sha256: {', '.join(map(str, paths))} changed since the run was configured"
        )


def sha256_of(paths: Iterable[Path]) -> str:
    """Returns one hash of files' contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

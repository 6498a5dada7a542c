"""Records of files: CSV with a header, or JSON lines; and how they are split."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from lstm_lab.tasks.base import cross_validation
from lstm_lab.tasks.readers.text import check_unchanged, read_text
from lstm_lab.utils.errors import UserError, unknown

Record = dict[str, Any]
Row = TypeVar("Row")


def read_records(path: Path, columns: Iterable[str]) -> list[tuple[int, Record]]:
    """Reads the records of a file: JSON lines where its name has .json, else CSV.

    Args:
      path: the file, gzipped where its name ends in .gz.
      columns: those that each record must have.

    Returns:
      For each record its line and its values by column; empty lines are none.

    Raises:
      UserError: for a file without records, a line that is none, or a column that is missing.
    """
    text = read_text(path)
    found = _json_lines(path, text) if ".json" in path.name else _csv(path, text)
    if not found:
        raise UserError(f"data: {path} holds no records")
    for line, record in found:
        for column in columns:
            if column not in record:
                raise unknown(f"data: {path} line {line}: column", column, record)
            if record[column] is None:
                raise UserError(f"data: {path} line {line} has nothing for column {column!r}")
    return found


def _json_lines(path: Path, text: str) -> list[tuple[int, Record]]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"data: {path} line {number} is no JSON: {error.msg}") from None
        if not isinstance(record, dict):
            raise UserError(f"data: {path} line {number} is no JSON object")
        found.append((number, record))
    return found


def _csv(path: Path, text: str) -> list[tuple[int, Record]]:
    reader = csv.DictReader(text.splitlines(keepends=True))
    found = []
    for record in reader:
        if None in record:
            raise UserError(
                f"data: {path} line {reader.line_num} has more values than the "
                f"{len(reader.fieldnames or ())} columns of the header"
            )
        found.append((reader.line_num, record))
    return found


class FromFiles(Protocol):
    """A task whose splits have a file each, or are held out of that of `train`."""

    files: ClassVar[tuple[str, ...]]

    @property
    def sha256(self) -> str | None:
        """Hash of the files, or None."""

    @property
    def valid_share(self) -> float:
        """Of `train`, where valid has no file."""

    @property
    def test_share(self) -> float:
        """Of `train`, where test has no file."""

    @property
    def split_seed(self) -> int:
        """Of what is held out."""


def read_splits(
    task: FromFiles,
    find: Callable[[str], Path],
    read: Callable[[Path], list[Row]],
    files_of: Callable[[Iterable[Path]], list[Path]] = list,
) -> tuple[dict[str, Path], dict[str, list[Row]]]:
    """Reads a task's splits from their files.

    Args:
      task: the task.
      find: where a file is.
      read: its rows.
      files_of: what the task's hash is of, from where its files are.

    Returns:
      Where each split's rows are from, and its rows.

    Raises:
      UserError: for a file that is missing, changed, or not of its form, or a split without rows.
    """
    given = {split: getattr(task, split) for split in task.files}
    found = {split: find(path) for split, path in given.items() if path}
    check_unchanged(files_of(found.values()), task.sha256)
    shares = {"valid": task.valid_share, "test": task.test_share}
    splits = complete({k: read(path) for k, path in found.items()}, shares, task.split_seed)
    check_filled(found["train"], splits)
    return {split: found.get(split, found["train"]) for split in splits}, splits


def complete(
    rows: Mapping[str, list[Row]], shares: Mapping[str, float], seed: int
) -> dict[str, list[Row]]:
    """Returns the three splits; those without rows of their own are held out of `train` at random.

    Args:
      rows: by split, `train` among them.
      shares: of `train`, for each split that may be held out.
      seed: of the order.
    """
    missing = [split for split in shares if split not in rows]
    order = np.random.default_rng(seed).permutation(len(rows["train"]))
    sizes = [round(shares[split] * len(order)) for split in missing]
    *parts, rest = np.split(order, np.cumsum(sizes))
    taken = dict(zip((*missing, "train"), (*parts, rest), strict=True))
    held_out = {split: [rows["train"][k] for k in part] for split, part in taken.items()}
    return {**rows, **held_out}


def parts_of(
    count: int, folds: int | None, fold: int | None, shares: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Returns which of `count` examples each split has: those of a fold, or held out at random.

    Args:
      count: how many examples.
      folds, fold: as in `cross_validation`; both or none.
      shares: of valid and test, where there are no folds.
      seed: of the order.
    """
    if folds is not None and fold is not None:
        order = np.random.default_rng(seed).permutation(count)
        parts = cross_validation(order, folds, fold)
        return dict(zip(("train", "valid", "test"), parts, strict=True))
    found = complete({"train": list(range(count))}, shares, seed)
    return {split: np.array(found[split], int) for split in ("train", "valid", "test")}


def check_shares(**shares: float) -> None:
    """Raises ValueError for a share that cannot be held out."""
    for name, share in shares.items():
        if not 0.0 < share < 0.5:
            raise ValueError(f"{name}: found {share}, allowed above 0, below 0.5")


def check_filled(path: Path, splits: dict[str, Any]) -> None:
    """Raises UserError where a split has no example."""
    for split, examples in splits.items():
        if not len(examples):
            raise UserError(f"data: {path} leaves no example for {split}; allowed one or more")

"""Splits examples into train, valid and test: one file per split, a hold-out, or folds.

In: files, rows, or numbers of examples, and a seed. Out: the rows or the indices of each split.
Every split is a pure function of `split_seed`, an option of the task and not a seed of the run: all
runs of a study train and test on the same examples. Read labels.py next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import numpy as np

from lstm_lab.tasks.readers.text import check_unchanged
from lstm_lab.utils.errors import UserError

Row = TypeVar("Row")
SPLITS = ("train", "valid", "test")


class SplitFiles(Protocol):
    """A task with one file per split."""

    # The options that name the files of train, valid and test.
    files: ClassVar[tuple[str, ...]]

    @property
    def sha256(self) -> str | None:
        """Hash of the files at the time of configuration, or None."""


class HeldOutSplits(SplitFiles, Protocol):
    """A task whose splits without a file are held out of the training file at random."""

    @property
    def valid_share(self) -> float:
        """Share of the training file held out for validation if that split has no file."""

    @property
    def test_share(self) -> float:
        """Share of the training file held out for the test if that split has no file."""

    @property
    def split_seed(self) -> int:
        """Seed of the random choice of held-out examples."""


def find_splits(
    task: SplitFiles,
    find: Callable[[str], Path],
    files_of: Callable[[Iterable[Path]], list[Path]] = list,
) -> dict[str, Path]:
    """Returns the files of the splits, by split, after a check that they have not changed.

    Args:
      task: the task.
      find: returns the path of a file on disk.
      files_of: returns the files to hash; a path may be a folder of several files.

    Raises:
      UserError: if a file is missing or has changed.
    """
    names = dict(zip(SPLITS, (getattr(task, option) for option in task.files), strict=True))
    paths = {split: find(path) for split, path in names.items() if path}
    # Before anything is parsed: a changed file should not fail with an error about its content.
    check_unchanged(files_of(paths.values()), task.sha256)
    return paths


def read_splits(
    task: HeldOutSplits,
    find: Callable[[str], Path],
    read: Callable[[Path], list[Row]],
    files_of: Callable[[Iterable[Path]], list[Path]] = list,
) -> tuple[dict[str, Path], dict[str, list[Row]]]:
    """Reads a task's splits from their files.

    Args:
      task: the task.
      find: returns the path of a file on disk.
      read: reads the rows of a file.
      files_of: returns the files to hash; a path may be a folder of several files.

    Returns:
      For each split the file that its rows come from, and its rows.

    Raises:
      UserError: if a file is missing, changed or malformed, or a split has no rows.
    """
    paths = find_splits(task, find, files_of)
    shares = {"valid": task.valid_share, "test": task.test_share}
    rows = {split: read(path) for split, path in paths.items()}
    splits = complete(rows, shares, task.split_seed)
    check_filled(paths["train"], splits)
    # A split that was held out comes from the training file; errors about its rows name that file.
    return {split: paths.get(split, paths["train"]) for split in splits}, splits


def complete(
    rows: Mapping[str, list[Row]], shares: Mapping[str, float], seed: int
) -> dict[str, list[Row]]:
    """Completes the three splits: a missing one is held out of `train` at random.

    Args:
      rows: the rows of each split that has a file; `train` is required.
      shares: for each split that may be missing, its share of `train`.
      seed: seed of the random order.

    Returns:
      The rows of train, valid and test.
    """
    missing = [split for split in shares if split not in rows]
    # At random, because files are often sorted by label. This shuffles `train` even if nothing is
    # held out.
    order = np.random.default_rng(seed).permutation(len(rows["train"]))
    sizes = [round(shares[split] * len(order)) for split in missing]
    *parts, rest = np.split(order, np.cumsum(sizes))
    # The order of the draws is fixed: a new order would change the splits of published runs.
    indices = dict(zip((*missing, "train"), (*parts, rest), strict=True))
    held_out = {split: [rows["train"][k] for k in part] for split, part in indices.items()}
    return {**rows, **held_out}


def parts_of(
    counts: Mapping[str, int],
    folds: int | None,
    fold: int | None,
    shares: Mapping[str, float],
    seed: int,
) -> dict[str, np.ndarray]:
    """Returns the example indices of each split, by cross-validation, files or a random hold-out.

    Args:
      counts: number of examples of each split that has a file. The examples are numbered through,
        train first.
      folds, fold: as in `cross_validation`; both or neither.
      shares: shares of valid and test, used for those without a file and without folds.
      seed: seed of the random order.

    Returns:
      Indices of train, valid and test.
    """
    if folds is not None and fold is not None:
        # The order does not depend on the fold. The test parts of all folds are therefore disjoint
        # and together contain every example once.
        order = np.random.default_rng(seed).permutation(counts["train"])
        parts = cross_validation(order, folds, fold)
        return dict(zip(SPLITS, parts, strict=True))
    ends = np.cumsum([counts.get(split, 0) for split in SPLITS])
    rows = {
        split: list(range(end - counts[split], end))
        for split, end in zip(SPLITS, ends.tolist(), strict=True)
        if split in counts
    }
    indices = complete(rows, shares, seed)
    return {split: np.array(indices[split], int) for split in SPLITS}


def check_shares(**shares: float) -> None:
    """Raises ValueError if a share is not above 0 and below 0.5."""
    # Two shares below one half leave something for training. In a file of few examples the rounding
    # of sizes can still leave nothing, which `check_filled` reports.
    for name, share in shares.items():
        if not 0.0 < share < 0.5:
            raise ValueError(f"{name}: got {share}, expected above 0 and below 0.5")


def check_filled(path: Path, splits: Mapping[str, Sized]) -> None:
    """Raises UserError if a split has no examples."""
    # A small share of a short file rounds to 0, and a metric over nothing would be 0 or NaN.
    for split, examples in splits.items():
        if not len(examples):
            raise UserError(f"data: {path} leaves 0 examples for {split}, expected 1 or more")


def check_folds(folds: int | None, fold: int | None, *files: str | None) -> None:
    """Raises ValueError if `folds` and `fold` do not describe a cross-validation.

    Args:
      folds, fold: as in `cross_validation`.
      files: files of valid and test, which a cross-validation does not have.
    """
    if folds is not None and any(files):
        raise ValueError("folds: expected none, since valid or test have files of their own")
    if (folds is None) != (fold is None):
        raise ValueError(f"folds, fold: got {folds} and {fold}, expected both or neither")
    # One part tests and one validates, so a third one is needed for training.
    if folds is not None and folds < 3:
        raise ValueError(f"folds: got {folds}, expected 3 or more")
    if folds is not None and fold is not None and not 0 <= fold < folds:
        raise ValueError(f"fold: got {fold}, expected 0 to {folds - 1}")


def cross_validation(
    order_N: np.ndarray, folds: int, fold: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits examples for one fold of a cross-validation.

    Args:
      order_N: indices of the examples, in an order that all folds share.
      folds: number of parts; their sizes differ by at most one.
      fold: index of the test part; the next part is the validation split.

    Returns:
      The indices of the training, validation and test examples.
    """
    parts = np.array_split(order_N, folds)
    # Modulo: the part after the last one is the first, so each part validates exactly once too.
    test, valid = fold, (fold + 1) % folds
    train = [part for k, part in enumerate(parts) if k not in (test, valid)]
    return np.concatenate(train), parts[valid], parts[test]

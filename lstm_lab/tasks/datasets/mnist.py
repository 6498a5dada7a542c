"""MNIST, read pixel by pixel, in order or permuted."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Examples, Task, Vectors
from lstm_lab.tasks.readers.download import locate
from lstm_lab.utils.errors import UserError

SIDE = 28


@dataclass(frozen=True)
class MNIST(Task):
    """Which digit an image shows, read as a sequence: Le, Jaitly and Hinton 2015.

    Attributes:
      permuted: read the pixels in an order drawn once.
      permutation_seed: of that order.
      pixels_per_step: 1 reads 784 pixels, 28 reads the rows.
      train_size: images that train, the first ones; None is all 55,000.
      test_size: images of the test split, the first ones; None is all 10,000.
    """

    permuted: bool = False
    permutation_seed: int = 0
    pixels_per_step: Literal[1, 2, 4, 7, 14, 28] = 1
    train_size: int | None = None
    test_size: int | None = None

    name: ClassVar[str] = "mnist"
    target: ClassVar[Categorical] = Categorical(10)
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        for name in ("train_size", "test_size"):
            size = getattr(self, name)
            if size is not None and size < 1:
                raise ValueError(f"{name}: got {size}, expected 1 or more")

    @property
    def inputs(self) -> Vectors:
        """The pixels of one step, in [0,1]."""
        return Vectors(self.pixels_per_step)

    def load(self, data_dir: Path) -> Dataset:
        """Reads the images; the last twelfth of those for training validates.

        Raises:
          UserError: for a file that is missing or damaged.
        """
        images, labels = self._read(data_dir, "train")
        tested, answers = self._read(data_dir, "t10k")
        valid = max(len(images) // 12, 1)
        train = slice(0, len(images) - valid)
        splits = {
            "train": (images[train][: self.train_size], labels[train][: self.train_size]),
            "valid": (images[-valid:], labels[-valid:]),
            "test": (tested[: self.test_size], answers[: self.test_size]),
        }
        return Dataset({split: self._examples(*part) for split, part in splits.items()})

    def _examples(self, images_NP: np.ndarray, labels: np.ndarray) -> Examples:
        if self.permuted:
            order = np.random.default_rng(self.permutation_seed).permutation(SIDE * SIDE)
            images_NP = images_NP[:, order]
        x = images_NP.astype(np.float32) / 255.0
        return Examples(x.reshape(len(x), -1, self.pixels_per_step), labels.astype(np.int32))

    def _read(self, data_dir: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
        images = read_idx(locate(f"mnist/{part}-images-idx3-ubyte.gz", data_dir))
        path = locate(f"mnist/{part}-labels-idx1-ubyte.gz", data_dir)
        labels = read_idx(path)
        if images.shape[1:] != (SIDE, SIDE) or labels.shape != images.shape[:1]:
            raise UserError(
                f"data: {path} and its images are {labels.shape} and {images.shape}, expected "
                f"(N,) and (N, {SIDE}, {SIDE})"
            )
        return images.reshape(len(images), -1), labels


def read_idx(path: Path) -> np.ndarray:
    """Reads a gzipped idx file of bytes.

    Raises:
      UserError: for a file that is none.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        zero, kind, rank = content[:2], content[2], content[3]
        shape = np.frombuffer(content, ">i4", rank, 4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise UserError(f"data: {path} is no idx file ({error})") from None
    if zero != b"\0\0" or kind != 8:
        raise UserError(f"data: {path} is no idx file of bytes")
    return values

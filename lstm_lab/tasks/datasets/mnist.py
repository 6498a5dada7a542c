"""MNIST, read pixel by pixel, in the order of the image or permuted.

In: the four idx files under mnist/ in the data folder. Out: sequences of pixels with a class each.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.examples import Examples
from lstm_lab.tasks.readers.download import locate
from lstm_lab.utils.errors import UserError

SIDE = 28


@dataclass(frozen=True)
class MNIST(Task):
    """Which digit an image shows, read as a sequence of pixels.

    The permuted task has dependencies over the whole sequence, since neighbors in the image are far
    apart in time.

    Attributes:
      permuted: read the pixels of all images in the same random order.
      permutation_seed: seed of that order.
      pixels_per_step: 1 reads 784 single pixels, 28 reads 28 rows.
      train_size: use the first images of the training split only; None means all 55,000.
      test_size: use the first images of the test split only; None means all 10,000. The first 5,000
        are easier than the others, so scores of different sizes are not comparable.

    Example:
      MNIST(permuted=True, pixels_per_step=28).inputs  # Vectors(features=28)

    Source: Le, Jaitly and Hinton 2015, A simple way to initialize recurrent networks of rectified
    linear units.
    """

    permuted: bool = False
    # Not a seed of the run: all runs must read the same order to be comparable.
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
        """Reads the images; the last twelfth of the training images validates.

        Args:
          data_dir: the data folder.

        Raises:
          UserError: if a file is missing or damaged.
        """
        images, labels = self._read(data_dir, "train")
        tested, answers = self._read(data_dir, "t10k")
        # MNIST has no validation split, so 5,000 of the 60,000 training images are held out: the
        # last ones, since `train_size` takes the first ones.
        valid = max(len(images) // 12, 1)
        train = slice(0, len(images) - valid)
        # Cut after the validation split is taken: `train_size` does not change what validates.
        splits = {
            "train": (images[train][: self.train_size], labels[train][: self.train_size]),
            "valid": (images[-valid:], labels[-valid:]),
            "test": (tested[: self.test_size], answers[: self.test_size]),
        }
        examples = {split: self._examples(*part) for split, part in splits.items()}
        return Dataset({**examples}, {"length": examples["train"].x[0].size})

    def _examples(self, images_NP: np.ndarray, labels: np.ndarray) -> Examples:
        if self.permuted:
            # Drawn anew for each split from the same seed, so it is the same order.
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
    """Reads a gzipped idx file of unsigned bytes.

    Args:
      path: the file.

    Returns:
      An array, uint8, of the shape in the header.

    Raises:
      UserError: if the file has another format.
    """
    try:
        content = gzip.decompress(path.read_bytes())
        # The header: two zero bytes, the type (8 for unsigned bytes), the number of axes, then the
        # length of each axis as a big-endian int32.
        zero, kind, rank = content[:2], content[2], content[3]
        shape = np.frombuffer(content, ">i4", rank, 4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, zlib.error, ValueError, IndexError) as error:
        raise UserError(f"data: {path} is no idx file ({error})") from None
    if zero != b"\0\0" or kind != 8:
        raise UserError(f"data: {path} is no idx file of bytes")
    return values

"""The 1,797 handwritten digits that come with scikit-learn, read as sequences.

In: nothing; the images are part of scikit-learn, so this task needs no download. Out: sequences of
pixels with a class each. mnist.py has larger images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Vectors
from lstm_lab.tasks.examples import Examples
from lstm_lab.tasks.readers.splits import check_folds, cross_validation


@dataclass(frozen=True)
class Digits(Task):
    """Which digit an 8x8 image shows, read pixel by pixel or several pixels at a time.

    Attributes:
      pixels_per_step: 1 reads 64 single pixels, 2 reads 32 pairs, 8 reads 8 rows.
      valid_size, test_size: numbers of examples of these splits; the rest is the training split.
      split_seed: seed of the random split, the same for all runs.
      folds, fold: k-fold cross-validation instead of these sizes: the number of parts, and the
        index of the part that tests; the next part validates, and the others train.

    Example:
      Digits(pixels_per_step=8).load(Path("data")).splits["train"].x.shape  # (1167, 8, 8)
    """

    # Divisors of 8, so that no step contains pixels of two rows.
    pixels_per_step: Literal[1, 2, 4, 8] = 1
    # 15 % and 20 % of the examples.
    valid_size: int = 270
    test_size: int = 360
    split_seed: int = 0
    folds: int | None = None
    fold: int | None = None

    name: ClassVar[str] = "digits"
    target: ClassVar[Categorical] = Categorical(10)
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        for name, size in (("valid_size", self.valid_size), ("test_size", self.test_size)):
            if size < 1:
                raise ValueError(f"{name}: got {size}, expected 1 or more")
        check_folds(self.folds, self.fold)
        if self.valid_size + self.test_size >= 1797:
            raise ValueError(
                f"valid_size + test_size: got {self.valid_size + self.test_size}, which leaves "
                "none of the 1797 examples for training"
            )

    @property
    def inputs(self) -> Vectors:
        """The pixels of one step, in [0,1]."""
        return Vectors(self.pixels_per_step)

    def load(self, data_dir: Path) -> Dataset:
        """Reads the digits that come with scikit-learn, and splits them.

        Args:
          data_dir: not used.
        """
        # Imported here: it takes about a second, which other tasks should not pay.
        from sklearn.datasets import load_digits

        # Gray levels are whole numbers from 0 to 16.
        images, labels = load_digits(return_X_y=True)
        x = (images / 16.0).astype(np.float32)
        x_NTD = x.reshape(len(x), -1, self.pixels_per_step)
        # One order for all folds and sizes, so that the test parts of different folds are disjoint.
        order = np.random.default_rng(self.split_seed).permutation(len(x))
        if self.folds is not None and self.fold is not None:
            train, valid, test = cross_validation(order, self.folds, self.fold)
        else:
            # Test comes first: a change of `valid_size` leaves the test split as it is.
            sizes = [self.test_size, self.test_size + self.valid_size]
            test, valid, train = np.split(order, sizes)
        return Dataset(
            {
                split: Examples(x_NTD[rows], labels[rows].astype(np.int32))
                for split, rows in (("train", train), ("valid", valid), ("test", test))
            },
            {"length": x[0].size},
        )

"""Tasks of long memory, generated on the device from the seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from lstm_lab.tasks.dataset import (
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Real,
    Target,
    Tokens,
    Vectors,
)


@dataclass(frozen=True)
class Adding:
    """The adding problem: the sum of the two marked numbers of a sequence.

    Each step has a number in [0,1) and a marker; one marker lies in each half. Predicting 1 gives a
    mean squared error of 1/6. Hochreiter and Schmidhuber 1997, experiment 4; the form of Le et al.
    2015.

    Attributes:
      length: steps of a sequence.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
    """

    length: int = 100
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0

    name: ClassVar[str] = "adding"
    inputs: ClassVar[Vectors] = Vectors(2)
    target: ClassVar[Real] = Real(1)
    metric: ClassVar[str] = "mse"

    def __post_init__(self) -> None:
        _check(self.length, 2, self.valid_size, self.test_size)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence."""
        key_value, key_first, key_second = jax.random.split(key, 3)
        half = self.length // 2
        value_T = jax.random.uniform(key_value, (self.length,))
        first = jax.random.randint(key_first, (), 0, half)
        second = jax.random.randint(key_second, (), half, self.length)
        marks_T = jnp.zeros((self.length,)).at[jnp.stack([first, second])].set(1.0)
        y = jnp.expand_dims(value_T[first] + value_T[second], 0)
        return Examples(jnp.stack([value_T, marks_T], 1), y)

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return _fixed_splits(self.sample, self.split_seed, self.valid_size, self.test_size)


@dataclass(frozen=True)
class CopyMemory:
    """Copy memory: repeat, after a delay, the symbols seen at the start.

    Ten of eight symbols, then blanks, then a marker at the step from which on they are asked for.
    Without memory the cross-entropy is 10 ln 8 / (delay + 20). Arjovsky et al. 2016.

    Attributes:
      delay: T of the paper; a sequence has delay + 20 steps.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
    """

    delay: int = 100
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0

    name: ClassVar[str] = "copy_memory"
    inputs: ClassVar[Tokens] = Tokens(10)
    target: ClassVar[Categorical] = Categorical(9, every_step=True)
    metric: ClassVar[str] = "nll"

    def __post_init__(self) -> None:
        if self.delay < 1:
            raise ValueError(f"delay: found {self.delay}, allowed 1 or more")
        _check(20, 1, self.valid_size, self.test_size)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence: 0 is blank, 1 to 8 the symbols, 9 the marker."""
        symbols = jax.random.randint(key, (10,), 1, 9)
        T = self.delay + 20
        x_T = jnp.zeros((T,), jnp.int32).at[:10].set(symbols).at[self.delay + 9].set(9)
        return Examples(x_T, jnp.zeros((T,), jnp.int32).at[-10:].set(symbols))

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return _fixed_splits(self.sample, self.split_seed, self.valid_size, self.test_size)


@dataclass(frozen=True)
class TemporalOrder:
    """Temporal order: which of X and Y stood at two places among distractors.

    The first place lies in the second tenth of the sequence, the second in the sixth. Hochreiter
    and Schmidhuber 1997, experiment 6a.

    Attributes:
      length: steps of a sequence.
      distractors: symbols that mean nothing; the vocabulary has two more.
      classes: 4 asks for XX, XY, YX or YY; 2 draws XY or YX and asks which came first, with one
        logit.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
    """

    length: int = 100
    distractors: int = 4
    classes: Literal[2, 4] = 4
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0

    name: ClassVar[str] = "temporal_order"
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        _check(self.length, 10, self.valid_size, self.test_size)
        if self.distractors < 1:
            raise ValueError(f"distractors: found {self.distractors}, allowed 1 or more")

    @property
    def inputs(self) -> Tokens:
        """X, Y and the distractors."""
        return Tokens(self.distractors + 2)

    @property
    def target(self) -> Target:
        """Four classes, or one logit."""
        return Categorical(4) if self.classes == 4 else Bernoulli(1)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence: 0 is X, 1 is Y, the rest are distractors."""
        keys = jax.random.split(key, 5)
        tenth = self.length // 10
        x_T = jax.random.randint(keys[0], (self.length,), 2, self.distractors + 2)
        first = jax.random.randint(keys[1], (), tenth, 2 * tenth)
        second = jax.random.randint(keys[2], (), 5 * tenth, 6 * tenth)
        a = jax.random.randint(keys[3], (), 0, 2)
        if self.classes == 2:
            return Examples(x_T.at[first].set(a).at[second].set(1 - a), jnp.expand_dims(a, 0))
        b = jax.random.randint(keys[4], (), 0, 2)
        return Examples(x_T.at[first].set(a).at[second].set(b), 2 * a + b)

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return _fixed_splits(self.sample, self.split_seed, self.valid_size, self.test_size)


def _check(length: int, shortest: int, valid_size: int, test_size: int) -> None:
    for name, value, least in (
        ("length", length, shortest),
        ("valid_size", valid_size, 1),
        ("test_size", test_size, 1),
    ):
        if value < least:
            raise ValueError(f"{name}: found {value}, allowed {least} or more")


def _fixed_splits(
    sample: Callable[[jax.Array], Examples], seed: int, valid_size: int, test_size: int
) -> Dataset:
    """Draws validation and test examples under keys that no training step uses."""
    # Training folds (step, row) into key(seed); this purpose tag is no step.
    root = jax.random.fold_in(jax.random.key(seed), 0x7FFFFFFF)
    sizes = {"valid": valid_size, "test": test_size}
    draw = jax.jit(jax.vmap(sample))
    return Dataset(
        {
            split: jax.device_get(draw(jax.random.split(jax.random.fold_in(root, k), sizes[split])))
            for k, split in enumerate(sizes)
        }
    )

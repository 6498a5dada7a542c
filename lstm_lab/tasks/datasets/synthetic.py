"""Tasks of long memory, generated on the device from the seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp

from lstm_lab.tasks.base import (
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Real,
    Split,
    Target,
    Task,
    Tokens,
    Vectors,
)


@dataclass(frozen=True)
class Adding(Task):
    """The adding problem: the sum of the two marked numbers of a sequence.

    Each step has a number in [0,1) and a marker; one marker lies in each half. Predicting 1 gives a
    mean squared error of 1/6. Hochreiter and Schmidhuber 1997, experiment 4; the form of Le et al.
    2015.

    Attributes:
      length: steps of a sequence.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
      test_length: steps of the test split's sequences, where others are to be tested.
    """

    length: int = 100
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "adding"
    inputs: ClassVar[Vectors] = Vectors(2)
    target: ClassVar[Real] = Real(1)
    metric: ClassVar[str] = "mse"

    def __post_init__(self) -> None:
        check_sizes(self.length, 2, self.valid_size, self.test_size, self.test_length)

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
        tested = replace(self, length=self.test_length or self.length)
        return fixed_splits(self, tested)


@dataclass(frozen=True)
class CopyMemory(Task):
    """Copy memory: repeat, after a delay, the symbols seen at the start.

    Ten of eight symbols, then blanks, then a marker at the step from which on they are asked for.
    Without memory the cross-entropy is 10 ln 8 / (delay + 20). Arjovsky et al. 2016.

    Attributes:
      delay: T of the paper; a sequence has delay + 20 steps.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
      test_delay: of the test split, where another is to be tested.
    """

    delay: int = 100
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_delay: int | None = None

    name: ClassVar[str] = "copy_memory"
    inputs: ClassVar[Tokens] = Tokens(10)
    target: ClassVar[Categorical] = Categorical(9, every_step=True)
    metric: ClassVar[str] = "nll"

    def __post_init__(self) -> None:
        for name in ("delay", "test_delay"):
            delay = getattr(self, name)
            if delay is not None and delay < 1:
                raise ValueError(f"{name}: got {delay}, expected 1 or more")
        check_sizes(20, 1, self.valid_size, self.test_size)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence: 0 is blank, 1 to 8 the symbols, 9 the marker."""
        symbols = jax.random.randint(key, (10,), 1, 9)
        T = self.delay + 20
        x_T = jnp.zeros((T,), jnp.int32).at[:10].set(symbols).at[self.delay + 9].set(9)
        return Examples(x_T, jnp.zeros((T,), jnp.int32).at[-10:].set(symbols))

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return fixed_splits(self, replace(self, delay=self.test_delay or self.delay))


@dataclass(frozen=True)
class TemporalOrder(Task):
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
      test_length: as in `Adding`.
    """

    length: int = 100
    distractors: int = 4
    classes: Literal[2, 4] = 4
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "temporal_order"
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        check_sizes(self.length, 10, self.valid_size, self.test_size, self.test_length)
        if self.distractors < 1:
            raise ValueError(f"distractors: got {self.distractors}, expected 1 or more")

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
        tested = replace(self, length=self.test_length or self.length)
        return fixed_splits(self, tested)


def check_sizes(
    length: int, shortest: int, valid_size: int, test_size: int, test_length: int | None = None
) -> None:
    """Raises ValueError for sequences that are too short, or splits without any."""
    for name, value, least in (
        ("length", length, shortest),
        ("valid_size", valid_size, 1),
        ("test_size", test_size, 1),
        ("test_length", test_length, shortest),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name}: got {value}, expected {least} or more")


class Drawn(Protocol):
    """A task whose examples are drawn."""

    @property
    def split_seed(self) -> int:
        """Seed of the fixed splits."""
        ...

    @property
    def valid_size(self) -> int:
        """Examples of valid."""
        ...

    @property
    def test_size(self) -> int:
        """Examples of test."""
        ...

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence."""
        ...


def fixed_splits(task: Drawn, tested: Drawn) -> Dataset:
    """Draws validation and test examples under keys that no training step uses.

    Args:
      task: draws valid.
      tested: draws test; the same task, perhaps of another length.
    """
    # Training folds (step, row) into key(seed); this purpose tag is no step.
    root = jax.random.fold_in(jax.random.key(task.split_seed), 0x7FFFFFFF)
    splits: dict[str, Split] = {}
    for k, (split, size, drawn) in enumerate(
        (("valid", task.valid_size, task), ("test", task.test_size, tested))
    ):
        keys = jax.random.split(jax.random.fold_in(root, k), size)
        splits[split] = jax.device_get(jax.jit(jax.vmap(drawn.sample))(keys))
    return Dataset(splits)

"""Long-memory tasks, generated on the device from a seed.

Training examples are drawn anew at every step, so a model cannot overfit and there are no epochs.
Validation and test are fixed sets (`fixed_splits`). formal.py has formal languages of the same
kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks.base import Bernoulli, Categorical, Dataset, Real, Target, Task, Tokens, Vectors
from lstm_lab.tasks.examples import IGNORE_INDEX, Examples, Stored


@dataclass(frozen=True)
class Adding(Task):
    """The adding problem: the sum of the two marked numbers of a sequence.

    Each step has a number in [0,1) and a marker, 0 or 1; one number of each half is marked.
    Predicting always 1, the expected sum, gives a mean squared error of 1/6.

    Attributes:
      length: number of steps of a sequence.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length: number of steps of the test sequences; None means `length`.

    Example:
      Adding(length=50).sample(jax.random.key(0)).x.shape  # (50, 2)

    Source: Hochreiter and Schmidhuber 1997, experiment 4, in the form of Le et al. 2015.
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
        """Draws one sequence [T,2] with its sum [1]."""
        key_value, key_first, key_second = jax.random.split(key, 3)
        half = self.length // 2
        value_T = jax.random.uniform(key_value, (self.length,))
        first = jax.random.randint(key_first, (), 0, half)
        second = jax.random.randint(key_second, (), half, self.length)
        marks_T = jnp.zeros((self.length,)).at[jnp.stack([first, second])].set(1.0)
        y = jnp.expand_dims(value_T[first] + value_T[second], 0)
        return Examples(jnp.stack([value_T, marks_T], 1), y)

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)

    def known_signals(self, examples: Examples) -> dict[str, np.ndarray]:
        """Returns the sum of the marked numbers so far."""
        x_NTD = np.asarray(examples.x)
        return {"sum of marked numbers": np.cumsum(x_NTD[..., 0] * x_NTD[..., 1], 1)}


@dataclass(frozen=True)
class CopyMemory(Task):
    """Copy memory: repeat, after a delay, the symbols seen at the start.

    A sequence has ten random symbols out of eight, then blanks, then a marker, then blanks. The
    targets are blanks, and the ten symbols in the last ten steps. Without memory, the cross-entropy
    is 10 ln 8 / (delay + 20).

    Attributes:
      delay: T of the paper; a sequence has delay + 20 steps.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_delay: delay of the test sequences; None means `delay`.

    Example:
      example = CopyMemory(delay=30).sample(jax.random.key(0))
      (example.x[:10] == example.y[-10:]).all()  # True

    Source: Arjovsky, Shah and Bengio 2016, Unitary evolution recurrent neural networks.
    """

    delay: int = 100
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_delay: int | None = None

    name: ClassVar[str] = "copy_memory"
    inputs: ClassVar[Tokens] = Tokens(10)
    # The marker, input 9, is never a target.
    target: ClassVar[Categorical] = Categorical(9, every_step=True, may_ignore=False)
    # Not accuracy: most targets are blank, so a model without memory already has a high one.
    metric: ClassVar[str] = "nll"

    def __post_init__(self) -> None:
        for name in ("delay", "test_delay"):
            delay = getattr(self, name)
            if delay is not None and delay < 1:
                raise ValueError(f"{name}: got {delay}, expected 1 or more")
        check_sizes(20, 1, self.valid_size, self.test_size)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence: 0 is the blank, 1 to 8 are the symbols, 9 is the marker."""
        symbols = jax.random.randint(key, (10,), 1, 9)
        T = self.delay + 20
        # The marker is at delay + 9, one step before the first symbol is expected.
        x_T = jnp.zeros((T,), jnp.int32).at[:10].set(symbols).at[self.delay + 9].set(9)
        return Examples(x_T, jnp.zeros((T,), jnp.int32).at[-10:].set(symbols))

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, delay=self.test_delay)


@dataclass(frozen=True)
class TemporalOrder(Task):
    """Temporal order: which symbols, X or Y, are at two places among distractors.

    The first place is in the second tenth of the sequence, and the second place is in the sixth
    tenth.

    Attributes:
      length: number of steps of a sequence, 10 or more.
      distractors: number of symbols without a meaning; the vocabulary has two more.
      classes: 4 asks for XX, XY, YX or YY; 2 draws XY or YX and asks which came first, with one
        logit.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length: number of steps of the test sequences; None means `length`.

    Example:
      TemporalOrder(classes=2).target  # Bernoulli(size=1, every_step=False)

    Source: Hochreiter and Schmidhuber 1997, experiment 6a.
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
        # A tenth of the sequence must have at least one step.
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
        """Draws one sequence: 0 is X, 1 is Y, the other symbols are distractors."""
        # Five keys even if the fifth is not used: both numbers of classes then have the same
        # distractors and places.
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
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)


def check_sizes(
    length: int, shortest: int, valid_size: int, test_size: int, test_length: int | None = None
) -> None:
    """Checks the sizes of a generated task.

    Args:
      length: number of steps of a sequence.
      shortest: the smallest allowed number of steps.
      valid_size, test_size: number of examples of these splits.
      test_length: number of steps of the test sequences, or None.

    Raises:
      ValueError: if sequences are too short, or a split has no examples.
    """
    for name, value, least in (
        ("length", length, shortest),
        ("valid_size", valid_size, 1),
        ("test_size", test_size, 1),
        ("test_length", test_length, shortest),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name}: got {value}, expected {least} or more")


class Drawn(Protocol):
    """A task that generates its examples."""

    @property
    def split_seed(self) -> int:
        """Seed of the fixed splits."""
        ...

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence."""
        ...


class DrawnSplits(Drawn, Protocol):
    """A task that generates its examples, also those of validation and test."""

    # A dataclass, whose options `replace` may change.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def valid_size(self) -> int:
        """Number of validation examples."""
        ...

    @property
    def test_size(self) -> int:
        """Number of test examples."""
        ...


def fixed_splits(task: DrawnSplits, **tested: int | None) -> Dataset:
    """Draws validation and test examples.

    Args:
      task: draws the examples.
      **tested: options in which the test examples differ, such as their length; None leaves an
        option as it is in `task`.

    Returns:
      The splits as host arrays; there is no training split.

    Example:
      fixed_splits(Adding(length=50), length=100).splits["test"].x.shape  # (1000, 100, 2)
    """
    different = {option: value for option, value in tested.items() if value is not None}
    valid = fixed_split(task, 0, task.valid_size)
    test = fixed_split(replace(task, **different), 1, task.test_size)
    return Dataset({"valid": valid, "test": test})


def fixed_split(task: Drawn, number: int, size: int) -> Examples:
    """Draws the examples of a fixed split, as host arrays.

    Args:
      task: draws the examples.
      number: of the split, as in `split_keys`.
      size: number of examples.
    """
    drawn: Examples = jax.device_get(_draw(task, split_keys(task.split_seed, number, size)))
    return drawn


def split_keys(split_seed: int, split: int, size: int) -> jax.Array:
    """Returns a key for each example of a fixed split; no training step uses them.

    Args:
      split_seed: seed of the fixed splits.
      split: number of the split: 0 for validation, 1 for the test.
      size: number of examples.
    """
    # Training folds (step, row) into key(seed). If `split_seed` equals a run's data seed, only this
    # number, which no step reaches, keeps test examples out of training.
    root = jax.random.fold_in(jax.random.key(split_seed), 0x7FFFFFFF)
    return jax.random.split(jax.random.fold_in(root, split), size)


# The task is static: equal tasks share a compiled program, also over the runs of a study.
@partial(jax.jit, static_argnums=0)
def _draw(task: Drawn, keys: jax.Array) -> Examples:
    return jax.vmap(task.sample)(keys)


def accuracy_by_step(outputs: np.ndarray, test: Stored) -> dict[int, float]:
    """Returns the accuracy of classes at each step that has targets, by its number from 1.

    Args:
      outputs: logits of the test split [N,T,C].
      test: the test split.
    """
    y_NT = test.take(np.arange(test.rows)).y
    # IGNORE_INDEX is negative, so it equals no class.
    right_T = (outputs.argmax(-1) == y_NT).sum(0)
    asked_T = (y_NT != IGNORE_INDEX).sum(0)
    return {int(t) + 1: float(right_T[t] / asked_T[t]) for t in np.flatnonzero(asked_T)}

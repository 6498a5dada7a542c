"""Counting and formal languages, which need a state machine or a stack.

Parity and Dyck are generated on the device, like the tasks of synthetic.py. With `test_length`, the
test shows whether a model learned the rule or only the trained lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.tasks.base import Bernoulli, Categorical, Dataset, Real, Task, Tokens, Vectors
from lstm_lab.tasks.datasets.synthetic import check_sizes, fixed_splits
from lstm_lab.tasks.examples import Examples


@dataclass(frozen=True)
class Counting(Task):
    """The number that follows five numbers in steps of 0.1: a first example with four sequences.

    Training has 0.1 to 0.5, followed by 0.6, and so on to 0.4 to 0.8, followed by 0.9. The test is
    0.5 to 0.9, followed by 1.0.

    Example:
      test = Counting().load(Path("data")).splits["test"]
      test.x.shape, test.y.shape  # (1, 5, 1), (1, 1)
    """

    name: ClassVar[str] = "counting"
    inputs: ClassVar[Vectors] = Vectors(1)
    target: ClassVar[Real] = Real(1)
    metric: ClassVar[str] = "mse"

    def load(self, data_dir: Path) -> Dataset:
        """Makes the sequences; `data_dir` is not used."""
        numbers = np.arange(1, 11, dtype=np.float32) / 10.0
        # Windows are views of one array, so they are copied into arrays of their own.
        windows_NT = np.lib.stride_tricks.sliding_window_view(numbers, 6)
        x_NTD, y_N1 = windows_NT[:, :5, None].copy(), windows_NT[:, 5:].copy()
        train = Examples(x_NTD[:4], y_N1[:4])
        # No sequence is left for validation. Training data take its place, so early stopping cannot
        # notice overfitting here.
        return Dataset({"train": train, "valid": train, "test": Examples(x_NTD[4:], y_N1[4:])})


@dataclass(frozen=True)
class Parity(Task):
    """Whether the number of ones so far is odd, at every step: a state machine of two states.

    Attributes:
      length: number of steps of a sequence.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length: number of steps of the test sequences; None means `length`.

    Example:
      x, y, *_ = Parity(length=8).sample(jax.random.key(0))
      (y[:, 0] == jnp.cumsum(x) % 2).all()  # True
    """

    length: int = 50
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "parity"
    inputs: ClassVar[Tokens] = Tokens(2)
    target: ClassVar[Bernoulli] = Bernoulli(1, every_step=True)
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        check_sizes(self.length, 1, self.valid_size, self.test_size, self.test_length)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T,1]."""
        x_T = jax.random.bernoulli(key, 0.5, (self.length,)).astype(jnp.int32)
        return Examples(x_T, (jnp.cumsum(x_T) % 2)[:, None])

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)


@dataclass(frozen=True)
class Dyck(Task):
    """Which bracket is closed: a Dyck language of nested brackets, which needs a stack.

    Inputs are opening brackets of several kinds and one closing symbol. The target at a closing
    symbol is the kind of the bracket that it closes; elsewhere it is 0. A model that guesses the
    kinds has an accuracy of about (1 + 1 / kinds) / 2, since half of the symbols open a bracket.

    Attributes:
      length: number of steps of a sequence; it may end with open brackets.
      kinds: number of kinds of brackets.
      depth: largest number of brackets that are open at the same time.
      valid_size, test_size, split_seed, test_length: as in `Parity`.

    Example:
      Dyck(kinds=4).inputs, Dyck(kinds=4).target.size  # Tokens(vocabulary=5), 5
    """

    length: int = 50
    kinds: int = 4
    depth: int = 8
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "dyck"
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        check_sizes(self.length, 2, self.valid_size, self.test_size, self.test_length)
        for name in ("kinds", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected 1 or more")

    @property
    def inputs(self) -> Tokens:
        """0 closes a bracket; 1 to `kinds` open one."""
        return Tokens(self.kinds + 1)

    @property
    def target(self) -> Categorical:
        """The kind of the bracket that is closed, or 0."""
        return Categorical(self.kinds + 1, every_step=True, may_ignore=False)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T]: a fair coin decides whether a step opens."""
        key_coin, key_kind = jax.random.split(key)
        opens_T = jax.random.bernoulli(key_coin, 0.5, (self.length,))
        # A kind for every step, used or not: the shapes inside a compiled program are fixed.
        kinds_T = jax.random.randint(key_kind, (self.length,), 1, self.kinds + 1)

        def one(carry: tuple[jax.Array, jax.Array], drawn: tuple[jax.Array, jax.Array]) -> Any:
            stack, open_ = carry
            wants, kind = drawn
            # An empty stack can only open, and a full one can only close.
            opening = (wants | (open_ == 0)) & (open_ < self.depth)
            closed = stack[jnp.maximum(open_ - 1, 0)]
            # A closing step writes to the index `depth`, which does not exist and is dropped.
            stack = stack.at[jnp.where(opening, open_, self.depth)].set(kind, mode="drop")
            open_ = jnp.where(opening, open_ + 1, open_ - 1)
            return (stack, open_), (jnp.where(opening, kind, 0), jnp.where(opening, 0, closed))

        empty = jnp.zeros(self.depth, kinds_T.dtype), jnp.int32(0)
        _, (x_T, y_T) = lax.scan(one, empty, (opens_T, kinds_T))
        return Examples(x_T, y_T)

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)

    def known_signals(self, examples: Examples) -> dict[str, np.ndarray]:
        """Returns the number of open brackets."""
        return {"depth": np.cumsum(np.where(np.asarray(examples.x) > 0, 1, -1), 1)}

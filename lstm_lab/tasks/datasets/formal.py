"""Counting and formal languages: what asks for a state machine or a stack, of any length."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.tasks.base import (
    Bernoulli,
    Categorical,
    Dataset,
    Examples,
    Real,
    Task,
    Tokens,
    Vectors,
)
from lstm_lab.tasks.datasets.synthetic import check_sizes, fixed_splits


@dataclass(frozen=True)
class Counting(Task):
    """The next of five numbers a tenth apart: the first tutorial's four sequences.

    0.1 to 0.5 give 0.6, and so on up to 0.4 to 0.8; the test is 0.5 to 0.9, which give 1.0. There
    is nothing else to validate on.
    """

    name: ClassVar[str] = "counting"
    inputs: ClassVar[Vectors] = Vectors(1)
    target: ClassVar[Real] = Real(1)
    metric: ClassVar[str] = "mse"

    def load(self, data_dir: Path) -> Dataset:
        """Makes the sequences."""
        numbers = np.arange(1, 11, dtype=np.float32) / 10.0
        windows_NT = np.lib.stride_tricks.sliding_window_view(numbers, 6)
        x_NTD, y_N1 = windows_NT[:, :5, None].copy(), windows_NT[:, 5:].copy()
        train = Examples(x_NTD[:4], y_N1[:4])
        return Dataset({"train": train, "valid": train, "test": Examples(x_NTD[4:], y_N1[4:])})


@dataclass(frozen=True)
class Parity(Task):
    """Whether the ones so far are odd in number, at every step: a state machine of two states.

    Attributes:
      length: steps of a sequence.
      valid_size, test_size: fixed examples of these splits.
      split_seed: seed of the fixed splits, the same for every run.
      test_length: steps of the test split's sequences, where others are to be tested.
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
        """Draws one sequence."""
        x_T = jax.random.bernoulli(key, 0.5, (self.length,)).astype(jnp.int32)
        return Examples(x_T, (jnp.cumsum(x_T) % 2)[:, None])

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return fixed_splits(self, replace(self, length=self.test_length or self.length))


@dataclass(frozen=True)
class Dyck(Task):
    """Which bracket is closed: a language of nested brackets, which asks for a stack.

    Inputs are opening brackets of several kinds and one closing sign; at each closing sign the kind
    that it closes is asked for, elsewhere 0. Whoever knows no kind has an accuracy of
    (1 + 1 / kinds) / 2.

    Attributes:
      length: steps of a sequence; it may end with brackets open.
      kinds: of brackets.
      depth: most brackets open at a time.
      valid_size, test_size, split_seed, test_length: as in `Parity`.
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
        """0 closes, 1 to `kinds` open."""
        return Tokens(self.kinds + 1)

    @property
    def target(self) -> Categorical:
        """The kind that is closed, or 0."""
        return Categorical(self.kinds + 1, every_step=True)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence: open or close by a fair coin, where both can be."""
        key_coin, key_kind = jax.random.split(key)
        opens_T = jax.random.bernoulli(key_coin, 0.5, (self.length,))
        kinds_T = jax.random.randint(key_kind, (self.length,), 1, self.kinds + 1)

        def one(carry: tuple[jax.Array, jax.Array], drawn: tuple[jax.Array, jax.Array]) -> Any:
            stack, open_ = carry
            wants, kind = drawn
            opening = (wants | (open_ == 0)) & (open_ < self.depth)
            closed = stack[jnp.maximum(open_ - 1, 0)]
            stack = stack.at[jnp.where(opening, open_, self.depth)].set(kind, mode="drop")
            open_ = jnp.where(opening, open_ + 1, open_ - 1)
            return (stack, open_), (jnp.where(opening, kind, 0), jnp.where(opening, 0, closed))

        empty = jnp.zeros(self.depth, kinds_T.dtype), jnp.int32(0)
        _, (x_T, y_T) = lax.scan(one, empty, (opens_T, kinds_T))
        return Examples(x_T, y_T)

    def load(self, data_dir: Path) -> Dataset:
        """Draws the fixed splits."""
        return fixed_splits(self, replace(self, length=self.test_length or self.length))

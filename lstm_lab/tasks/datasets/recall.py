"""Recall on demand: pairs that are asked for later, and symbols that lie scattered in noise.

Both are generated on the device, like the tasks of synthetic.py. Most steps have no target (class
-1), so loss and accuracy count only the steps at which something is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Task, Tokens
from lstm_lab.tasks.datasets.synthetic import accuracy_by_step, check_sizes, fixed_splits
from lstm_lab.tasks.examples import IGNORE_INDEX, Examples, Stored
from lstm_lab.utils.curve import Curve


@dataclass(frozen=True)
class MultiQueryRecall(Task):
    """Multi-query associative recall (MQAR): the value of every key that is asked for.

    A sequence begins with pairs of a key and its value. Each key is then asked for once, and the
    target at this step is its value. Between the queries are random symbols. The distance of a
    query from the last pair, in slots of two steps, follows a power law: slot i = 1, 2, ... has
    weight i^(power - 1), and no two queries have the same slot. A random value is right with
    probability 2 / vocabulary, a random value of the sequence with 1 / pairs.

    Attributes:
      length: number of steps of a sequence, even, at least 4 `pairs`.
      pairs: number of pairs.
      vocabulary: number of symbols, even. Keys are 1 to V/2 - 1, values are V/2 to V - 1; those of
        a sequence differ. 0 is the blank.
      power: slot i has the weight i^(power - 1); 1 gives all slots the same.
      filler: `random` symbols of the whole vocabulary between the queries, or `blank`.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length, test_pairs: of the test sequences; None means `length` and `pairs`.

    Example:
      example = MultiQueryRecall(pairs=2).sample(jax.random.key(0))
      (example.y >= 0).sum()  # 2: one target for each key

    Source: Arora et al. 2023, Zoology: Measuring and improving recall in efficient language models;
    as in their code, HazyResearch/zoology, `multiquery_ar.py`, with a vocabulary of 8192.
    """

    length: int = 64
    pairs: int = 4
    vocabulary: int = 64
    power: float = 0.01
    filler: Literal["random", "blank"] = "random"
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None
    test_pairs: int | None = None

    name: ClassVar[str] = "mqar"
    # No curve of the test split: it needs all logits at once, 2 GB with the paper's vocabulary.
    metric: ClassVar[str] = "accuracy"

    def __post_init__(self) -> None:
        check_sizes(self.length, 4, self.valid_size, self.test_size, self.test_length)
        for name in ("length", "test_length", "vocabulary"):
            number = getattr(self, name)
            if number is not None and number % 2:
                raise ValueError(f"{name}: got {number}, expected an even number")
        if self.vocabulary < 4:
            raise ValueError(f"vocabulary: got {self.vocabulary}, expected 4 or more")
        test_pairs = self.pairs if self.test_pairs is None else self.test_pairs
        for length, pairs, name in (
            (self.length, self.pairs, "pairs"),
            (self.test_length or self.length, test_pairs, "test_pairs"),
        ):
            # A pair takes two steps, and so does the slot of its query.
            most = min(length // 4, self.vocabulary // 2 - 1)
            if not 1 <= pairs <= most:
                raise ValueError(
                    f"{name}: got {pairs}, expected 1 to {most} with a length of {length} and "
                    f"{self.vocabulary} symbols"
                )

    @property
    def inputs(self) -> Tokens:
        """The blank, keys and values."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """A value, or -1 where nothing is asked."""
        return Categorical(self.vocabulary, every_step=True)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T]."""
        key_keys, key_values, key_slots, key_filler = jax.random.split(key, 4)
        half, P = self.vocabulary // 2, self.pairs
        keys_P = 1 + _distinct(key_keys, jnp.ones(half - 1), P)
        values_P = half + _distinct(key_values, jnp.ones(half), P)
        slots = (self.length - 2 * P) // 2
        slots_P = _distinct(key_slots, jnp.arange(1.0, slots + 1.0) ** (self.power - 1.0), P)
        x_T = jnp.zeros((self.length,), jnp.int32)
        if self.filler == "random":
            x_T = jax.random.randint(key_filler, (self.length,), 0, self.vocabulary)
        asked_P = 2 * P + 2 * slots_P
        x_T = x_T.at[: 2 * P].set(jnp.stack([keys_P, values_P], 1).ravel()).at[asked_P].set(keys_P)
        return Examples(x_T, jnp.full((self.length,), IGNORE_INDEX).at[asked_P].set(values_P))

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length, pairs=self.test_pairs)


@dataclass(frozen=True)
class SelectiveCopy(Task):
    """Selective copying: repeat, in order, the symbols that lie at random places among blanks.

    The last steps of a sequence are markers, one for each symbol, and only they have targets. The
    places differ between sequences, so a model has to see from the input what to keep; in
    `CopyMemory` it can count steps. Guessing has an accuracy of 1 / (vocabulary - 2).

    Attributes:
      length: number of steps of a sequence with its markers, at least twice `symbols`.
      symbols: number of symbols to copy.
      vocabulary: 0 is the blank, the largest is the marker, all others are symbols; 3 or more.
      valid_size, test_size: number of examples of these fixed splits.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length: number of steps of the test sequences; None means `length`.

    Example:
      example = SelectiveCopy(symbols=4).sample(jax.random.key(0))
      copied = example.x[(example.x > 0) & (example.x < 15)]
      (copied == example.y[-4:]).all()  # True

    Source: Gu and Dao 2023, Mamba, with 16 symbols, length 4096 and vocabulary 16 (second-hand);
    places and markers as in the code of S4, state-spaces/s4, `copying.py`.
    """

    length: int = 64
    symbols: int = 8
    vocabulary: int = 16
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "selective_copy"
    metric: ClassVar[str] = "accuracy"
    curve_names: ClassVar[tuple[str, ...]] = ("accuracy_by_symbol",)

    def __post_init__(self) -> None:
        for name, least in (("symbols", 1), ("vocabulary", 3)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected {least} or more")
        sizes = self.valid_size, self.test_size, self.test_length
        check_sizes(self.length, 2 * self.symbols, *sizes)

    @property
    def inputs(self) -> Tokens:
        """The blank, the symbols and the marker."""
        return Tokens(self.vocabulary)

    @property
    def target(self) -> Categorical:
        """A symbol, or -1 where nothing is asked; the marker is never a target."""
        return Categorical(self.vocabulary - 1, every_step=True)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T]."""
        key_symbols, key_places = jax.random.split(key)
        T, S, marker = self.length, self.symbols, self.vocabulary - 1
        symbols_S = jax.random.randint(key_symbols, (S,), 1, marker)
        places_S = jnp.sort(_distinct(key_places, jnp.ones(T - S), S))
        x_T = jnp.zeros((T,), jnp.int32).at[places_S].set(symbols_S).at[T - S :].set(marker)
        return Examples(x_T, jnp.full((T,), IGNORE_INDEX).at[T - S :].set(symbols_S))

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)

    def final_curves(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, Curve]:
        """Returns the accuracy of each symbol, in the order of copying.

        Args:
          outputs: logits of the test split [N,T,C].
          test: the test split.
          preprocessing: not used.
        """
        del preprocessing
        y = tuple(accuracy_by_step(outputs, test).values())
        x = tuple(range(1, len(y) + 1))
        return {"accuracy_by_symbol": Curve("symbol", "accuracy", x, y)}


def _distinct(key: jax.Array, weights_N: jax.Array, size: int) -> jax.Array:
    """Draws numbers below N without replacement, in proportion to the remaining weights."""
    # With `p`, JAX takes the largest of N Gumbel numbers. Without, it sorts twice: for 64 of 4096
    # numbers on CPU, that takes 18 times as long.
    p_N = weights_N / weights_N.sum()
    return jax.random.choice(key, p_N.shape[0], (size,), replace=False, p=p_N)

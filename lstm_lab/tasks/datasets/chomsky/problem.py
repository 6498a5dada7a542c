"""What a problem of the Chomsky hierarchy is: a sampler, its symbols, and how long its answer is.

A sampler runs inside a compiled program, where the length of a sequence is a traced number. All
arrays have the size of the longest sequence; what lies past the end has no meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

Level = Literal["regular", "deterministic context-free", "context-sensitive"]
# A number of symbols: an int for the size of an array, a traced number in a sampler.
Length = int | jax.Array


class Sampler(Protocol):
    """Draws one question with its answer."""

    def __call__(self, key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
        """Draws a question of n symbols.

        Args:
          key: the key.
          n: number of symbols of the question, from 1 to `most`, int32.
          most: the largest n.

        Returns:
          Symbols of the question [most], and of the answer [answer_length(most)], int32. Those past
          the end have no meaning. A symbol of the answer may be IGNORE_INDEX.
        """
        ...


def one(n: Length) -> int:
    """The length of an answer of one symbol."""
    del n
    return 1


def same(n: Length) -> Length:
    """A length that stays as it is."""
    return n


@dataclass(frozen=True)
class Problem:
    """A problem: a question in symbols, and its answer in symbols.

    Attributes:
      name: its name.
      level: the class of languages that it needs at least.
      symbols: number of symbols of questions.
      answers: number of symbols of answers.
      sample: draws a question and its answer.
      answer_length: number of symbols of an answer, from that of the question; never decreasing.
      question_length: number of symbols of a question if n are asked for; n for most problems.

    Example:
      Problem("parity_check", "regular", 2, 2, parity_check)
    """

    name: str
    level: Level
    symbols: int
    answers: int
    sample: Sampler
    answer_length: Callable[[Length], Length] = one
    question_length: Callable[[Length], Length] = same


def draw_symbols(key: jax.Array, most: int, count: int) -> jax.Array:
    """Draws symbols 0 to count - 1, all equally likely [most], int32."""
    return jax.random.randint(key, (most,), 0, count)


def keep(x: jax.Array, n: Length, rest: int = 0) -> jax.Array:
    """Returns the first n symbols of an array [most], and `rest` after them."""
    return jnp.where(jnp.arange(x.shape[0]) < n, x, rest)

"""Integers of hundreds of bits in a compiled program: arrays of bits, and school arithmetic.

Bits are int32, 0 or 1. The lowest one is first, except in `integer_root`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.tasks.datasets.chomsky.problem import Length, keep


def draw_nonzero(key: jax.Array, size: Length, most: int) -> jax.Array:
    """Draws a number from 1 to 2^size - 1, all equally likely.

    Args:
      key: the key.
      size: number of bits, from 1 to `most`.
      most: size of the array.

    Returns:
      Bits [most], zero from `size` on.

    Example:
      draw_nonzero(jax.random.key(0), 1, 4)  # [1, 0, 0, 0]
    """

    def draw(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        key, _ = state
        key, key_bits = jax.random.split(key)
        return key, keep(jax.random.randint(key_bits, (most,), 0, 2), size)

    # Drawn again while it is zero: any correction would change the probabilities.
    _, bits = lax.while_loop(
        lambda state: (state[1] == 0).all(), draw, (key, jnp.zeros(most, jnp.int32))
    )
    return bits


def bit_length(bits: jax.Array) -> jax.Array:
    """Returns the number of bits without zeros at the end, and 1 for the number 0."""
    places = jnp.arange(bits.shape[0])
    return jnp.maximum(jnp.where(bits > 0, places + 1, 0).max(), 1)


def add(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the sum of two numbers [most]; the array must have room for it."""
    return carry_over(a + b)


def multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the product of two numbers [most]; the array must have room for it."""

    def add_shifted(state: tuple[jax.Array, jax.Array], bit: jax.Array) -> Any:
        total, shifted = state
        # The highest bit leaves the array; it is zero if the product has room.
        return (total + bit * shifted, jnp.roll(shifted, 1).at[0].set(0)), None

    (total, _), _ = lax.scan(add_shifted, (jnp.zeros_like(a), b), a)
    return carry_over(total)


def carry_over(counts: jax.Array) -> jax.Array:
    """Returns the bits of a number that is given by its count of each power of two."""

    def one_place(carry: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = carry + count
        return total // 2, total % 2

    _, bits = lax.scan(one_place, jnp.zeros_like(counts[0]), counts)
    return bits


def integer_root(bits: jax.Array) -> jax.Array:
    """Returns the largest integer whose square is at most a number, digit by digit.

    Args:
      bits: the number [2 R], the highest bit first.

    Returns:
      The root [R], the highest bit first.

    Example:
      integer_root(jnp.array([1, 0, 0, 1, 0, 1]))  # 37: [1, 1, 0], which is 6
    """
    R = bits.shape[0] // 2
    # The remainder is at most twice the root, so that four times of it needs R + 3 bits.
    width = R + 3

    def one_digit(state: tuple[jax.Array, jax.Array], pair: jax.Array) -> Any:
        root, rest = state
        rest = jnp.concatenate([pair[::-1], rest[:-2]])  # 4 rest + two more bits
        trial = jnp.concatenate([jnp.array([1, 0]), root[:-2]])  # 4 root + 1
        difference, is_negative = _subtract(rest, trial)
        digit = 1 - is_negative.astype(jnp.int32)
        rest = jnp.where(is_negative, rest, difference)
        root = jnp.concatenate([jnp.expand_dims(digit, 0), root[:-1]])  # 2 root + digit
        return (root, rest), digit

    zero = jnp.zeros(width, jnp.int32)
    _, digits = lax.scan(one_digit, (zero, zero), bits.reshape(R, 2))
    return digits


def _subtract(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns a - b modulo 2 to the number of bits, and whether it is negative."""

    # A place borrows if b is larger there, or equal and the place before it borrows. Pairs of these
    # two facts can be joined in any order, so that the depth is the logarithm of the width.
    def join(
        low: tuple[jax.Array, jax.Array], high: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        return high[0] | (high[1] & low[0]), high[1] & low[1]

    borrows, _ = lax.associative_scan(join, (b > a, b == a))
    before = jnp.concatenate([jnp.array([False]), borrows[:-1]])
    return (a - b - before.astype(jnp.int32)) % 2, borrows[-1]

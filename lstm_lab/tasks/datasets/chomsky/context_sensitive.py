"""The context-sensitive problems: they need a tape, or counters.

In: a key and the length of the question. Out: question and answer, as `problem.Sampler` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import jax
import jax.numpy as jnp

from lstm_lab.tasks.datasets.chomsky import bits
from lstm_lab.tasks.datasets.chomsky.context_free import end_answer
from lstm_lab.tasks.datasets.chomsky.problem import Length, Problem, draw_symbols, keep, same

LEVEL: Final = "context-sensitive"
# Of two numbers, between them; of a string that is given twice, the missing symbol and the filling
# of an odd length.
OPERATOR = 2
MISSING, FILLING = 2, 3
BUCKETS = 5


def duplicate_string(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits; the answer has them twice."""
    x = draw_symbols(key, most, 2)
    return x, x[jnp.arange(2 * most) % n]


def missing_duplicate(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits and has them twice, with one of all places replaced; the answer is that bit.

    An odd length gets a filling symbol at its end. A question of one symbol is 1 with the answer 1.
    """
    key_bits, key_place = jax.random.split(key)
    half = jnp.maximum(n // 2, 1)
    string = draw_symbols(key_bits, most, 2)[jnp.arange(most) % half]
    place = jax.random.randint(key_place, (), 0, 2 * half)
    places = jnp.arange(most)
    x = jnp.select([places == place, places < 2 * half], [MISSING, string], FILLING)
    y = string[place % half]
    return jnp.where(n == 1, 1, x), jnp.expand_dims(jnp.where(n == 1, 1, y), 0)


def odds_first(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits; the answer has those at odd places first, counted from 0, as the authors' code.

    Their text counts from 1, which puts the others first.
    """
    x = draw_symbols(key, most, 2)
    places, odd = jnp.arange(most), n // 2
    return x, x[jnp.where(places < odd, 2 * places + 1, 2 * (places - odd))]


def binary_addition(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws two numbers, the lowest bit first; the answer is their sum and an end.

    A question of n = 1 or 2 symbols is one number from 0 to 2^n - 2; the answer is this number.
    """
    x, a, b = _two_numbers(key, n, most)
    total = bits.add(a, b)
    return x, end_answer(jnp.append(total, 0), bits.bit_length(total))


def binary_multiplication(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws two numbers, the lowest bit first; the answer is their product and an end.

    A question of n = 1 or 2 symbols is one number from 0 to 2^n - 2; the answer is n - 1 zeros, as
    in the authors' code.
    """
    x, a, b = _two_numbers(key, n, most)
    product = bits.multiply(a, b)
    size = jnp.where(n < 3, n - 1, bits.bit_length(product))
    return x, end_answer(jnp.where(n < 3, 0, product), size)


def _two_numbers(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws two numbers of n - 1 bits together; returns the question and both numbers [most]."""
    key_size, key_a, key_b, key_short = jax.random.split(key, 4)
    first = jax.random.randint(key_size, (), 1, jnp.maximum(n - 1, 2))
    a = bits.draw_nonzero(key_a, first, most)
    b = bits.draw_nonzero(key_b, jnp.maximum(n - 1 - first, 1), most)
    places = jnp.arange(most)
    x = jnp.select([places < first, places == first], [a, OPERATOR], b[places - first - 1])
    # Fewer symbols than two numbers need: one number, to which 0 is added.
    short = jax.random.randint(key_short, (), 0, 2 ** jnp.minimum(n, 2) - 1)
    lone = jnp.where(places < 2, short >> jnp.minimum(places, 1) & 1, 0)
    is_short = n < 3
    return jnp.where(is_short, lone, x), jnp.where(is_short, lone, a), jnp.where(is_short, 0, b)


def compute_sqrt(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws a number from 1 to 2^n - 1, the highest bit first; the answer is its root.

    The root is rounded down.
    """
    x = bits.draw_nonzero(key, n, most)
    size = most + most % 2
    # Zeros before the highest bit change no root.
    places = jnp.arange(size) - (size - n)
    root = bits.integer_root(jnp.where(places >= 0, x[places], 0))
    R = root.shape[0]
    return x, root[jnp.minimum(R - half_up(n) + jnp.arange(R), R - 1)]


def half_up(n: Length) -> Length:
    """Returns half of n, rounded up."""
    return (n + 1) // 2


def bucket_sort(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws symbols 0 to 4; the answer has them in rising order."""
    x = draw_symbols(key, most, BUCKETS)
    return x, jnp.sort(keep(x, n, BUCKETS))


def _times(factor: int) -> Callable[[Length], Length]:
    return lambda n: factor * n


CONTEXT_SENSITIVE = (
    Problem("duplicate_string", LEVEL, 2, 2, duplicate_string, _times(2)),
    Problem("missing_duplicate", LEVEL, 4, 2, missing_duplicate),
    Problem("odds_first", LEVEL, 2, 2, odds_first, same),
    Problem("binary_addition", LEVEL, 3, 3, binary_addition, lambda n: n + 1),
    Problem("binary_multiplication", LEVEL, 3, 3, binary_multiplication, same),
    Problem("compute_sqrt", LEVEL, 2, 2, compute_sqrt, half_up),
    Problem("bucket_sort", LEVEL, BUCKETS, BUCKETS, bucket_sort, same),
)

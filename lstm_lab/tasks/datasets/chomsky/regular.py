"""The regular problems: a machine with finitely many states solves them.

In: a key and the length of the question. Out: question and answer, as `problem.Sampler` says.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.tasks.datasets.chomsky.expressions import MINUS, MODULUS, PLUS, TIMES
from lstm_lab.tasks.datasets.chomsky.problem import Length, Problem, draw_symbols, keep


def even_pairs(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits; the answer is 1 if the number of 01 and 10 among neighbors is odd."""
    x = draw_symbols(key, most, 2)
    changes = keep(x[1:] != x[:-1], n - 1)
    return x, changes.sum(keepdims=True) % 2


def parity_check(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits; the answer is 1 if the number of ones is odd."""
    x = draw_symbols(key, most, 2)
    return x, keep(x, n).sum(keepdims=True) % 2


def cycle_navigation(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws steps on a circle of 5 places: 0 is back, 1 stays, 2 is forward.

    The answer is the last place.
    """
    x = draw_symbols(key, most, 3)
    return x, keep(x - 1, n).sum(keepdims=True) % MODULUS


def modular_arithmetic(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws digits 0 to 4 with +, - and * between them; the answer is the value modulo 5.

    Products come before sums. The length is odd: an even n is reduced by one (`odd`).
    """
    key_digit, key_operator = jax.random.split(key)
    digits = draw_symbols(key_digit, most, MODULUS)
    operators = jnp.array([PLUS, MINUS, TIMES])[draw_symbols(key_operator, most, 3)]
    x = jnp.where(jnp.arange(most) % 2 == 0, digits, operators)

    def term(carry: tuple[jax.Array, jax.Array], pair: tuple[jax.Array, jax.Array]) -> Any:
        """Reads an operator and the digit after it."""
        total, product = carry
        operator, digit = pair
        signed = jnp.where(operator == MINUS, -digit, digit)
        times = operator == TIMES
        # A product takes the next factor; a sum adds the product and begins another one.
        total = jnp.where(times, total, total + product) % MODULUS
        return (total, jnp.where(times, product * digit, signed) % MODULUS), None

    pairs = most // 2 if most % 2 else most // 2 - 1
    # Past the end, "+ 0" changes nothing.
    inside = jnp.arange(1, 2 * pairs, 2) < odd(n)
    operators = jnp.where(inside, x[1 : 2 * pairs : 2], PLUS)
    digits = jnp.where(inside, x[2 : 2 * pairs + 1 : 2], 0)
    (total, product), _ = lax.scan(term, (jnp.zeros_like(x[0]), x[0]), (operators, digits))
    return x, jnp.expand_dims((total + product) % MODULUS, 0)


def odd(n: Length) -> Length:
    """Returns n, or n - 1 if n is even: an expression of digits with operators between them."""
    return n - (n + 1) % 2


REGULAR = (
    Problem("even_pairs", "regular", 2, 2, even_pairs),
    Problem("modular_arithmetic", "regular", 8, 5, modular_arithmetic, question_length=odd),
    Problem("parity_check", "regular", 2, 2, parity_check),
    Problem("cycle_navigation", "regular", 3, 5, cycle_navigation),
)

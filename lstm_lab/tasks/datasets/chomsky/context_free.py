"""The deterministic context-free problems: a stack solves them.

In: a key and the length of the question. Out: question and answer, as `problem.Sampler` says.
"""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.tasks.datasets.chomsky.expressions import (
    EQUALS,
    MINUS,
    MODULUS,
    PLUS,
    UNKNOWN,
    draw_expression,
    evaluate,
)
from lstm_lab.tasks.datasets.chomsky.problem import Length, Problem, draw_symbols, same
from lstm_lab.tasks.examples import IGNORE_INDEX

LEVEL: Final = "deterministic context-free"
# Symbols of a stack: bits, then the actions; of its answer: bits, then the end.
POP, PUSH = 2, 3
END = 2


def stack_manipulation(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits, which are a stack with its top at the end, and then actions on the stack.

    2 takes a bit off the stack, if there is one; 3 and 4 put 0 and 1 on it. The answer is the stack
    from the top on, and an end. What follows the end does not count.
    """
    key_size, key_bits, key_actions = jax.random.split(key, 3)
    # One bit at least, and one action if there are two symbols or more.
    filled = jax.random.randint(key_size, (), 1, jnp.maximum(n, 2))
    bits, actions = draw_symbols(key_bits, most, 2), draw_symbols(key_actions, most, 3) + POP
    x = jnp.where(jnp.arange(most) < filled, bits, actions)

    def act(carry: tuple[jax.Array, jax.Array], place: tuple[jax.Array, jax.Array]) -> Any:
        stack, size = carry
        symbol, t = place
        pops, acts = symbol == POP, t < n
        pushed = jnp.where(symbol >= PUSH, symbol - PUSH, symbol)
        # A place that does not exist is dropped.
        stack = stack.at[jnp.where(pops | ~acts, most, size)].set(pushed, mode="drop")
        size = jnp.where(acts, jnp.where(pops, jnp.maximum(size - 1, 0), size + 1), size)
        return (stack, size), None

    empty = jnp.zeros(most, x.dtype), jnp.int32(0)
    (stack, size), _ = lax.scan(act, empty, (x, jnp.arange(most)))
    return x, end_answer(stack[size - 1 - jnp.arange(most + 1)], size)


def end_answer(y: jax.Array, size: Length) -> jax.Array:
    """Returns an answer with an end after `size` symbols; what follows the end does not count."""
    places = jnp.arange(y.shape[0])
    return jnp.select([places < size, places == size], [y, END], IGNORE_INDEX)


def reverse_string(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws bits; the answer has them in reverse order."""
    x = draw_symbols(key, most, 2)
    return x, x[n - 1 - jnp.arange(most)]


def modular_arithmetic_brackets(
    key: jax.Array, n: jax.Array, most: int
) -> tuple[jax.Array, jax.Array]:
    """Draws an expression with brackets, +, - and *; the answer is its value modulo 5."""
    x = draw_expression(key, n, most)
    return x, jnp.expand_dims(evaluate(x, n), 0)


def solve_equation(key: jax.Array, n: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Draws an equation modulo 5, such as (x-3)=4; the answer is x.

    The unknown replaces the first digit at or after a place that is drawn uniformly. A question of
    fewer than 3 symbols is 0 with the answer 0.
    """
    key_expression, key_place = jax.random.split(key)
    size = jnp.maximum(n - 2, 1)
    x = draw_expression(key_expression, size, most, (PLUS, MINUS))
    value = evaluate(x, size)
    places = jnp.arange(most)
    start = jax.random.randint(key_place, (), 0, size)
    # Past the last symbol, the search continues at the first.
    distance = jnp.where((places < size) & (x < MODULUS), (places - start) % size, most)
    place = distance.argmin()
    equation = jnp.select(
        [places == place, places < size, places == size], [UNKNOWN, x, EQUALS], value
    )
    too_short = n < 3
    y = jnp.where(too_short, 0, x[place])
    return jnp.where(too_short, 0, equation), jnp.expand_dims(y, 0)


def _one_more(n: Length) -> Length:
    return n + 1


CONTEXT_FREE = (
    Problem("stack_manipulation", LEVEL, 5, 3, stack_manipulation, _one_more),
    Problem("reverse_string", LEVEL, 2, 2, reverse_string, same),
    Problem("modular_arithmetic_brackets", LEVEL, 10, 5, modular_arithmetic_brackets),
    Problem("solve_equation", LEVEL, 12, 5, solve_equation),
)

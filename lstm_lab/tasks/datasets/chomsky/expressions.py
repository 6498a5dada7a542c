"""Expressions with brackets modulo 5: drawn from their grammar, and evaluated.

An expression of n symbols is, for d a digit from 0 to 4:

    E(1) = d,  E(2) = -d,  E(3) = (d),  E(4) = (-d),  E(n) = (E(k) o E(n - k - 3)) for n >= 5

with k from 1 to n - 4 and the operator o, both uniform. This is the grammar of Deletang et al., who
draw it by recursion on the host. Here a stack of what is still to be written replaces the
recursion, one symbol per step of a scan.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from lstm_lab.tasks.datasets.chomsky.problem import Length, draw_symbols

MODULUS = 5
# Digits are themselves; then the other symbols.
PLUS, MINUS, TIMES, OPEN, CLOSE, UNKNOWN, EQUALS = range(5, 12)

# On the stack of the grammar, an expression is its length, a symbol is negative, and this is an
# operator that is still to be drawn.
ANY_OPERATOR = 0
# The largest number of things that replace one.
PARTS = 4


class _Drawn(NamedTuple):
    """Random numbers of one step; only one of them is used."""

    digit: jax.Array
    operator: jax.Array
    split: jax.Array


def draw_expression(
    key: jax.Array, n: Length, most: int, operators: tuple[int, ...] = (PLUS, MINUS, TIMES)
) -> jax.Array:
    """Draws an expression of n symbols.

    Args:
      key: the key.
      n: number of symbols, from 1 to `most`.
      most: the largest n.
      operators: the operators, all equally likely.

    Returns:
      Its symbols [most], int32; those past the end have no meaning.

    Example:
      draw_expression(jax.random.key(0), 5, 5)  # such as 9, 3, 5, 1, 10 for (3+1)
    """
    key_digit, key_operator, key_split = jax.random.split(key, 3)
    chosen = draw_symbols(key_operator, most, len(operators))
    drawn = _Drawn(
        draw_symbols(key_digit, most, MODULUS),
        jnp.array(operators)[chosen],
        # The remainder of 31 bits: for n <= 500, probabilities are right to 1e-6.
        jax.random.bits(key_split, (most,), jnp.uint32).astype(jnp.int32) & 0x7FFFFFFF,
    )

    def write(carry: tuple[jax.Array, jax.Array], drawn: _Drawn) -> Any:
        """Writes one symbol: takes one thing off the stack and puts its other parts there."""
        stack, size = carry
        top = stack[jnp.maximum(size - 1, 0)]
        left = 1 + drawn.split % jnp.maximum(top - 4, 1)
        symbol = jnp.select(
            [top < 0, top == ANY_OPERATOR, top == 1, top == 2],
            [-top, drawn.operator, drawn.digit, MINUS],
            OPEN,
        )
        parts, count = _rest(top, left)
        places = jnp.maximum(size - 1, 0) + jnp.arange(PARTS)
        stack = stack.at[places].set(parts, mode="drop")
        # Everything on the stack writes a symbol or more, so that the stack has `most` at most.
        return (stack, jnp.where(size > 0, size - 1 + count, 0)), symbol

    stack = jnp.zeros(most, jnp.int32).at[0].set(n)
    _, x = lax.scan(write, (stack, jnp.int32(1)), drawn)
    return x


def _rest(top: jax.Array, left: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what follows the first symbol of the top of a stack, last part first, and its size.

    Args:
      top: the length of an expression, or a symbol.
      left: the length of the left operand, for an expression of five symbols or more.
    """
    none = jnp.zeros_like(top)
    shorter = jnp.stack([none - CLOSE, top - 2, none, none])
    longest = jnp.stack([none - CLOSE, top - left - 3, none + ANY_OPERATOR, left])
    negative = jnp.stack([none + 1, none, none, none])
    parts = jnp.where(top >= 5, longest, jnp.where(top == 2, negative, shorter))
    return parts, jnp.select([top <= 1, top == 2, top <= 4], [0, 1, 2], PARTS)


class _Evaluation(NamedTuple):
    """What is known while an expression is read.

    Attributes:
      values: the value so far within each open bracket [most].
      operators: the operator before the next operand within each [most].
      depth: number of open brackets.
      negative: whether the next digit has a sign.
      after_operand: whether an operand has just ended, so that a minus is no sign.
    """

    values: jax.Array
    operators: jax.Array
    depth: jax.Array
    negative: jax.Array
    after_operand: jax.Array


def evaluate(x: jax.Array, n: Length) -> jax.Array:
    """Returns the value of an expression modulo 5.

    Args:
      x: its symbols [most].
      n: number of symbols.

    Example:
      evaluate(jnp.array([OPEN, 3, MINUS, 4, CLOSE]), 5)  # 4
    """
    most = x.shape[0]
    none, no = jnp.zeros_like(x), jnp.bool_(False)
    start = _Evaluation(none, jnp.full_like(x, PLUS), jnp.int32(0), no, no)

    def read(state: _Evaluation, place: tuple[jax.Array, jax.Array]) -> tuple[_Evaluation, None]:
        symbol, t = place
        return jax.tree.map(
            lambda new, old: jnp.where(t < n, new, old), _read(state, symbol), state
        ), None

    state, _ = lax.scan(read, start, (x, jnp.arange(most)))
    return state.values[0]


def _read(state: _Evaluation, symbol: jax.Array) -> _Evaluation:
    """Reads one symbol."""
    opens, closes, is_digit = symbol == OPEN, symbol == CLOSE, symbol < MODULUS
    is_sign = (symbol == MINUS) & ~state.after_operand
    operand_ends = is_digit | closes
    digit = jnp.where(state.negative, -symbol, symbol)
    operand = jnp.where(closes, state.values[state.depth], digit)
    depth = state.depth + opens.astype(jnp.int32) - closes.astype(jnp.int32)
    # A bracket begins with "0 +"; an operand is joined to the value before it.
    joined = _apply(state.operators[depth], state.values[depth], operand)
    value = jnp.where(opens, 0, jnp.where(operand_ends, joined, state.values[depth]))
    is_operator = ~(operand_ends | opens | is_sign)
    operator = jnp.where(opens, PLUS, jnp.where(is_operator, symbol, state.operators[depth]))
    return _Evaluation(
        state.values.at[depth].set(value),
        state.operators.at[depth].set(operator),
        depth,
        jnp.where(is_digit, False, state.negative | is_sign),
        operand_ends,
    )


def _apply(operator: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.select([operator == PLUS, operator == MINUS], [a + b, a - b], a * b) % MODULUS

"""The primitives of JAX that a kernel computes element by element, as functions of tiles.

Mosaic GPU has fewer functions than XLA; those that it lacks are written with those that it has.
`codegen/primitives.py` has the same table for C++.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

Value = Any  # a tile [units,rows], one value per row [rows], or one number


def _log1p(x: Value) -> Value:
    # u - 1 has the same rounding as log(u), so it cancels in the quotient. Source: Kahan, in
    # Goldberg 1991, What every computer scientist should know about floating-point arithmetic.
    u = 1.0 + x
    is_zero = u == 1.0
    is_itself = is_zero | (u == jnp.inf)
    return jnp.where(is_itself, x, jnp.log(u) * (x / jnp.where(is_zero, 1.0, u - 1.0)))


def _expm1(x: Value) -> Value:
    u = jnp.exp(x)
    is_zero, is_small = u == 1.0, jnp.abs(x) < 0.5
    safe = jnp.where(is_small, jnp.where(is_zero, 2.0, u), 2.0)
    near_zero = jnp.where(is_zero, x, (safe - 1.0) * (x / jnp.log(safe)))
    return jnp.where(is_small, near_zero, u - 1.0)


def power(x: Value, exponent: int) -> Value:
    """Computes x to an integer power, by products; Mosaic GPU has the square alone."""
    if exponent < 0:
        return 1.0 / power(x, -exponent)
    result = 1.0
    for bit in bin(exponent)[2:]:
        result = result * result * (x if bit == "1" else 1.0)
    return result


def _sign(x: Value) -> Value:
    return jnp.where(x > 0.0, 1.0, jnp.where(x < 0.0, -1.0, x))  # NaN is its own sign, as zero is


def _sqrt(x: Value) -> Value:
    # The root of zero is not 0 times infinity, and neither is that of infinity.
    return jnp.where((x == 0.0) | (x == jnp.inf), x, x * lax.rsqrt(x))


ELEMENTWISE: dict[str, Callable[..., Value]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "max": jnp.maximum,
    "min": jnp.minimum,
    "abs": jnp.abs,
    "sign": _sign,
    "square": lambda a: a * a,
    "one_minus_square": lambda a: 1.0 - a * a,
    "sqrt": _sqrt,
    "rsqrt": lax.rsqrt,
    "logistic": lax.logistic,
    "tanh": jnp.tanh,
    "exp": jnp.exp,
    "expm1": _expm1,
    "log": jnp.log,
    "log1p": _log1p,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": lax.erf,
    "clamp": lambda low, a, high: jnp.minimum(jnp.maximum(a, low), high),
    "select_n": lambda which, a, b: jnp.where(which, b, a),
    # The graph keeps conversions of flags alone.
    "convert_element_type": lambda a: jnp.where(a, 1.0, 0.0),
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "not": lambda a: ~a,
    "is_finite": lambda a: (a - a) == 0.0,
}

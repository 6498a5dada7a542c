"""The primitives of JAX that a kernel computes element by element, with their text in C++."""

from __future__ import annotations


def _by_lane(function: str) -> str:
    """Returns the text of a function that has no vector form: one number after another."""
    return f"each([](float x) {{{{ return std::{function}(x); }}}}, {{0}})"


ELEMENTWISE: dict[str, str] = {
    "add": "{0} + {1}",
    "add_any": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "max": "maximum({0}, {1})",
    "min": "minimum({0}, {1})",
    "abs": "select({0} < 0.0f, -{0}, {0})",
    "sign": "sign({0})",
    "square": "{0} * {0}",
    "one_minus_square": "1.0f - {0} * {0}",  # in the derivative of tanh since JAX 0.12
    "integer_pow": "power({0}, {detail})",
    "sqrt": "square_root({0})",
    "rsqrt": "1.0f / square_root({0})",
    "logistic": "sigmoid({0})",
    "tanh": "tanh({0})",
    "exp": "exp({0})",
    "expm1": "expm1({0})",
    "log": "log({0})",
    "log1p": "log1p({0})",
    "pow": "each([](float x, float y) {{ return std::pow(x, y); }}, {0}, {1})",
    **{name: _by_lane(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "erf", "floor")},
    "atan": _by_lane("atan"),
    "ceil": _by_lane("ceil"),
    "clamp": "minimum(maximum({0}, {1}), {2})",
    "select_n": "select({0}, {2}, {1})",
    "convert_element_type": "select({0}, Vec{{}} + 1.0f, Vec{{}})",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "not": "~{0}",
    "is_finite": "({0} - {0}) == 0.0f",
    "copy": "{0}",
    "stop_gradient": "{0}",
}
# Those whose value is true or false; a row of flags has no place in memory.
FLAGS = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_finite"))
# Sums over the units, besides products.
OVER_UNITS = {"reduce_sum": "row_sum", "reduce_max": "row_max"}
# Those that take so long that the backward pass reads their value instead of computing it again.
_SLOW = "sqrt rsqrt logistic tanh exp expm1 log log1p pow sin cos tan sinh cosh atan erf"
EXPENSIVE = frozenset((*_SLOW.split(), "product", *OVER_UNITS.values()))

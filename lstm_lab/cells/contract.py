"""Whether the functions of a cell can be called as every backend calls them.

In: a spec, perhaps of a user's own. Out: what is wrong, in words. Only shapes are computed, so it
takes milliseconds and compiles nothing. `recurrence/check.py` then tests the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Spec, State, recurrent_product
from lstm_lab.utils.errors import place_in_user_code

B = 2


def contract_problem(spec: Spec, D: int, H: int) -> str | None:
    """Returns what is wrong with the arguments or the results of one step, or None.

    Args:
      spec: the variant.
      D, H: the numbers of input features and hidden units.

    Example:
      contract_problem(CellSpec(), 3, 16)  # None
    """
    try:
        return _problem(spec, D, H)
    except Exception as error:  # a user's function may fail in any way
        place = place_in_user_code(error)
        text = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
        if place is not None:
            return f"{place}: {text} (with B={B}, D={D}, H={H})"
        # Without a line of the user's: the call itself failed.
        return f"{text}; each function takes the arguments that GATED_LSTM's has"


def _problem(spec: Spec, D: int, H: int) -> str | None:
    cell = spec.cell
    params = jax.eval_shape(lambda: cell.init(spec, jax.random.key(0), D, H))
    x_BD = jax.ShapeDtypeStruct((B, D), jnp.float32)

    def start(params: Any, x_BD: jax.Array) -> tuple[jax.Array, State]:
        zx = cell.project(spec, params, x_BD)
        return zx, cell.initial(spec, params, zx, x_BD.dtype)

    zx, state = jax.eval_shape(start, params, x_BD)
    returned: list[Any] = []

    def advance(params: Any, zx: jax.Array, state: State) -> None:
        zh = recurrent_product(spec, params, zx, state, None)
        # Out of the trace: `eval_shape` refuses what is no array.
        returned.append(cell.pointwise(spec, params, zx, zh, state, None))
        if _is_pair(returned[0]):
            returned.append(cell.emit(spec, params, returned[0][0]))

    jax.eval_shape(advance, params, zx, state)
    if not _is_pair(returned[0]):
        return f"pointwise returns {_words(returned[0])}, expected (State(h, c), gates by name)"
    if not isinstance(returned[1], State):
        return f"emit returns {_words(returned[1])}, expected a State"
    for name, before, after in zip(State._fields, state, returned[1], strict=True):
        if _words(before) != _words(after):
            return (
                f"the state after a step has {name}={_words(after)}, and before it {_words(before)}"
                f" (with B={B}, H={H}); expected the same"
            )
    return None


def _is_pair(returned: Any) -> bool:
    """Returns whether a step returned a state and gates."""
    # A State is a tuple too.
    return (
        type(returned) is tuple
        and len(returned) == 2
        and isinstance(returned[0], State)
        and isinstance(returned[1], Mapping)
    )


def _words(value: Any) -> str:
    """Returns an array as float32[2,16], and other values by their type."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if type(value) is tuple:
        return f"({', '.join(map(_words, value))})"
    return "None" if value is None else f"a {type(value).__name__}"

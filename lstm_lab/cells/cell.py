"""The interface of a cell: its state, and the pure functions of one time step.

`step` composes the functions and defines one time step. Every backend of recurrence/ computes the
same result, and tests compare them with it. Read next: cells/gated.py for the LSTM equations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.utils.types import PyTree

Params = Mapping[str, jax.Array]
# A constant that replaces a gate: the same for all units, or one for each [H].
GateValue = float | jax.Array


class State(NamedTuple):
    """The state that a cell carries from one time step to the next.

    A field is None if the cell does not carry it. One class serves all cells, so that models and
    backends handle a state without knowing the cell.

    Attributes:
      h: hidden state [B,H], or [B,R] with a projection, in the compute dtype.
      c: cell state [B,H], in float32 or wider.
      gates: the gates i, f, o of the previous step [B,3H], for full gate recurrence.
      n: normalizer [B,H], and m: its stabilizer [B,H], of the sLSTM.

    Example:
      state = State(h=jnp.zeros((2, 16)), c=jnp.zeros((2, 16)))
      state.n  # None: only the sLSTM has a normalizer
    """

    h: jax.Array
    c: jax.Array | None = None
    gates: jax.Array | None = None
    n: jax.Array | None = None
    m: jax.Array | None = None


@dataclass(frozen=True)
class Cell:
    """The pure functions that define one time step, and the state that it starts from.

    The split is by cost: `project` is one large product for all steps, `recur` is the product that
    must wait for the state, and `pointwise` is the elementwise part that kernels fuse.

    Attributes:
      init: (spec, key, D, H) -> params, a dict of float32 arrays.
      project: (spec, params, x [...,D]) -> zx [...,GH]. All products with the input; `unroll`
        calls it once for all time steps.
      recur: (spec, params, zx [B,GH], state) -> zh [B,GH]. All products with the carried state. A
        cell with noise takes it as a fifth argument.
      pointwise: (spec, params, zx, zh, state, noise) -> (state, gates). The elementwise part;
        `gates` maps names to [B,H]. If it takes the keyword `clamp`, gates can be clamped.
      emit: (spec, params, state) -> state. The end of the step: identity, or a projection of h.
      initial: (spec, params, zx [B,GH], h_dtype) -> state. The zero state, computed from zx.
      coefficients: (spec, params, zx [...,GH]) -> (a, b), if the cell is h = a * h' + b, a linear
        scan over time; None for other cells.

    Example:
      mine = replace(GATED_LSTM, pointwise=my_pointwise)  # other equations, the same parameters
      spec = CellSpec(cell=mine)
    """

    init: Callable[..., dict[str, jax.Array]]
    project: Callable[..., jax.Array]
    recur: Callable[..., jax.Array]
    pointwise: Callable[..., tuple[State, dict[str, jax.Array]]]
    emit: Callable[..., State]
    initial: Callable[..., State]
    coefficients: Callable[..., tuple[jax.Array, jax.Array]] | None = None


class Spec(Protocol):
    """A variant: hashable data with the cell that reads it.

    Example:
      spec: Spec = GRUSpec()
      params = spec.cell.init(spec, jax.random.key(0), 8, 16)
      params["wx"].shape  # (8, 3, 16): three gates
    """

    @property
    def cell(self) -> Cell:
        """The five functions."""
        ...

    def __hash__(self) -> int:
        """Equal variants share compiled programs, so they have equal hashes."""
        ...


def check_spec(spec: Spec) -> None:
    """Raises TypeError for anything but a spec, such as the name of a variant.

    Example:
      check_spec("gru")  # TypeError: spec: got 'gru', expected a spec, such as ...
    """
    if not hasattr(spec, "cell"):
        found = repr(spec) if isinstance(spec, str) else type(spec).__name__
        raise TypeError(f"spec: got {found}, expected a spec, such as lstm_lab.cell('gru').spec")


def zero_state(spec: Spec, params: Params, x_BD: jax.Array) -> State:
    """Returns the state before the first step.

    Args:
      spec: the variant.
      params: its parameters.
      x_BD: the inputs of a step, in the compute dtype; a cell may read their projection.
    """
    zx = spec.cell.project(spec, params, x_BD)
    return spec.cell.initial(spec, params, zx, x_BD.dtype)


def zero_state_shapes(spec: Spec, H: int, dtype: DTypeLike = jnp.float32) -> State:
    """Returns the shapes and dtypes of the zero state of one row, without computing it.

    Args:
      spec: the variant.
      H: number of hidden units. With a projection, the width of h differs from it.
      dtype: the compute dtype.

    Returns:
      A state whose fields are `jax.ShapeDtypeStruct`, or None.

    Example:
      zero_state_shapes(CellSpec(projection=0.5), 16).h.shape  # (1, 8)
    """

    def zero() -> State:
        # As many features as units: a cell may need that.
        params = spec.cell.init(spec, jax.random.key(0), H, H)
        return zero_state(spec, params, jnp.zeros((1, H), dtype))

    shapes: State = jax.eval_shape(zero)
    return shapes


def promote_float(z: jax.Array) -> jax.Array:
    """Returns z in the dtype of gates and cell states: float32, or float64 if z has it."""
    return z if z.dtype == jnp.float64 else z.astype(jnp.float32)


def identity(spec: Spec, params: Params, state: State) -> State:
    """Returns the state: the `emit` of a cell without projection."""
    del spec, params
    return state


def step(
    spec: Spec, params: Params, x_BD: jax.Array, state: State | None = None, noise: PyTree = None
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one time step: the definition that every backend must match.

    state' = emit(pointwise(project(x), recur(state), state))

    Args:
      spec: the variant.
      params: the parameters that `spec.cell.init` drew.
      x_BD: input [B,D].
      state: the carried state, or None for the zero state.
      noise: the masks of the cell's regularization, or None.

    Returns:
      The new state, and the gates by name, each [B,H].

    Raises:
      ValueError: for inputs of another D than that of the parameters, or noise that the cell does
        not take.

    Example:
      params = spec.cell.init(spec, jax.random.key(0), 8, 16)
      state, gates = step(spec, params, x_BD)  # from the zero state
      state, gates = step(spec, params, x_BD, state)
      sorted(gates)  # ["f", "g", "i", "o"] for the LSTM
    """
    cell = spec.cell
    zx = cell.project(spec, params, x_BD)
    if state is None:
        state = cell.initial(spec, params, zx, x_BD.dtype)
    return advance(spec, params, zx, state, noise)


def advance(
    spec: Spec, params: Params, zx: jax.Array, state: State, noise: PyTree = None, **keywords: Any
) -> tuple[State, dict[str, jax.Array]]:
    """Computes the part of a step that needs the carried state: recur, pointwise, emit.

    Example:
      zx_TBG = spec.cell.project(spec, params, x_TBD)  # one product for all steps
      for zx_BG in zx_TBG:
          state, gates = advance(spec, params, zx_BG, state)
    """
    zh = recurrent_product(spec, params, zx, state, noise)
    state, gates = spec.cell.pointwise(spec, params, zx, zh, state, noise, **keywords)
    return spec.cell.emit(spec, params, state), gates


def recurrent_product(
    spec: Spec, params: Params, zx: jax.Array, state: State, noise: PyTree
) -> jax.Array:
    """Computes the product with the carried state; `recur` gets the noise only if there is some.

    Example:
      zx_BG = spec.cell.project(spec, params, x_BD)
      zh_BG = recurrent_product(spec, params, zx_BG, state, None)
      zh_BG.shape  # (2, 64) for B=2, four gates and H=16
    """
    # A user's cell without noise may leave the argument out of its signature.
    arguments = () if noise is None else (noise,)
    return spec.cell.recur(spec, params, zx, state, *arguments)

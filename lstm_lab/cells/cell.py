"""What a cell is: a carried state and the pure functions of one time step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

Params = Mapping[str, jax.Array]


class State(NamedTuple):
    """What a cell carries from one time step to the next.

    `None` marks a field that a cell does not carry.

    Attributes:
      h: hidden state [B,H], in the compute dtype.
      c: cell state [B,H], in float32 or wider.
      gates: the gates i, f, o of the step before [B,3H], for full gate recurrence.
      n: normalizer [B,H], and m: its stabilizer [B,H], of the sLSTM.
    """

    h: jax.Array
    c: jax.Array | None = None
    gates: jax.Array | None = None
    n: jax.Array | None = None
    m: jax.Array | None = None


@dataclass(frozen=True)
class Cell:
    """Five pure functions that define one time step, and the state it starts from.

    Attributes:
      init: (spec, key, D, H) -> params, a dict of float32 arrays.
      project: (spec, params, x [...,D]) -> zx [...,GH]. Every product with the input; the
        recurrence calls it once for all time steps.
      recur: (spec, params, zx [B,GH], state) -> zh [B,GH]. Every product with the carried state. A
        cell with noise takes it as a fifth argument.
      pointwise: (spec, params, zx, zh, state, noise) -> (state, gates). The elementwise rest;
        `gates` maps names to [B,H] for probing. A cell that takes the keyword `clamp` can have its
        gates pinned.
      emit: (spec, params, state) -> state. What leaves the step: identity, or a projection of h.
      initial: (spec, params, zx [B,GH], h_dtype) -> state. The zero state, derived from zx.
      coefficients: (spec, params, zx [...,GH]) -> (a, b) of a cell that is h = a * h' + b, a linear
        scan over time; None for others.
    """

    init: Callable[..., dict[str, jax.Array]]
    project: Callable[..., jax.Array]
    recur: Callable[..., jax.Array]
    pointwise: Callable[..., tuple[State, dict[str, jax.Array]]]
    emit: Callable[..., State]
    initial: Callable[..., State]
    coefficients: Callable[..., tuple[jax.Array, jax.Array]] | None = None


class Spec(Protocol):
    """A variant: hashable data that names the cell which reads it."""

    @property
    def cell(self) -> Cell:
        """The five functions."""
        ...


def promote_float(z: jax.Array) -> jax.Array:
    """Returns z in the dtype of elementwise work and cell states: float32, or float64 as it is."""
    return z if z.dtype == jnp.float64 else z.astype(jnp.float32)


def identity(spec: Spec, params: Params, state: State) -> State:
    """The `emit` of a cell without projection: the state as it is."""
    del spec, params
    return state


def step(
    spec: Spec, params: Params, x_BD: jax.Array, state: State | None = None, noise: Any = None
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one time step: the definition with which every backend agrees.

    state' = emit(pointwise(project(x), recur(state), state))

    Args:
      spec: the variant.
      params: what `spec.cell.init` returned.
      x_BD: input [B,D].
      state: the carried state, or None for the zero state.
      noise: what the cell's regularisers draw on, or None for evaluation.

    Returns:
      The new state, and the gates by name, each [B,H].
    """
    cell = spec.cell
    zx = cell.project(spec, params, x_BD)
    if state is None:
        state = cell.initial(spec, params, zx, x_BD.dtype)
    return advance(spec, params, zx, state, noise)


def advance(
    spec: Spec, params: Params, zx: jax.Array, state: State, noise: Any = None, **keywords: Any
) -> tuple[State, dict[str, jax.Array]]:
    """Computes the part of a step that waits for the carried state: recur, pointwise, emit."""
    zh = recurrent_product(spec, params, zx, state, noise)
    state, gates = spec.cell.pointwise(spec, params, zx, zh, state, noise, **keywords)
    return spec.cell.emit(spec, params, state), gates


def recurrent_product(
    spec: Spec, params: Params, zx: jax.Array, state: State, noise: Any
) -> jax.Array:
    """Computes the product with the carried state; a cell without noise never sees the argument."""
    more = () if noise is None else (noise,)
    return spec.cell.recur(spec, params, zx, state, *more)

"""Cells outside the gate algebra, by the same five functions: the simple RNN and the GRU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Cell, Params, State, identity, wide
from lstm_lab.cells.gates import (
    check_clamp,
    check_init,
    initialise_gates,
    initialise_vector,
    pin,
    project,
    recur,
    refuse_noise,
)


@dataclass(frozen=True)
class RNNSpec:
    """The simple (Elman) recurrent network: h = tanh(x W + h' U + b)."""

    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: RNN, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)


@dataclass(frozen=True)
class GRUSpec:
    """The gated recurrent unit with the reset after the product, as in PyTorch and cuDNN."""

    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: GRU, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)


def _initial(spec: Any, params: Params, zx: jax.Array, h_dtype: Any) -> State:
    """Returns the zero state for pre-activations zx [B,GH]."""
    del spec
    return State(jnp.zeros_like(zx[:, : params["wh"].shape[-1]]).astype(h_dtype))


def rnn_init(spec: RNNSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,1,H]`, `wh [H,1,H]` and `b [1,H]`."""
    return initialise_gates(spec.init, key, D, H, 1)


def rnn_pointwise(
    spec: RNNSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Any = None,
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes h = tanh(x W + h' U + b). Elman 1990; it has no gates."""
    del spec, params
    refuse_noise(noise)
    check_clamp(clamp, [])
    return State(jnp.tanh(wide(zx) + wide(zh)).astype(state.h.dtype)), {}


def gru_init(spec: GRUSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,3,H]`, `wh [H,3,H]`, `b [3,H]` for r, z, n, and `bn [H]` inside the reset."""
    key_gates, key_bn = jax.random.split(key)
    params = initialise_gates(spec.init, key_gates, D, H, 3)
    return {**params, "bn": initialise_vector(spec.init, key_bn, H)}


def gru_pointwise(
    spec: GRUSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Any = None,
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one GRU step.

    r = s(x Wr + h' Ur + br)                       z = s(x Wz + h' Uz + bz)
    n = tanh(x Wn + bn + r * (h' Un + bhn))        h = (1 - z) * n + z * h'

    Source: Cho et al. 2014, with the reset after the product as in PyTorch, Keras and cuDNN.
    """
    del spec
    refuse_noise(noise)
    clamp = check_clamp(clamp, ["r", "z", "n"])
    zx, zh = wide(zx), wide(zh)
    H = state.h.shape[1]
    sigmoids = jax.nn.sigmoid(zx[:, : 2 * H] + zh[:, : 2 * H])
    r, z = pin(clamp, "r", sigmoids[:, :H]), pin(clamp, "z", sigmoids[:, H:])
    inside = zh[:, 2 * H :] + params["bn"].astype(zh.dtype)[None]
    n = pin(clamp, "n", jnp.tanh(zx[:, 2 * H :] + r * inside))
    h = (1.0 - z) * n + z * state.h.astype(z.dtype)
    return State(h.astype(state.h.dtype)), {"r": r, "z": z, "n": n}


RNN: Cell = Cell(rnn_init, project, recur, rnn_pointwise, identity, _initial)
GRU: Cell = Cell(gru_init, project, recur, gru_pointwise, identity, _initial)

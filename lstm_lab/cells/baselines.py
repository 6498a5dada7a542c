"""Cells whose state is h alone: simple RNN, GRU and MGU.

They have the interface of cells/cell.py, so that they train, sweep and compare like LSTM variants.
Each spec is data, as in cells/spec.py; the equations are in the docstrings of `*_pointwise`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.cell import Cell, GateValue, Params, Spec, State, identity, promote_float
from lstm_lab.cells.gated import check_clamp, clamp_gate, project, recur
from lstm_lab.cells.initializers import check_init, init_gates, init_vector
from lstm_lab.cells.masks import Noise, refuse_noise


@dataclass(frozen=True)
class RNNSpec:
    """The simple (Elman) recurrent network: h = tanh(x W + h' U + b).

    Attributes:
      init: initializer of every matrix.
      cell: the functions of the cell.

    Example:
      params = RNN.init(RNNSpec(), jax.random.key(0), 8, 16)
      state, gates = step(RNNSpec(), params, x_BD)
      gates  # {}: it has none
    """

    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: RNN, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)


@dataclass(frozen=True)
class GRUSpec:
    """The gated recurrent unit.

    Attributes:
      reset: whether r multiplies h' `before` the product with U, as in the paper, or its product
        `after` it, as in PyTorch and cuDNN.
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      spec = GRUSpec(init="normal(0.1)")
      spec.cell.init(spec, jax.random.key(0), 8, 16)["wh"].shape  # (16, 3, 16)
    """

    reset: Literal["after", "before"] = "after"
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: GRU, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)
        if self.reset not in ("after", "before"):
            raise ValueError(f"reset: got {self.reset!r}, expected after, before")


@dataclass(frozen=True)
class MGUSpec:
    """The minimal gated unit: a GRU whose one gate both resets and updates.

    Attributes:
      init: initializer of every matrix, gate by gate.
      forget_bias: added to the gate's initial bias.
      cell: the functions of the cell.

    Example:
      spec = MGUSpec()
      spec.cell.init(spec, jax.random.key(0), 8, 16)["wh"].shape  # (16, 2, 16)
    """

    init: str = "orthogonal"
    forget_bias: float = 0.0
    cell: Cell = field(default_factory=lambda: MGU, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)


def _initial(spec: Spec, params: Params, zx: jax.Array, h_dtype: DTypeLike) -> State:
    """Returns the zero state for pre-activations zx [B,GH]."""
    del spec
    return State(jnp.zeros_like(zx[:, : params["wh"].shape[-1]]).astype(h_dtype))


def rnn_init(spec: RNNSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,1,H]`, `wh [H,1,H]` and `b [1,H]`."""
    return init_gates(spec.init, key, D, H, 1)


def rnn_pointwise(
    spec: RNNSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, GateValue] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes h = tanh(x W + h' U + b); it has no gates. Source: Elman 1990."""
    del spec, params
    refuse_noise(noise)
    check_clamp(clamp, [])
    return State(jnp.tanh(promote_float(zx) + promote_float(zh)).astype(state.h.dtype)), {}


def gru_init(spec: GRUSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,3,H]`, `wh [H,3,H]`, `b [3,H]` for r, z, n, and `bn [H]` inside the reset.

    With the reset before the product there is no bias inside it, and no `bn`.
    """
    key_gates, key_bn = jax.random.split(key)
    if spec.reset == "before":
        return init_gates(spec.init, key_gates, D, H, 3)
    # The second bias of the candidate is bn.
    params = init_gates(spec.init, key_gates, D, H, 3, summed=2)
    return {**params, "bn": init_vector(spec.init, key_bn, H)}


def gru_recur(
    spec: GRUSpec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' U for r, z and n: [B,3H]; with the reset before the product (r * h') Un for n."""
    if spec.reset == "after":
        return recur(spec, params, zx, state, noise)
    refuse_noise(noise)
    return _product_after_gate(params["wh"], zx, state.h)


def _product_after_gate(wh: jax.Array, zx: jax.Array, h: jax.Array) -> jax.Array:
    """Computes h' U for all gates but the last, and (r * h') U for the last: [B,GH].

    r = s(x Wr + h' Ur) is the first gate, which `pointwise` computes again.
    """
    H = h.shape[1]
    wh = wh.astype(h.dtype)
    zh = h @ wh[:, :-1].reshape(H, -1)
    r = jax.nn.sigmoid(promote_float(zx[:, :H]) + promote_float(zh[:, :H])).astype(h.dtype)
    return jnp.concatenate([zh, (r * h) @ wh[:, -1]], 1)


def gru_pointwise(
    spec: GRUSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, GateValue] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one GRU step.

    r = s(x Wr + h' Ur + br)                       z = s(x Wz + h' Uz + bz)
    n = tanh(x Wn + bn + r * (h' Un + bhn))        h = (1 - z) * n + z * h'

    With the reset before the product n = tanh(x Wn + bn + (r * h') Un); r cannot be clamped then,
    since the product is made before this function.

    Source: Cho et al. 2014; the reset after the product as in PyTorch, Keras and cuDNN.
    """
    refuse_noise(noise)
    clamp = check_clamp(clamp, ["r", "z", "n"] if spec.reset == "after" else ["z", "n"])
    zx, zh = promote_float(zx), promote_float(zh)
    H = state.h.shape[1]
    sigmoids = jax.nn.sigmoid(zx[:, : 2 * H] + zh[:, : 2 * H])
    r, z = clamp_gate(clamp, "r", sigmoids[:, :H]), clamp_gate(clamp, "z", sigmoids[:, H:])
    inside = zh[:, 2 * H :]
    if spec.reset == "after":
        inside = r * (inside + params["bn"].astype(zh.dtype)[None])
    n = clamp_gate(clamp, "n", jnp.tanh(zx[:, 2 * H :] + inside))
    h = (1.0 - z) * n + z * state.h.astype(z.dtype)
    return State(h.astype(state.h.dtype)), {"r": r, "z": z, "n": n}


def mgu_init(spec: MGUSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,2,H]`, `wh [H,2,H]` and `b [2,H]` for f and n."""
    params = init_gates(spec.init, key, D, H, 2)
    return {**params, "b": params["b"].at[0].add(spec.forget_bias)}


def mgu_recur(
    spec: MGUSpec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' Uf and (f * h') Un: [B,2H]."""
    del spec
    refuse_noise(noise)
    return _product_after_gate(params["wh"], zx, state.h)


def mgu_pointwise(
    spec: MGUSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, GateValue] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one step of the minimal gated unit.

    f = s(x Wf + h' Uf + bf)    n = tanh(x Wn + (f * h') Un + bn)    h = (1 - f) * h' + f * n

    f cannot be clamped, since the product that it gates is made before this function.

    Source: Zhou et al. 2016, Minimal Gated Unit for Recurrent Neural Networks, section 3.
    """
    del spec, params
    refuse_noise(noise)
    clamp = check_clamp(clamp, ["n"])
    H = state.h.shape[1]
    z = promote_float(zx) + promote_float(zh)
    f = jax.nn.sigmoid(z[:, :H])
    n = clamp_gate(clamp, "n", jnp.tanh(z[:, H:]))
    h = (1.0 - f) * state.h.astype(f.dtype) + f * n
    return State(h.astype(state.h.dtype)), {"f": f, "n": n}


RNN: Cell = Cell(rnn_init, project, recur, rnn_pointwise, identity, _initial)
GRU: Cell = Cell(gru_init, project, gru_recur, gru_pointwise, identity, _initial)
MGU: Cell = Cell(mgu_init, project, mgu_recur, mgu_pointwise, identity, _initial)

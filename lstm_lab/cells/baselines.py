"""Cells outside the gated LSTM family: simple RNN, GRU, sLSTM and minLSTM.

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

from lstm_lab.cells.cell import Cell, Params, Spec, State, identity, promote_float
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
    """The gated recurrent unit, with the reset after the product, as in PyTorch and cuDNN.

    Attributes:
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      spec = GRUSpec(init="normal(0.1)")
      spec.cell.init(spec, jax.random.key(0), 8, 16)["wh"].shape  # (16, 3, 16)
    """

    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: GRU, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)


@dataclass(frozen=True)
class SLSTMSpec:
    """The sLSTM of xLSTM: exponential gates, a normalizer, and block-diagonal recurrence.

    Attributes:
      heads: number of blocks of the recurrent matrix; it must divide H.
      forget: activation of the forget gate.
      forget_bias: added to the forget gate's initial bias.
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      SLSTMSpec(heads=4, forget="exponential")  # four blocks, so H must be a multiple of 4
    """

    heads: int = 1
    forget: Literal["sigmoid", "exponential"] = "sigmoid"
    forget_bias: float = 1.0
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: SLSTM, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)
        if self.heads < 1:
            raise ValueError(f"heads: got {self.heads}, expected 1 or more")
        if self.forget not in ("sigmoid", "exponential"):
            raise ValueError(f"forget: got {self.forget!r}, expected sigmoid, exponential")


@dataclass(frozen=True)
class MinLSTMSpec:
    """The minLSTM: its gates read only the input, so the recurrence is a linear scan.

    Attributes:
      forget_bias: added to the forget gate's initial bias.
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      MinLSTMSpec().cell.coefficients is None  # False: the backend "associative" can compute it
    """

    forget_bias: float = 1.0
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: MINLSTM, repr=False)

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
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes h = tanh(x W + h' U + b); it has no gates. Source: Elman 1990."""
    del spec, params
    refuse_noise(noise)
    check_clamp(clamp, [])
    return State(jnp.tanh(promote_float(zx) + promote_float(zh)).astype(state.h.dtype)), {}


def gru_init(spec: GRUSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,3,H]`, `wh [H,3,H]`, `b [3,H]` for r, z, n, and `bn [H]` inside the reset."""
    key_gates, key_bn = jax.random.split(key)
    params = init_gates(spec.init, key_gates, D, H, 3)
    return {**params, "bn": init_vector(spec.init, key_bn, H)}


def gru_pointwise(
    spec: GRUSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
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
    zx, zh = promote_float(zx), promote_float(zh)
    H = state.h.shape[1]
    sigmoids = jax.nn.sigmoid(zx[:, : 2 * H] + zh[:, : 2 * H])
    r, z = clamp_gate(clamp, "r", sigmoids[:, :H]), clamp_gate(clamp, "z", sigmoids[:, H:])
    inside = zh[:, 2 * H :] + params["bn"].astype(zh.dtype)[None]
    n = clamp_gate(clamp, "n", jnp.tanh(zx[:, 2 * H :] + r * inside))
    h = (1.0 - z) * n + z * state.h.astype(z.dtype)
    return State(h.astype(state.h.dtype)), {"r": r, "z": z, "n": n}


def slstm_init(spec: SLSTMSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,4,H]`, `wh [N,H/N,4,H/N]` for N heads and `b [4,H]`, for i, f, o, z."""
    N = spec.heads
    if H % N:
        raise ValueError(f"heads: got {N}, which do not divide {H} hidden units")
    params = init_gates(spec.init, key, D, H, 4)
    heads = jax.random.split(jax.random.fold_in(key, 1), N)
    params["wh"] = jnp.stack([init_gates(spec.init, k, D, H // N, 4)["wh"] for k in heads])
    params["b"] = params["b"].at[1].add(spec.forget_bias)
    return params


def slstm_recur(
    spec: SLSTMSpec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' U, head by head: [B,4H]."""
    del zx
    refuse_noise(noise)
    B, H = state.h.shape
    h_BNK = state.h.reshape(B, spec.heads, -1)
    zh = jnp.einsum("bnk,nkgj->bgnj", h_BNK, params["wh"].astype(state.h.dtype))
    return zh.reshape(B, 4 * H)


def slstm_pointwise(
    spec: SLSTMSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes one sLSTM step, stabilized by m.

    z = tanh(z~)   o = s(o~)   log i = i~   log f = log s(f~), or f~
    m = max(log f + m', i~)    i = exp(i~ - m)    f = exp(log f + m' - m)
    c = f * c' + i * z         n = f * n' + i     h = o * c / n

    Source: Beck et al. 2024, xLSTM: Extended Long Short-Term Memory, eqs. 8-17.
    """
    del params
    refuse_noise(noise)
    clamp = check_clamp(clamp, ["o", "g"])
    assert state.c is not None
    assert state.n is not None
    assert state.m is not None
    H = state.h.shape[1]
    pre = promote_float(zx) + promote_float(zh)
    log_i, pre_f = pre[:, :H], pre[:, H : 2 * H]
    log_f = jax.nn.log_sigmoid(pre_f) if spec.forget == "sigmoid" else pre_f
    o = clamp_gate(clamp, "o", jax.nn.sigmoid(pre[:, 2 * H : 3 * H]))
    z = clamp_gate(clamp, "g", jnp.tanh(pre[:, 3 * H :]))
    # At n' = 0 nothing is stored, so m' = 0 is no maximum of earlier exponents. With it, a large
    # negative i~ would give i = exp(i~ - 0) = 0 and h = 0 / 0.
    m = jnp.where(state.n == 0.0, log_i, jnp.maximum(log_f + state.m, log_i))
    i = jnp.exp(log_i - m)
    f = jnp.exp(jnp.where(state.n == 0.0, 0.0, log_f + state.m - m))
    c, n = f * state.c + i * z, f * state.n + i
    h = o * c / n
    return State(h.astype(state.h.dtype), c, n=n, m=m), {"i": i, "f": f, "o": o, "g": z}


def _slstm_initial(spec: SLSTMSpec, params: Params, zx: jax.Array, h_dtype: DTypeLike) -> State:
    del spec
    zero = jnp.zeros_like(promote_float(zx[:, : params["b"].shape[-1]]))
    return State(zero.astype(h_dtype), zero, n=zero, m=zero)


def minlstm_init(spec: MinLSTMSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,3,H]` and `b [3,H]` for i, f and the candidate."""
    params = init_gates(spec.init, key, D, H, 3)
    return {"wx": params["wx"], "b": params["b"].at[1].add(spec.forget_bias)}


def minlstm_recur(
    spec: MinLSTMSpec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Returns an empty array [B,0]: no gate reads the carried state."""
    del spec, params, state
    refuse_noise(noise)
    return jnp.zeros_like(zx[:, :0])


def minlstm_coefficients(
    spec: MinLSTMSpec, params: Params, zx: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Computes a and b of h = a * h' + b from pre-activations [...,3H].

    i = s(x Wi + bi)   f = s(x Wf + bf)   a = f / (f + i)   b = i / (f + i) * (x W + bg)

    a = s(log f - log i) and i / (f + i) = s(log i - log f), which cannot divide 0 by 0.

    Source: Feng et al. 2024, Were RNNs All We Needed?, section 3.2 and appendix on the minLSTM.
    """
    del spec
    H = params["b"].shape[-1]
    z = promote_float(zx)
    odds = jax.nn.log_sigmoid(z[..., H : 2 * H]) - jax.nn.log_sigmoid(z[..., :H])
    return jax.nn.sigmoid(odds), jax.nn.sigmoid(-odds) * z[..., 2 * H :]


def minlstm_pointwise(
    spec: MinLSTMSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes h = a * h' + b, with a and b of `minlstm_coefficients`."""
    del zh
    refuse_noise(noise)
    a, b = minlstm_coefficients(spec, params, zx)
    h = a * state.h.astype(a.dtype) + b
    return State(h.astype(state.h.dtype)), {"f": a, "i": 1.0 - a}


def _minlstm_initial(spec: MinLSTMSpec, params: Params, zx: jax.Array, h_dtype: DTypeLike) -> State:
    del spec
    return State(jnp.zeros_like(zx[:, : params["b"].shape[-1]]).astype(h_dtype))


RNN: Cell = Cell(rnn_init, project, recur, rnn_pointwise, identity, _initial)
GRU: Cell = Cell(gru_init, project, recur, gru_pointwise, identity, _initial)
SLSTM: Cell = Cell(slstm_init, project, slstm_recur, slstm_pointwise, identity, _slstm_initial)
MINLSTM: Cell = Cell(
    minlstm_init,
    project,
    minlstm_recur,
    minlstm_pointwise,
    identity,
    _minlstm_initial,
    minlstm_coefficients,
)

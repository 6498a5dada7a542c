"""The sLSTM of xLSTM: exponential gates with a normalizer.

It has the interface of cells/cell.py. The equations are in the docstring of `slstm_pointwise`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.cell import Cell, GateValue, Params, State, identity, promote_float
from lstm_lab.cells.gated import check_clamp, clamp_gate, project
from lstm_lab.cells.initializers import check_init, init_gates
from lstm_lab.cells.masks import Noise, refuse_noise


@dataclass(frozen=True)
class SLSTMSpec:
    """The sLSTM of xLSTM: exponential gates, a normalizer, and block-diagonal recurrence.

    The block of xLSTM, in which its authors use the cell, has more: a causal convolution before the
    gates i and f, input matrices for each head, group normalization of h, and a gated projection.

    Attributes:
      heads: number of blocks of the recurrent matrix; it must divide H.
      forget: activation of the forget gate.
      forget_bias: the forget gate's initial bias, or `power_law` for the authors' biases, which
        fall from 5 to -7 over the K units of a head: 5 - 12 (k / (K - 1))^0.3.
      recurrent: `drawn` by `init`, or `zero` as in the authors' code.
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      SLSTMSpec(heads=4, forget="exponential")  # four blocks, so H must be a multiple of 4
    """

    heads: int = 1
    forget: Literal["sigmoid", "exponential"] = "sigmoid"
    forget_bias: float | Literal["power_law"] = 1.0
    recurrent: Literal["drawn", "zero"] = "drawn"
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: SLSTM, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)
        if self.heads < 1:
            raise ValueError(f"heads: got {self.heads}, expected 1 or more")
        if self.forget not in ("sigmoid", "exponential"):
            raise ValueError(f"forget: got {self.forget!r}, expected sigmoid, exponential")
        if isinstance(self.forget_bias, str) and self.forget_bias != "power_law":
            raise ValueError(f"forget_bias: got {self.forget_bias!r}, expected a number, power_law")
        if self.recurrent not in ("drawn", "zero"):
            raise ValueError(f"recurrent: got {self.recurrent!r}, expected drawn, zero")


def slstm_init(spec: SLSTMSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,4,H]`, `wh [N,H/N,4,H/N]` for N heads and `b [4,H]`, for i, f, o, z."""
    N = spec.heads
    if H % N:
        raise ValueError(f"heads: got {N}, which do not divide {H} hidden units")
    params = init_gates(spec.init, key, D, H, 4)
    heads = jax.random.split(jax.random.fold_in(key, 1), N)
    params["wh"] = jnp.stack([init_gates(spec.init, k, D, H // N, 4)["wh"] for k in heads])
    if spec.recurrent == "zero":
        params["wh"] = jnp.zeros_like(params["wh"])
    bias = power_law_bias(H // N, N) if spec.forget_bias == "power_law" else spec.forget_bias
    params["b"] = params["b"].at[1].add(bias)
    return params


def power_law_bias(K: int, heads: int) -> jax.Array:
    """Returns forget biases [H] that fall from 5 to -7 over the K units of each head.

    b_k = 5 - 12 (k / (K - 1))^0.3. Source: the code of xLSTM (NX-AI/xlstm, slstm/cell.py), for the
    first block of a stack.
    """
    steps = jnp.arange(K, dtype=jnp.float32) / max(K - 1, 1)
    return jnp.tile(5.0 - 12.0 * steps**0.3, heads)


def slstm_recur(
    spec: SLSTMSpec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' U, head by head: [B,4H]."""
    del zx
    refuse_noise(noise)
    B, H = state.h.shape
    h_BNK = state.h.reshape(B, spec.heads, H // spec.heads)
    zh = jnp.einsum("bnk,nkgj->bgnj", h_BNK, params["wh"].astype(state.h.dtype))
    return zh.reshape(B, 4 * H)


def slstm_pointwise(
    spec: SLSTMSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, GateValue] | None = None,
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


SLSTM: Cell = Cell(slstm_init, project, slstm_recur, slstm_pointwise, identity, _slstm_initial)

"""The minLSTM: a linear recurrence, whose gates read the input alone.

It has the interface of cells/cell.py. The equations are in the docstring of `minlstm_coefficients`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.cell import Cell, Params, State, identity, promote_float
from lstm_lab.cells.gated import project
from lstm_lab.cells.initializers import check_init, init_gates
from lstm_lab.cells.masks import Noise, refuse_noise


@dataclass(frozen=True)
class MinLSTMSpec:
    """The minLSTM: its gates read only the input, so the recurrence is a linear scan.

    Attributes:
      candidate: g of the candidate: `identity`, as in the paper's equations, or `positive`, as in
        its code in log space: x + 0.5 for x >= 0, else s(x).
      forget_bias: added to the forget gate's initial bias.
      init: initializer of every matrix, gate by gate.
      cell: the functions of the cell.

    Example:
      MinLSTMSpec().cell.coefficients is None  # False: the backend "associative" can compute it
    """

    candidate: Literal["identity", "positive"] = "identity"
    forget_bias: float = 1.0
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: MINLSTM, repr=False)

    def __post_init__(self) -> None:
        check_init(self.init)
        if self.candidate not in ("identity", "positive"):
            raise ValueError(f"candidate: got {self.candidate!r}, expected identity, positive")


def minlstm_init(spec: MinLSTMSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws `wx [D,3,H]` and `b [3,H]` for i, f and the candidate."""
    params = init_gates(spec.init, key, D, H, 3, summed=0)
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

    i = s(x Wi + bi)   f = s(x Wf + bf)   a = f / (f + i)   b = i / (f + i) * g(x W + bg)

    a = s(log f - log i) and i / (f + i) = s(log i - log f), which cannot divide 0 by 0.

    Source: Feng et al. 2024, Were RNNs All We Needed?, section 3.2; g in appendix B.
    """
    H = params["b"].shape[-1]
    z = promote_float(zx)
    odds = jax.nn.log_sigmoid(z[..., H : 2 * H]) - jax.nn.log_sigmoid(z[..., :H])
    g = z[..., 2 * H :]
    if spec.candidate == "positive":
        g = jnp.where(g >= 0.0, g + 0.5, jax.nn.sigmoid(g))
    return jax.nn.sigmoid(odds), jax.nn.sigmoid(-odds) * g


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


MINLSTM: Cell = Cell(
    minlstm_init,
    project,
    minlstm_recur,
    minlstm_pointwise,
    identity,
    _minlstm_initial,
    minlstm_coefficients,
)

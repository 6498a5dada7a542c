"""The gated LSTM: one set of equations for the whole family. `pointwise` has them.

In: a `CellSpec` (cells/spec.py: a variant as data), parameters, the input and the carried state.
Out: the new state and the gates. For h', c' of the step before, the logistic function s and the
elementwise product *:

    i = s(x Wi + h' Ui + pi * c' + bi)      f = s(x Wf + h' Uf + pf * c' + bf)
    g = a(x Wg + h' Ug + bg)                c = f * c' + i * g
    o = s(x Wo + h' Uo + po * c + bo)       h = o * b(c)

A gate that a variant lacks is the constant 1 and has no weights. Gate order is i, f, o, g: the
sigmoid gates first and contiguous, so that one slice and one sigmoid compute them. Other libraries
use other orders:

    lstm_lab  i f o g        ONNX     i o f c (c is g)
    PyTorch   i f g o        Keras    i f c o (c is g)
    cuDNN     i f g o

Beyond Greff et al., fields of `CellSpec` add layer normalization, a projection of h, the
multiplicative intermediate state, an offset of the coupled gate, and regularization.

Source: Greff et al. 2017, LSTM: A Search Space Odyssey, section II and its variants in section III.
Read next: cells/spec.py for the fields, recurrence/unroll.py for the cell over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lstm_lab.cells.cell import Cell, GateValue, Params, Spec, State, promote_float
from lstm_lab.cells.initializers import (
    chrono_bias,
    init_gates,
    init_matrix,
    init_vector,
    sets_memory_bias,
)
from lstm_lab.cells.masks import Noise, mix, refuse_noise

if TYPE_CHECKING:
    from lstm_lab.cells.spec import CellSpec

Activation = Literal["tanh", "identity", "sigmoid", "relu"]

SIGMOID_GATES = "ifo"

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}


def pointwise(
    spec: CellSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, GateValue] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes the gates and the new state from the pre-activations, in float32 or wider.

    Args:
      spec: the variant.
      params: the parameters that `init` drew.
      zx: the input's part of the pre-activations [B,GH], from `project`.
      zh: the carried state's part [B,GH], from `recur`.
      state: the carried state.
      noise: masks of the variant's regularization (cells/masks.py), or None.
      clamp: constants that replace gates, by name; a number, or one for each unit [H].

    Returns:
      The new state, and the gates by name, each [B,H]; a gate that the variant lacks is not in it.

    Raises:
      ValueError: if the variant has no regularization that takes the noise, or lacks a gate to
        clamp.
    """
    coupled = _coupled_gate(spec)
    clamp = check_clamp(clamp, [*spec.gates, *coupled, "g"])
    if not (spec.zoneout or spec.recurrent_dropout):
        refuse_noise(noise)
    assert state.c is not None
    # With a peephole, the output gate reads the new c, so it is computed after it. Without one, it
    # shares a sigmoid with i and f.
    after_c = "o" if "o" in spec.peephole else ""
    before_c = spec.gates.removesuffix(after_c)
    a, b = _ACTIVATIONS[spec.candidate], _ACTIVATIONS[spec.output]
    H = state.c.shape[1]

    z = promote_float(zx[:, : zh.shape[1]]) + promote_float(zh)
    z_before = _add_peepholes(spec, params, z, state.c, before_c)
    gates = _sigmoid_gates(z_before, before_c, clamp, H)
    if coupled:
        partner = before_c.index("i" if coupled == "f" else "f")
        z_partner = z_before[:, partner * H : (partner + 1) * H]
        # 1 - s(z - offset) = s(offset - z): the right side does not cancel where s is close to 1.
        gates[coupled] = clamp_gate(clamp, coupled, jax.nn.sigmoid(spec.coupled_offset - z_partner))
    gates["g"] = clamp_gate(clamp, "g", a(z[:, -H:]))
    g = _drop_candidate(gates["g"], noise)
    c = _times(gates.get("f"), state.c) + _times(gates.get("i"), g)
    z_after = _add_peepholes(spec, params, z, c, after_c)
    gates |= _sigmoid_gates(z_after, after_c, clamp, H)
    h = _times(gates.get("o"), b(_normalize_c(params, c))).astype(state.h.dtype)

    carried = None
    if spec.gate_recurrence:
        carried = jnp.concatenate([gates[name] for name in SIGMOID_GATES], 1)
    if noise is not None:
        h, c = mix(noise.zoneout_h, state.h, h), mix(noise.zoneout_c, state.c, c)
    return State(h, c, carried), gates


def _times(gate: jax.Array | None, value: jax.Array) -> jax.Array:
    """Computes gate * value; a gate that the variant lacks is the constant 1."""
    return value if gate is None else gate * value


def _sigmoid_gates(
    z: jax.Array, names: str, clamp: Mapping[str, GateValue], H: int
) -> dict[str, jax.Array]:
    """Computes s(z) of contiguous gates [B,NH] at once, and splits it by name, each [B,H]."""
    gates = jax.nn.sigmoid(z)
    return {
        name: clamp_gate(clamp, name, gates[:, k * H : (k + 1) * H]) for k, name in enumerate(names)
    }


def _coupled_gate(spec: CellSpec) -> str:
    """Returns the gate that is the complement of its partner, i or f; "" without coupling."""
    return ("f" if "i" in spec.gates else "i") if spec.coupled else ""


def _add_peepholes(
    spec: CellSpec, params: Params, z: jax.Array, c: jax.Array, names: str
) -> jax.Array:
    """Computes z + p * c for the contiguous gates in `names`: [B,GH] -> [B,NH].

    A gate without a peephole gets p = 0, so that one product serves all of them.
    """
    H = c.shape[1]
    first = spec.gates.index(names[0]) if names else 0
    z = z[:, first * H : (first + len(names)) * H]
    if not any(name in spec.peephole for name in names):
        return z
    rows = [
        params["peephole"][spec.peephole.index(name)]
        if name in spec.peephole
        else jnp.zeros((H,), c.dtype)
        for name in names
    ]
    return z + jnp.concatenate(rows).astype(c.dtype)[None] * jnp.concatenate([c] * len(names), 1)


def check_clamp(
    clamp: Mapping[str, GateValue] | None, names: Sequence[str]
) -> Mapping[str, GateValue]:
    """Returns the gates to clamp, none by default.

    Raises:
      ValueError: for a gate that is not in `names`, the gates of the cell.
    """
    for name in clamp or {}:
        if name not in names:
            raise ValueError(f"clamp: got gate {name!r}, expected {', '.join(names)}")
    return clamp or {}


def clamp_gate(clamp: Mapping[str, GateValue], name: str, gate: jax.Array) -> jax.Array:
    """Returns the constant that replaces a gate [B,H], or the gate."""
    return jnp.full_like(gate, clamp[name]) if name in clamp else gate


def _drop_candidate(g: jax.Array, noise: Noise | None) -> jax.Array:
    """Applies the dropout mask of the candidate. Source: Semeniuta et al. 2016."""
    return g if noise is None or noise.candidate is None else g * noise.candidate.astype(g.dtype)


def _normalize_c(params: Params, c: jax.Array) -> jax.Array:
    """Normalizes c as h reads it. The carried c stays as it is, so that it keeps its scale."""
    return normalize(c, params["ln_c"][0], params["ln_c"][1]) if "ln_c" in params else c


def normalize(z: jax.Array, gain: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Computes gain * (z - mean) / sqrt(variance + 1e-5) + bias over the last axis, in float32.

    Source: Ba, Kiros and Hinton 2016, Layer Normalization, eq. 4; the constant as in PyTorch.
    """
    dtype, z = z.dtype, promote_float(z)
    z = z - z.mean(-1, keepdims=True)
    z = z * jax.lax.rsqrt(jnp.square(z).mean(-1, keepdims=True) + 1e-5)
    shape = (1,) * (z.ndim - 1) + (-1,)
    z = z * gain.astype(z.dtype).reshape(shape)
    return (z if bias is None else z + bias.astype(z.dtype).reshape(shape)).astype(dtype)


def project(spec: Spec, params: Params, x: jax.Array) -> jax.Array:
    """Computes x W + b for all gates: [...,D] -> [...,GH], in the dtype of x.

    With layer normalization gain * LN(x W) + b. The multiplicative cell appends x Wm [...,R].

    Raises:
      ValueError: if x has another D than `init` drew the weights for.
    """
    D = params["wx"].shape[0]
    if x.shape[-1] != D:
        raise ValueError(
            f"x: got {x.shape[-1]} features, expected {D}, for which the parameters were drawn"
        )
    # The bias gets every axis of x, because the project forbids silent broadcasting of ranks.
    b = params["b"].astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    zx = x @ _as_one_matrix(params["wx"], x.dtype)
    if "ln_x" in params:
        zx = normalize(zx, params["ln_x"])
    if "wm_x" in params:
        return jnp.concatenate([zx + b, x @ params["wm_x"].astype(x.dtype)], -1)
    return zx + b


def recur(
    spec: Spec, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' U for all gates: [B,GH].

    The multiplicative cell multiplies m = (x Wm) * (h' Um) by U, in place of h'. A variant with
    gate recurrence adds (i', f', o') Ug to the sigmoid gates.
    """
    h, wh = state.h, params["wh"].astype(state.h.dtype)
    mask = getattr(noise, "recurrent", None)  # a user's pointwise may take noise of its own
    if mask is not None and mask.ndim == 3:
        # One mask for each gate: every gate reads another h', so one product cannot serve all.
        masked_BGR = h[:, None] * mask.astype(h.dtype)
        zh_BGH = jnp.einsum("bgr,rgh->bgh", masked_BGR, wh)
        zh = zh_BGH.reshape(h.shape[0], zh_BGH.shape[1] * zh_BGH.shape[2])
    else:
        h = h if mask is None else h * mask.astype(h.dtype)
        if "wm_h" in params:
            h = zx[:, -h.shape[1] :].astype(h.dtype) * (h @ params["wm_h"].astype(h.dtype))
        zh = h @ _as_one_matrix(params["wh"], h.dtype)
    if "ln_h" in params:
        zh = normalize(zh, params["ln_h"])
    if state.gates is not None:
        zg = state.gates.astype(zx.dtype) @ _as_one_matrix(params["wg"], zx.dtype)
        zh = zh + jnp.pad(zg, ((0, 0), (0, zh.shape[1] - zg.shape[1])))
    return zh


def _as_one_matrix(w: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Reshapes the matrices of all gates [D,G,H] to one [D,GH], which XLA multiplies faster."""
    return w.astype(dtype).reshape(w.shape[0], -1)


def emit(spec: CellSpec, params: Params, state: State) -> State:
    """Projects h if the variant has a projection: r = h P. Source: Sak et al. 2014, eq. 7."""
    if "proj" not in params:
        return state
    return state._replace(h=state.h @ params["proj"].astype(state.h.dtype))


def initial(spec: CellSpec, params: Params, zx: jax.Array, h_dtype: DTypeLike) -> State:
    """Returns the zero state for pre-activations zx [B,GH].

    The zeros are computed from zx, so that under shard_map they vary over the same devices as zx.
    """
    R, _, H = params["wh"].shape
    c = promote_float(jnp.zeros_like(zx[:, :H]))
    gates = jnp.tile(c, (1, 3)) if spec.gate_recurrence else None
    return State(jnp.zeros_like(zx[:, :R]).astype(h_dtype), c, gates)


def init(spec: CellSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws the parameters of a cell.

    Args:
      spec: the variant.
      key: a jax.random key.
      D: input features.
      H: hidden units.

    Returns:
      `wx [D,G,H]`, `wh [R,G,H]`, `b [G,H]` for the G gates that the variant has, in the order
      i, f, o, g, and R = H without projection. By spec also `peephole [P,H]`; `wg [3H,3,H]`, whose
      rows are the previous i, f, o; gains `ln_x [G,H]`, `ln_h [G,H]`, and gain and bias
      `ln_c [2,H]`; `proj [H,R]`; `wm_x [D,R]` and `wm_h [R,R]` of the multiplicative cell.
    """
    key_gates, key_peephole, key_recurrence = jax.random.split(key, 3)
    R, G = projected(spec, H), len(spec.gates) + 1
    params = init_gates(spec.init, key_gates, D, H, G, R)
    # fold_in, not one more split: a variant's new parameters leave the draws of the others alone.
    params["b"] = params["b"] + _memory_bias(spec, jax.random.fold_in(key_gates, 1), H)
    if spec.peephole:
        keys = jax.random.split(key_peephole, len(spec.peephole))
        params["peephole"] = jnp.stack([init_vector(spec.init, k, H) for k in keys])
    if spec.gate_recurrence:
        matrices = [
            [init_matrix(spec.init, k, (H, H), H, recurrent=True) for k in jax.random.split(row, 3)]
            for row in jax.random.split(key_recurrence, 3)
        ]
        params["wg"] = jnp.concatenate([jnp.stack(row, 1) for row in matrices])
    if spec.layer_norm:
        params |= {name: jnp.ones((G, H), jnp.float32) for name in ("ln_x", "ln_h")}
        params["ln_c"] = jnp.ones((2, H), jnp.float32).at[1].set(0.0)
    if spec.projection:
        key_projection = jax.random.fold_in(key_gates, 2)
        params["proj"] = init_matrix(spec.init, key_projection, (H, R), H, recurrent=False)
    if spec.multiplicative:
        key_x, key_h = jax.random.split(jax.random.fold_in(key_gates, 3))
        params["wm_x"] = init_matrix(spec.init, key_x, (D, R), H, recurrent=False)
        params["wm_h"] = init_matrix(spec.init, key_h, (R, R), H, recurrent=True)
    return params


def projected(spec: CellSpec, H: int) -> int:
    """Returns R, the width of h."""
    return max(1, round(spec.projection * H)) if spec.projection else H


def _memory_bias(spec: CellSpec, key: jax.Array, H: int) -> jax.Array:
    """Returns the addition to the biases [G,H] that makes a new cell remember."""
    bias = jnp.zeros((len(spec.gates) + 1, H), jnp.float32)
    remember = jnp.full((H,), spec.forget_bias, jnp.float32)
    if sets_memory_bias(spec.init):
        remember = chrono_bias(spec.init, key, H)
        if "i" in spec.gates and "f" in spec.gates:
            bias = bias.at[spec.gates.index("i")].set(-remember)
    if "f" in spec.gates:
        return bias.at[spec.gates.index("f")].set(remember)
    # With f = 1 - i, a negative bias of i is a positive one of f.
    return bias.at[spec.gates.index("i")].set(-remember) if spec.coupled else bias


GATED_LSTM: Cell = Cell(init, project, recur, pointwise, emit, initial)

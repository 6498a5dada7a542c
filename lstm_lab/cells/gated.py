"""The gate algebra: one equation that expresses the LSTM family, and a variant as its data.

For h', c' of the step before, the logistic function s and the elementwise product *:

    i = s(x Wi + h' Ui + pi * c' + bi)      f = s(x Wf + h' Uf + pf * c' + bf)
    g = a(x Wg + h' Ug + bg)                c = f * c' + i * g
    o = s(x Wo + h' Uo + po * c + bo)       h = o * b(c)

Gate order is i, f, o, g: the sigmoid gates first and contiguous, so that one slice and one sigmoid
serve them. A gate that a variant lacks owns no weights. Other libraries order them so:

    lstm_lab  i f o g        ONNX     i o f c (c is g)
    PyTorch   i f g o        Keras    i f c o (c is g)
    cuDNN     i f g o

Beyond Greff et al., by fields of `CellSpec`: layer normalization, a projection of h, the
multiplicative intermediate state, a coupled gate with an offset, and regularisers.

Source: Greff et al. 2017, LSTM: A Search Space Odyssey, section II and its variants in section III.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Cell, Params, State, promote_float
from lstm_lab.cells.initializers import (
    check_init,
    chrono_bias,
    init_gates,
    init_matrix,
    init_vector,
)
from lstm_lab.cells.masks import Noise, RecurrentDropout, mix, refuse_noise

Activation = Literal["tanh", "identity", "sigmoid", "relu"]

SIGMOID_GATES = "ifo"

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}


@dataclass(frozen=True)
class CellSpec:
    """A member of the LSTM family, as data.

    Attributes:
      gates: which of the sigmoid gates i, f, o have weights; an absent one is the constant 1.
      coupled: one of i and f has weights and the other is the rest to 1.
      coupled_offset: b in the coupled gate 1 - s(z - b), for pre-activations z of its partner.
      peephole: which of the gates present read the cell state (i, f the old one, o the new one).
      gate_recurrence: each sigmoid gate also reads the i, f, o of the step before.
      candidate: activation a of the candidate g.
      output: activation b of the cell state.
      forget_bias: added to the forget gate's initial bias; where f is coupled to i, taken from the
        input gate's. Zero where a variant has neither.
      init: initialiser of every matrix, gate by gate: see `init_matrix`.
      layer_norm: normalize x W and h' U over all gates, and c where h reads it.
      projection: width of h as a share of H; 0 is no projection.
      multiplicative: the recurrent product reads (x Wm) * (h' Um) in place of h'.
      zoneout: c and h keep their old value at rates `zoneout_c` and `zoneout_h`.
      recurrent_dropout: `variational` drops h' by one mask a sequence, `variational_untied` by one
        for each gate; `semeniuta` drops the candidate at each step, `semeniuta_sequence` by one
        mask a sequence.
      weight_drop: DropConnect on the recurrent matrix, one mask for a batch.
      cell: the functions; replace one to write a variant of your own.
    """

    gates: str = SIGMOID_GATES
    coupled: bool = False
    coupled_offset: float = 0.0
    peephole: str = ""
    gate_recurrence: bool = False
    candidate: Activation = "tanh"
    output: Activation = "tanh"
    forget_bias: float = 0.0
    init: str = "orthogonal"
    layer_norm: bool = False
    projection: float = 0.0
    multiplicative: bool = False
    zoneout: bool = False
    recurrent_dropout: RecurrentDropout | None = None
    weight_drop: bool = False
    cell: Cell = field(default_factory=lambda: GATED_LSTM, repr=False)

    def __post_init__(self) -> None:
        for name, value, among in (
            ("gates", self.gates, SIGMOID_GATES),
            ("peephole", self.peephole, self.gates),
        ):
            if value != "".join(gate for gate in among if gate in value):
                raise ValueError(f"{name}: got {value!r}, expected a subset of {among!r} in order")
        allowed: tuple[tuple[str, str | None, tuple[str | None, ...]], ...] = (
            ("candidate", self.candidate, get_args(Activation)),
            ("output", self.output, get_args(Activation)),
            ("recurrent_dropout", self.recurrent_dropout, (None, *get_args(RecurrentDropout))),
        )
        for name, found, choices in allowed:
            if found not in choices:
                raise ValueError(f"{name}: got {found!r}, expected {', '.join(map(str, choices))}")
        if not 0.0 <= self.projection < 1.0:
            raise ValueError(f"projection: got {self.projection}, expected 0 or more and below 1")
        check_init(self.init)
        for meaningless, reason in self._meaningless():
            if meaningless:
                raise ValueError(reason)

    def _meaningless(self) -> tuple[tuple[bool, str], ...]:
        """Returns the combinations that have no meaning, each with its reason."""
        both = "f" in self.gates and "i" in self.gates
        neither = "f" not in self.gates and "i" not in self.gates
        return (
            (
                self.coupled and (both or neither),
                f"coupled: needs gates with one of i and f, got {self.gates!r}",
            ),
            (
                self.coupled_offset != 0.0 and not self.coupled,
                f"coupled_offset: got {self.coupled_offset}, and no gate is coupled",
            ),
            (
                self.gate_recurrence and self.gates != SIGMOID_GATES,
                f"gate_recurrence: needs gates 'ifo', got {self.gates!r}",
            ),
            (
                bool(self.forget_bias) and not (self.coupled or "f" in self.gates),
                f"forget_bias: got {self.forget_bias} without a forget gate",
            ),
            (
                self.init.startswith("chrono") and neither,
                f"init: {self.init} sets the biases of i and f, found gates {self.gates!r}",
            ),
            (
                self.init.startswith("chrono") and bool(self.forget_bias),
                f"forget_bias: {self.init} sets the forget bias, got {self.forget_bias} as well",
            ),
            (
                self.zoneout and bool(self.projection),
                "zoneout: keeps units of h, and with a projection h is no longer made of units",
            ),
            (
                self.multiplicative and self.recurrent_dropout == "variational_untied",
                "recurrent_dropout: variational_untied needs a product for each gate, and the "
                "multiplicative cell makes its intermediate state for all of them at once",
            ),
        )


def init(spec: CellSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws the parameters of a cell.

    Args:
      spec: the variant.
      key: a jax.random key.
      D: input features.
      H: hidden units.

    Returns:
      `wx [D,G,H]`, `wh [R,G,H]`, `b [G,H]` with G gates in the order i, f, o, g less those absent,
      and R = H without projection; by spec `peephole [P,H]`, `wg [3H,3,H]`, whose rows are the
      previous i, f, o, gains `ln_x [G,H]`, `ln_h [G,H]` and gain and bias `ln_c [2,H]`,
      `proj [H,R]`, and `wm_x [D,R]` and `wm_h [R,R]` of the multiplicative cell.
    """
    key_gates, key_peephole, key_recurrence = jax.random.split(key, 3)
    R, G = projected(spec, H), len(spec.gates) + 1
    params = init_gates(spec.init, key_gates, D, H, G, R)
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
        params |= {"ln_x": jnp.ones((G, H)), "ln_h": jnp.ones((G, H))}
        params["ln_c"] = jnp.stack([jnp.ones((H,)), jnp.zeros((H,))])
    if spec.projection:
        key_projection = jax.random.fold_in(key_gates, 2)
        params["proj"] = init_matrix(spec.init, key_projection, (H, R), H, recurrent=False)
    if spec.multiplicative:
        key_x, key_h = jax.random.split(jax.random.fold_in(key_gates, 3))
        params["wm_x"] = init_matrix(spec.init, key_x, (D, R), H, recurrent=False)
        params["wm_h"] = init_matrix(spec.init, key_h, (R, R), H, recurrent=True)
    return params


def projected(spec: CellSpec, H: int) -> int:
    """Returns the width R of h."""
    return max(1, round(spec.projection * H)) if spec.projection else H


def _memory_bias(spec: CellSpec, key: jax.Array, H: int) -> jax.Array:
    """Returns what is added to the biases [G,H] so that a new cell remembers."""
    bias = jnp.zeros((len(spec.gates) + 1, H))
    remember = jnp.full((H,), spec.forget_bias)
    if spec.init.startswith("chrono"):
        remember = chrono_bias(spec.init, key, H)
        if "i" in spec.gates and "f" in spec.gates:
            bias = bias.at[spec.gates.index("i")].set(-remember)
    if "f" in spec.gates:
        return bias.at[spec.gates.index("f")].set(remember)
    return bias.at[spec.gates.index("i")].set(-remember) if spec.coupled else bias


def project(spec: Any, params: Params, x: jax.Array) -> jax.Array:
    """Computes x W + b for all gates: [...,D] -> [...,GH], in the dtype of x.

    With layer normalization gain * LN(x W) + b; the multiplicative cell appends x Wm [...,R].
    """
    b = params["b"].astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    zx = x @ flat(params["wx"], x.dtype)
    if "ln_x" in params:
        zx = normalize(zx, params["ln_x"])
    if "wm_x" in params:
        return jnp.concatenate([zx + b, x @ params["wm_x"].astype(x.dtype)], -1)
    return zx + b


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


def flat(w: jax.Array, dtype: Any) -> jax.Array:
    """Returns a matrix of all gates [D,G,H] as one of [D,GH], which XLA multiplies faster."""
    return w.astype(dtype).reshape(w.shape[0], -1)


def recur(
    spec: Any, params: Params, zx: jax.Array, state: State, noise: Noise | None = None
) -> jax.Array:
    """Computes h' U for all gates, and the gate recurrence where a variant has one: [B,GH]."""
    h, wh = state.h, params["wh"].astype(state.h.dtype)
    mask = getattr(noise, "recurrent", None)  # a user's pointwise may take noise of its own
    if mask is not None and mask.ndim == 3:
        masked_BGR = h[:, None] * mask.astype(h.dtype)
        zh = jnp.einsum("bgr,rgh->bgh", masked_BGR, wh).reshape(h.shape[0], -1)
    else:
        h = h if mask is None else h * mask.astype(h.dtype)
        if "wm_h" in params:
            h = zx[:, -h.shape[1] :].astype(h.dtype) * (h @ params["wm_h"].astype(h.dtype))
        zh = h @ flat(params["wh"], h.dtype)
    if "ln_h" in params:
        zh = normalize(zh, params["ln_h"])
    if state.gates is not None:
        zg = state.gates.astype(zx.dtype) @ flat(params["wg"], zx.dtype)
        zh = zh + jnp.pad(zg, ((0, 0), (0, zh.shape[1] - zg.shape[1])))
    return zh


def pointwise(
    spec: CellSpec,
    params: Params,
    zx: jax.Array,
    zh: jax.Array,
    state: State,
    noise: Noise | None = None,
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes the gates and the new state from the pre-activations, in float32 or wider.

    Args:
      spec: the variant.
      params: what `init` returned.
      zx: the input's part [B,GH].
      zh: the carried state's part [B,GH].
      state: the carried state.
      noise: what the variant's regularisers draw on (cells/masks.py), or None.
      clamp: values for gates that are pinned, by name.

    Returns:
      The new state, and the gates by name, each [B,H]; an absent gate is not among them.

    Raises:
      ValueError: for noise that no regulariser takes, or a gate to clamp that the variant lacks.
    """
    if not (spec.zoneout or spec.recurrent_dropout):
        refuse_noise(noise)
    coupled = ("f" if "i" in spec.gates else "i") if spec.coupled else ""
    clamp = check_clamp(clamp, [*spec.gates, *coupled, "g"])
    assert state.c is not None
    H = state.c.shape[1]
    z = promote_float(zx[:, : zh.shape[1]]) + promote_float(zh)
    # Only an output gate with a peephole has to wait for the new c.
    late = "o" if "o" in spec.peephole else ""
    early = spec.gates.removesuffix(late)
    z_early = _with_peepholes(spec, params, z, state.c, early)
    gates = _pinned(clamp, early, jax.nn.sigmoid(z_early), H)
    if coupled:
        partner = early.index("i" if coupled == "f" else "f")
        z_coupled = z_early[:, partner * H : (partner + 1) * H]
        gates[coupled] = clamp_gate(clamp, coupled, jax.nn.sigmoid(spec.coupled_offset - z_coupled))
    gates["g"] = clamp_gate(clamp, "g", _ACTIVATIONS[spec.candidate](z[:, -H:]))
    g = gates["g"]
    if noise is not None and noise.candidate is not None:
        g = g * noise.candidate.astype(g.dtype)
    kept = gates["f"] * state.c if "f" in gates else state.c
    c = kept + (gates["i"] * g if "i" in gates else g)
    z_late = _with_peepholes(spec, params, z, c, late)
    gates |= _pinned(clamp, late, jax.nn.sigmoid(z_late), H)
    recurrent_product = (
        c if "ln_c" not in params else normalize(c, params["ln_c"][0], params["ln_c"][1])
    )
    h = _ACTIVATIONS[spec.output](recurrent_product)
    h = (gates["o"] * h if "o" in gates else h).astype(state.h.dtype)
    recurrent = jnp.concatenate([gates[k] for k in "ifo"], 1) if spec.gate_recurrence else None
    if noise is not None:
        h, c = mix(noise.zoneout_h, state.h, h), mix(noise.zoneout_c, state.c, c)
    return State(h, c, recurrent), gates


def _pinned(
    clamp: Mapping[str, float], names: str, gates: jax.Array, H: int
) -> dict[str, jax.Array]:
    """Splits gates [B,NH] by name, with pinned values in their places."""
    return {
        name: clamp_gate(clamp, name, gates[:, k * H : (k + 1) * H]) for k, name in enumerate(names)
    }


def _with_peepholes(
    spec: CellSpec, params: Params, z: jax.Array, c: jax.Array, names: str
) -> jax.Array:
    """Returns the pre-activations of the gates in `names`, contiguous in z, with peepholes on c."""
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


def emit(spec: CellSpec, params: Params, state: State) -> State:
    """Projects h, where the variant does: r = h P. Source: Sak et al. 2014, eq. 7."""
    if "proj" not in params:
        return state
    return state._replace(h=state.h @ params["proj"].astype(state.h.dtype))


def check_clamp(clamp: Mapping[str, float] | None, present: list[str]) -> Mapping[str, float]:
    """Returns the values to pin, none by default; raises ValueError for a gate not present."""
    for name in clamp or {}:
        if name not in present:
            raise ValueError(f"clamp: got gate {name!r}, expected {', '.join(present)}")
    return clamp or {}


def clamp_gate(clamp: Mapping[str, float], name: str, gate: jax.Array) -> jax.Array:
    """Returns the gate, or its pinned value in its place."""
    return jnp.full_like(gate, clamp[name]) if name in clamp else gate


def initial(spec: CellSpec, params: Params, zx: jax.Array, h_dtype: Any) -> State:
    """Returns the zero state for pre-activations zx [B,GH].

    Derived from zx, so that it varies over devices wherever zx does.
    """
    R, _, H = params["wh"].shape
    c = promote_float(jnp.zeros_like(zx[:, :H]))
    gates = jnp.tile(c, (1, 3)) if spec.gate_recurrence else None
    return State(jnp.zeros_like(zx[:, :R]).astype(h_dtype), c, gates)


GATED_LSTM: Cell = Cell(init, project, recur, pointwise, emit, initial)

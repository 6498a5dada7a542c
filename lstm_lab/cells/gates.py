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

Source: Greff et al. 2017, LSTM: A Search Space Odyssey, section II and its variants in section III.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Cell, Params, State, identity, wide

Activation = Literal["tanh", "identity", "sigmoid", "relu"]

SIGMOID_GATES = "ifo"

_ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "tanh": jnp.tanh,
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
}
_INIT = re.compile(r"(uniform|normal)\((\d*\.?\d+(?:e-?\d+)?)\)|uniform|orthogonal|glorot")
_INIT_ALLOWED = "uniform, uniform(SCALE), normal(STD), glorot, orthogonal"


@dataclass(frozen=True)
class CellSpec:
    """A member of the LSTM family, as data.

    Attributes:
      gates: which of the sigmoid gates i, f, o have weights; an absent one is the constant 1.
      coupled: f = 1 - i instead of weights of its own; `gates` then omits f.
      peephole: which of the gates present read the cell state (i, f the old one, o the new one).
      gate_recurrence: each sigmoid gate also reads the i, f, o of the step before.
      candidate: activation a of the candidate g.
      output: activation b of the cell state.
      forget_bias: added to the forget gate's initial bias; with `coupled`, taken from the input
        gate's. Zero where a variant has neither.
      init: initialiser of every matrix, gate by gate: see `initialise`.
      cell: the five functions; replace one to write a variant of your own.
    """

    gates: str = SIGMOID_GATES
    coupled: bool = False
    peephole: str = ""
    gate_recurrence: bool = False
    candidate: Activation = "tanh"
    output: Activation = "tanh"
    forget_bias: float = 0.0
    init: str = "orthogonal"
    cell: Cell = field(default_factory=lambda: ALGEBRA, repr=False)

    def __post_init__(self) -> None:
        for name, value, among in (
            ("gates", self.gates, SIGMOID_GATES),
            ("peephole", self.peephole, self.gates),
        ):
            if value != "".join(gate for gate in among if gate in value):
                raise ValueError(f"{name}: found {value!r}, allowed a subset of {among!r} in order")
        for name, value in (("candidate", self.candidate), ("output", self.output)):
            if value not in _ACTIVATIONS:
                raise ValueError(
                    f"{name}: found {value!r}, allowed {', '.join(get_args(Activation))}"
                )
        if self.coupled and ("f" in self.gates or "i" not in self.gates):
            raise ValueError(f"coupled: needs gates with i and without f, found {self.gates!r}")
        if self.gate_recurrence and self.gates != SIGMOID_GATES:
            raise ValueError(f"gate_recurrence: needs gates 'ifo', found {self.gates!r}")
        if self.forget_bias and not (self.coupled or "f" in self.gates):
            raise ValueError(f"forget_bias: found {self.forget_bias} without a forget gate")
        check_init(self.init)


def check_init(init: str) -> None:
    """Raises ValueError for an initialiser that `initialise` does not know."""
    if not _INIT.fullmatch(init):
        raise ValueError(f"init: found {init!r}, allowed {_INIT_ALLOWED}")


def initialise(
    init: str, key: jax.Array, shape: tuple[int, int], H: int, *, recurrent: bool
) -> jax.Array:
    """Draws one gate's matrix.

    uniform: U(-1/sqrt(H), 1/sqrt(H)) (PyTorch); uniform(s): U(-s, s); normal(s): N(0, s^2);
    glorot: Glorot and Bengio 2010; orthogonal: orthogonal for the recurrent matrices, glorot for
    the others (Keras, Flax).

    Args:
      init: one of the above.
      key: a jax.random key.
      shape: [rows, columns] of the matrix.
      H: hidden units.
      recurrent: whether the matrix multiplies the carried state.

    Returns:
      A float32 array of that shape.
    """
    name, _, argument = init.rstrip(")").partition("(")
    if name == "uniform":
        scale = float(argument) if argument else H**-0.5
        return jax.random.uniform(key, shape, minval=-scale, maxval=scale)
    if name == "normal":
        return float(argument) * jax.random.normal(key, shape)
    if name == "orthogonal" and recurrent:
        return jax.nn.initializers.orthogonal()(key, shape)
    return jax.nn.initializers.glorot_uniform()(key, shape)


def initialise_vector(init: str, key: jax.Array, H: int) -> jax.Array:
    """Draws a bias or peephole vector [H]: random where the initialiser has a scale, else zero."""
    if init.startswith(("uniform", "normal")):
        return initialise(init, key, (1, H), H, recurrent=False)[0]
    return jnp.zeros((H,))


def initialise_gates(
    init: str, key: jax.Array, D: int, H: int, G: int, recurrent_inputs: int | None = None
) -> dict[str, jax.Array]:
    """Draws `wx [D,G,H]`, `wh [H,G,H]` and `b [G,H]`, gate by gate."""
    key_x, key_h, key_b = jax.random.split(key, 3)
    R = H if recurrent_inputs is None else recurrent_inputs
    return {
        "wx": jnp.stack(
            [initialise(init, k, (D, H), H, recurrent=False) for k in jax.random.split(key_x, G)], 1
        ),
        "wh": jnp.stack(
            [initialise(init, k, (R, H), H, recurrent=True) for k in jax.random.split(key_h, G)], 1
        ),
        "b": jnp.stack([initialise_vector(init, k, H) for k in jax.random.split(key_b, G)]),
    }


def init(spec: CellSpec, key: jax.Array, D: int, H: int) -> dict[str, jax.Array]:
    """Draws the parameters of a cell.

    Args:
      spec: the variant.
      key: a jax.random key.
      D: input features.
      H: hidden units.

    Returns:
      `wx [D,G,H]`, `wh [H,G,H]`, `b [G,H]` with G gates in the order i, f, o, g less those absent;
      by spec `peephole [P,H]` and `wg [3H,3,H]`, whose rows are the previous i, f, o.
    """
    key_gates, key_peephole, key_recurrence = jax.random.split(key, 3)
    params = initialise_gates(spec.init, key_gates, D, H, len(spec.gates) + 1)
    if spec.coupled:
        params["b"] = params["b"].at[spec.gates.index("i")].add(-spec.forget_bias)
    elif "f" in spec.gates:
        params["b"] = params["b"].at[spec.gates.index("f")].add(spec.forget_bias)
    if spec.peephole:
        keys = jax.random.split(key_peephole, len(spec.peephole))
        params["peephole"] = jnp.stack([initialise_vector(spec.init, k, H) for k in keys])
    if spec.gate_recurrence:
        matrices = [
            [initialise(spec.init, k, (H, H), H, recurrent=True) for k in jax.random.split(row, 3)]
            for row in jax.random.split(key_recurrence, 3)
        ]
        params["wg"] = jnp.concatenate([jnp.stack(row, 1) for row in matrices])
    return params


def project(spec: Any, params: Params, x: jax.Array) -> jax.Array:
    """Computes x W + b for all gates: [...,D] -> [...,GH], in the dtype of x."""
    del spec
    b = params["b"].astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return x @ flat(params["wx"], x.dtype) + b


def flat(w: jax.Array, dtype: Any) -> jax.Array:
    """Returns a matrix of all gates [D,G,H] as one of [D,GH], which XLA multiplies faster."""
    return w.astype(dtype).reshape(w.shape[0], -1)


def recur(spec: Any, params: Params, zx: jax.Array, state: State) -> jax.Array:
    """Computes h' U for all gates, and the gate recurrence where a variant has one: [B,GH]."""
    zh = state.h @ flat(params["wh"], state.h.dtype)
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
    noise: Any = None,
    clamp: Mapping[str, float] | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Computes the gates and the new state from the pre-activations, in float32 or wider.

    Args:
      spec: the variant.
      params: what `init` returned.
      zx: the input's part [B,GH].
      zh: the carried state's part [B,GH].
      state: the carried state.
      noise: None; the algebra has no regulariser that draws on it.
      clamp: values for gates that are pinned, by name.

    Returns:
      The new state, and the gates by name, each [B,H]; an absent gate is not among them.

    Raises:
      ValueError: for noise, or a gate to clamp that the variant lacks.
    """
    refuse_noise(noise)
    present = [*spec.gates, *("f" if spec.coupled else ""), "g"]
    clamp = check_clamp(clamp, present)
    assert state.c is not None
    z = wide(zx) + wide(zh)
    # Only an output gate with a peephole has to wait for the new c.
    late = "o" if "o" in spec.peephole else ""
    early = _sigmoid_gates(spec, params, z, state.c, spec.gates.removesuffix(late))
    gates = {name: pin(clamp, name, value) for name, value in early.items()}
    if spec.coupled:
        gates["f"] = pin(clamp, "f", 1.0 - gates["i"])
    gates["g"] = pin(clamp, "g", _ACTIVATIONS[spec.candidate](z[:, -state.h.shape[1] :]))
    kept = gates["f"] * state.c if "f" in gates else state.c
    c = kept + (gates["i"] * gates["g"] if "i" in gates else gates["g"])
    for name, value in _sigmoid_gates(spec, params, z, c, late).items():
        gates[name] = pin(clamp, name, value)
    h = _ACTIVATIONS[spec.output](c)
    h = gates["o"] * h if "o" in gates else h
    recurrent = jnp.concatenate([gates[k] for k in "ifo"], 1) if spec.gate_recurrence else None
    return State(h.astype(state.h.dtype), c, recurrent), gates


def _sigmoid_gates(
    spec: CellSpec, params: Params, z: jax.Array, c: jax.Array, names: str
) -> dict[str, jax.Array]:
    """Computes the sigmoid gates in `names`, contiguous in z, each with its peephole on c."""
    if not names:
        return {}
    H = c.shape[1]
    first = spec.gates.index(names[0])
    z = z[:, first * H : (first + len(names)) * H]
    if any(name in spec.peephole for name in names):
        rows = [
            params["peephole"][spec.peephole.index(name)]
            if name in spec.peephole
            else jnp.zeros((H,), c.dtype)
            for name in names
        ]
        z = z + jnp.concatenate(rows).astype(c.dtype)[None] * jnp.concatenate([c] * len(names), 1)
    gates = jax.nn.sigmoid(z)
    return {name: gates[:, k * H : (k + 1) * H] for k, name in enumerate(names)}


def refuse_noise(noise: Any) -> None:
    """Raises ValueError for noise, in a cell without regularisers."""
    if noise is not None:
        raise ValueError("noise: the variant has no regulariser that takes it")


def check_clamp(clamp: Mapping[str, float] | None, present: list[str]) -> Mapping[str, float]:
    """Returns the values to pin, none by default; raises ValueError for a gate not present."""
    for name in clamp or {}:
        if name not in present:
            raise ValueError(f"clamp: found gate {name!r}, allowed {', '.join(present)}")
    return clamp or {}


def pin(clamp: Mapping[str, float], name: str, gate: jax.Array) -> jax.Array:
    """Returns the gate, or its pinned value in its place."""
    return jnp.full_like(gate, clamp[name]) if name in clamp else gate


def initial(spec: CellSpec, params: Params, zx: jax.Array, h_dtype: Any) -> State:
    """Returns the zero state for pre-activations zx [B,GH].

    Derived from zx, so that it varies over devices wherever zx does.
    """
    zero = jnp.zeros_like(zx[:, : params["wh"].shape[-1]])
    c = wide(zero)
    gates = jnp.tile(c, (1, 3)) if spec.gate_recurrence else None
    return State(zero.astype(h_dtype), c, gates)


ALGEBRA: Cell = Cell(init, project, recur, pointwise, identity, initial)

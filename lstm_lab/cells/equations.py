"""The equations of every variant, generated from its spec.

In: a spec of the catalogue. Out: the equations of one time step in their order, which can be
written as text or LaTeX and computed with NumPy. A test computes them with the parameters of the
cell and compares the result with `step`, so that an equation that is written down is the one that
is trained. Read next: cells/describe.py, which puts them on one page with the rest of a variant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import get_args

import numpy as np

from lstm_lab.cells.baselines import GRU, MGU, RNN, GRUSpec, MGUSpec, RNNSpec
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.expressions import (
    Array,
    Call,
    Equation,
    Expression,
    Function,
    Join,
    Maximum,
    Number,
    Old,
    Part,
    Value,
    Weight,
)
from lstm_lab.cells.gated import GATED_LSTM, Activation
from lstm_lab.cells.minlstm import MINLSTM, MinLSTMSpec
from lstm_lab.cells.slstm import SLSTM, SLSTMSpec
from lstm_lab.cells.spec import CellSpec

# What the names in the equations mean, except for the parameters and the gates. A key stands for
# names that continue with a gate, too: d_h for d_hi, D for D_i.
SYMBOLS = {
    "x": "input of the step",
    "d_x": "dropout mask of the input, one per sequence: 0 or 1 / (1 - rate)",
    "d_h": "dropout mask of the hidden state, one per sequence: 0 or 1 / (1 - rate)",
    "d_g": "dropout mask of the candidate: 0 or 1 / (1 - rate)",
    "D": "DropConnect mask of the recurrent matrix, one per batch: 0 or 1 / (1 - rate)",
    "k_c": "zoneout mask of the cell state, 1 keeps the old value; in evaluation its rate",
    "k_h": "zoneout mask of the hidden state, 1 keeps the old value; in evaluation its rate",
    "u": "input product of all gates, normalized; u_i is its part for i",
    "v": "recurrent product of all gates, normalized; v_i is its part for i",
    "m": "intermediate state",
    "s": "value that two gates share",
}
_SLSTM_SYMBOLS = {
    "x": SYMBOLS["x"],
    "l": "logarithm of the forget gate",
    "m": "stabilizer: it keeps the exponentials in range and cancels in h",
    "n": "normalizer",
}


def equations(spec: Spec) -> tuple[Equation, ...]:
    """Returns the equations of one time step, in the order of their computation.

    Args:
      spec: a variant with one of the package's own cells.

    Raises:
      ValueError: for a spec with other functions, whose equations the package does not know.
    """
    known: tuple[tuple[object, Callable[..., tuple[Equation, ...]]], ...] = (
        (GATED_LSTM, _gated),
        (RNN, _rnn),
        (GRU, _gru),
        (MGU, _mgu),
        (SLSTM, _slstm),
        (MINLSTM, _minlstm),
    )
    for cell, write in known:
        if spec.cell is cell:
            return write(spec)
    name = type(spec).__name__
    raise ValueError(f"cell: got a {name} with functions of its own, expected a cell of lstm_lab")


def symbols(spec: Spec) -> dict[str, str]:
    """Returns the meaning of the names in a variant's equations, without parameters and gates."""
    words = {e.result.name for e in equations(spec)} | {"x"}
    words |= set(re.findall(r"\b[dDk](?:_\w+)?\b", " ".join(e.text for e in equations(spec))))
    known = _SLSTM_SYMBOLS if isinstance(spec, SLSTMSpec) else SYMBOLS
    meanings: dict[str, str] = {}
    for key, meaning in known.items():
        pattern = rf"{key}[a-z]|{key}_[a-z]|{key}"
        names = sorted(word for word in words if re.fullmatch(pattern, word))
        meanings |= {", ".join(names): meaning} if names else {}
    return meanings


def named_parameters(spec: Spec, params: Mapping[str, Array]) -> dict[str, Array]:
    """Splits the arrays of a cell into the parameters of the equations, by their names.

    Args:
      spec: the variant.
      params: the arrays that `spec.cell.init` drew, or arrays of their shapes.

    Returns:
      Matrices such as W_i [D,H] and vectors such as b_i [H].
    """
    named: dict[str, Array] = {}
    for k, gate in enumerate(gate_names(spec)):
        index = f"_{gate}" if gate else ""
        named[f"W{index}"], named[f"b{index}"] = params["wx"][:, k], params["b"][k]
        if isinstance(spec, SLSTMSpec):
            named[f"U{index}"] = _block_diagonal(params["wh"][:, :, k])
        elif "wh" in params:
            named[f"U{index}"] = params["wh"][:, k]
    if not isinstance(spec, CellSpec):
        return named | ({"b_hn": params["bn"]} if "bn" in params else {})
    named |= {f"p_{gate}": params["peephole"][k] for k, gate in enumerate(spec.peephole)}
    if spec.gate_recurrence:
        H = params["wg"].shape[-1]
        blocks = params["wg"].reshape(3, H, 3, H)
        named |= {
            f"R_{old}{new}": blocks[i, :, j]
            for i, old in enumerate(spec.gates)
            for j, new in enumerate(spec.gates)
        }
    if spec.layer_norm:
        named |= {"gain_x": params["ln_x"].ravel(), "gain_h": params["ln_h"].ravel()}
        named |= {"gain_c": params["ln_c"][0], "bias_c": params["ln_c"][1]}
        # One norm spans all gates, so their matrices stand side by side.
        if spec.recurrent_dropout != "variational_untied":
            for letter, array in (("W", "wx"), ("U", "wh")):
                for gate in gate_names(spec):
                    del named[f"{letter}_{gate}"]
                named[letter] = params[array].reshape(len(params[array]), -1)
    single = (("P", "proj"), ("W_m", "wm_x"), ("U_m", "wm_h"))
    return named | {name: params[array] for name, array in single if array in params}


def gate_names(spec: Spec) -> tuple[str, ...]:
    """Returns the gates and the candidate in the order of the arrays; "" for the simple RNN."""
    match spec:
        case CellSpec():
            return (*spec.gates, "g")
        case GRUSpec():
            return ("r", "z", "n")
        case MGUSpec():
            return ("f", "n")
        case SLSTMSpec():
            return ("i", "f", "o", "g")
        case MinLSTMSpec():
            return ("i", "f", "g")
        case _:
            return ("",)


def _block_diagonal(blocks: Array) -> Array:
    """Puts square blocks [N,K,K] on the diagonal of a matrix [N*K,N*K]."""
    N, K, _ = blocks.shape
    whole = np.zeros((N, K, N, K), blocks.dtype)
    for k, block in enumerate(blocks):
        whole[k, :, k] = block
    return whole.reshape(N * K, N * K)


def _sum(*terms: Expression) -> Expression:
    return reduce(lambda left, right: left + right, terms)


def _activation(name: Activation, z: Expression) -> Expression:
    assert name in get_args(Activation)
    return z if name == "identity" else Call(name, z)


def _gate(name: str, z: Expression, function: Function = "sigmoid") -> Equation:
    return Equation(Value(name), Call(function, z))


def _affine(gate: str) -> Expression:
    """Returns x W + h' U + b of a gate."""
    return _sum(Value("x") @ Weight("W", gate), Old("h") @ Weight("U", gate), Weight("b", gate))


def _gated(spec: CellSpec) -> tuple[Equation, ...]:
    """Writes the equations of the LSTM family. Source: cells/gated.py."""
    before = [gate for gate in spec.gates if gate != "o" or "o" not in spec.peephole]
    written = _products(spec)
    for gate in before:
        written += _sigmoid_gates(spec, gate)
    written.append(Equation(Value("g"), _activation(spec.candidate, _preactivation(spec, "g"))))
    written.append(_cell_state(spec))
    if len(before) < len(spec.gates):
        written += _sigmoid_gates(spec, "o")
    return (*written, *_hidden_state(spec))


def _products(spec: CellSpec) -> list[Equation]:
    """Returns the equations before the gates: the intermediate state, the normalized products."""
    written = []
    if spec.multiplicative:
        from_h = _masked_h(spec, "") @ Weight("U", "m")
        written.append(Equation(Value("m"), (_x(spec) @ Weight("W", "m")) * from_h))
    if spec.layer_norm:
        if spec.recurrent_dropout == "variational_untied":
            gates = gate_names(spec)
            product: Expression = Join(tuple(_recurrent(spec, gate) for gate in gates))
            inputs: Expression = Join(tuple(_x(spec, gate) @ Weight("W", gate) for gate in gates))
        else:
            product, inputs = _recurrent(spec, ""), _x(spec) @ Weight("W")
        from_x = Call("normalize", inputs)
        written.append(Equation(Value("u"), Weight("gain", "x") * from_x))
        written.append(Equation(Value("v"), Weight("gain", "h") * Call("normalize", product)))
    return written


def _x(spec: CellSpec, gate: str = "") -> Expression:
    match spec.recurrent_dropout:
        case "variational":
            return Weight("d", "x") * Value("x")
        case "variational_untied":
            return Weight("d", f"x{gate}") * Value("x")
        case _:
            return Value("x")


def _masked_h(spec: CellSpec, gate: str) -> Expression:
    match spec.recurrent_dropout:
        case "variational":
            return Weight("d", "h") * Old("h")
        case "variational_untied":
            return Weight("d", f"h{gate}") * Old("h")
        case _:
            return Old("h")


def _recurrent(spec: CellSpec, gate: str) -> Expression:
    """Returns h' U of a gate, or of all gates for ""."""
    read = Value("m") if spec.multiplicative else _masked_h(spec, gate)
    U = Weight("U", gate)
    return read @ (Weight("D", gate) * U if spec.weight_drop else U)


def _preactivation(spec: CellSpec, gate: str) -> Expression:
    """Returns what the activation of a gate, or of the candidate g, is applied to."""
    if spec.layer_norm:
        gates = "".join(gate_names(spec))
        terms: list[Expression] = [Part("u", gate, gates), Part("v", gate, gates)]
    else:
        terms = [_x(spec, gate) @ Weight("W", gate), _recurrent(spec, gate)]
    if spec.gate_recurrence and gate in spec.gates:
        terms += [Old(old) @ Weight("R", old + gate) for old in spec.gates]
    if gate in spec.peephole:
        terms.append(Weight("p", gate) * (Value(_new_c(spec)) if gate == "o" else Old("c")))
    return _sum(*terms, Weight("b", gate))


def _new_c(spec: CellSpec) -> str:
    """Returns the name of the cell state before zoneout, which o and h read."""
    return "c~" if spec.zoneout else "c"


def _sigmoid_gates(spec: CellSpec, gate: str) -> list[Equation]:
    """Returns the equation of a gate, followed by the one of the gate that is coupled to it."""
    z = _preactivation(spec, gate)
    if not spec.coupled or gate not in ("i", "f"):
        return [_gate(gate, z)]
    other = "f" if gate == "i" else "i"
    if not spec.coupled_offset:
        return [_gate(gate, z), Equation(Value(other), Number(1.0) - Value(gate))]
    shared, offset = Value("s"), Number(spec.coupled_offset)
    return [
        Equation(shared, z),
        _gate(gate, shared),
        Equation(Value(other), Number(1.0) - Call("sigmoid", shared - offset)),
    ]


def _cell_state(spec: CellSpec) -> Equation:
    has = {gate: gate in spec.gates or spec.coupled for gate in ("i", "f")}
    candidate: Expression = Value("g")
    if (spec.recurrent_dropout or "").startswith("semeniuta"):
        candidate = Weight("d", "g") * candidate
    kept: Expression = Value("f") * Old("c") if has["f"] else Old("c")
    new = Value("i") * candidate if has["i"] else candidate
    return Equation(Value(_new_c(spec)), kept + new)


def _hidden_state(spec: CellSpec) -> list[Equation]:
    """Returns the equations after the cell state: h, its projection, and zoneout."""
    read: Expression = Value(_new_c(spec))
    if spec.layer_norm:
        read = Weight("gain", "c") * Call("normalize", read) + Weight("bias", "c")
    h = _activation(spec.output, read)
    h = Value("o") * h if "o" in spec.gates else h
    if spec.projection:
        h = h @ Weight("P")
    if not spec.zoneout:
        return [Equation(Value("h"), h)]
    mixed = [
        Equation(
            Value(name),
            Weight("k", name) * Old(name) + (Number(1.0) - Weight("k", name)) * Value(f"{name}~"),
        )
        for name in ("c", "h")
    ]
    return [Equation(Value("h~"), h), *mixed]


def _rnn(spec: RNNSpec) -> tuple[Equation, ...]:
    del spec
    return (_gate("h", _affine(""), "tanh"),)


def _gru(spec: GRUSpec) -> tuple[Equation, ...]:
    inside: Expression = Value("r") * (Old("h") @ Weight("U", "n") + Weight("b", "hn"))
    if spec.reset == "before":
        inside = (Value("r") * Old("h")) @ Weight("U", "n")
    z = Value("z")
    return (
        _gate("r", _affine("r")),
        _gate("z", _affine("z")),
        _gate("n", _sum(Value("x") @ Weight("W", "n"), Weight("b", "n"), inside), "tanh"),
        Equation(Value("h"), (Number(1.0) - z) * Value("n") + z * Old("h")),
    )


def _mgu(spec: MGUSpec) -> tuple[Equation, ...]:
    del spec
    f, inside = Value("f"), (Value("f") * Old("h")) @ Weight("U", "n")
    return (
        _gate("f", _affine("f")),
        _gate("n", _sum(Value("x") @ Weight("W", "n"), inside, Weight("b", "n")), "tanh"),
        Equation(Value("h"), (Number(1.0) - f) * Old("h") + f * Value("n")),
    )


def _slstm(spec: SLSTMSpec) -> tuple[Equation, ...]:
    forget, exponent = Value("f~"), Value("l") + Old("m")
    log_f = Call("log", Call("sigmoid", forget)) if spec.forget == "sigmoid" else forget
    f, i, m = Value("f"), Value("i"), Value("m")
    return (
        Equation(Value("i~"), _affine("i")),
        Equation(forget, _affine("f")),
        _gate("o", _affine("o")),
        _gate("g", _affine("g"), "tanh"),
        Equation(Value("l"), log_f),
        Equation(m, Maximum(exponent, Value("i~"), Old("n"))),
        _gate("i", Value("i~") - m, "exp"),
        _gate("f", exponent - m, "exp"),
        Equation(Value("c"), f * Old("c") + i * Value("g")),
        Equation(Value("n"), f * Old("n") + i),
        Equation(Value("h"), Value("o") * Value("c") / Value("n")),
    )


def _minlstm(spec: MinLSTMSpec) -> tuple[Equation, ...]:
    i, f = Value("i~"), Value("f~")
    z, g = Value("x") @ Weight("W", "g") + Weight("b", "g"), Value("g~")
    candidate = [Equation(Value("g"), z)]
    if spec.candidate == "positive":
        larger = Maximum(g + Number(0.5), Call("sigmoid", g))
        candidate = [Equation(g, z), Equation(Value("g"), larger)]
    return (
        _gate("i~", Value("x") @ Weight("W", "i") + Weight("b", "i")),
        _gate("f~", Value("x") @ Weight("W", "f") + Weight("b", "f")),
        *candidate,
        Equation(Value("i"), i / (f + i)),
        Equation(Value("f"), f / (f + i)),
        Equation(Value("h"), Value("f") * Old("h") + Value("i") * Value("g")),
    )

"""The equations that are written down are those that are computed: NumPy against `step`."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import (
    CATALOGUE,
    CellSpec,
    GRUSpec,
    MinLSTMSpec,
    Noise,
    SLSTMSpec,
    get_variant,
    step,
)
from lstm_lab.cells.equations import equations, gate_names, named_parameters, symbols
from lstm_lab.cells.expressions import evaluate_all
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.cells.masks import drop_weights

pytestmark = pytest.mark.usefixtures("x64", "strict")

B, D, H, T = 3, 5, 8, 4

# Members of the families that are not in the catalogue: combinations of fields, and other options.
COMBINATIONS = {
    "everything normalized": CellSpec(
        layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True, weight_drop=True
    ),
    "normalized products of masks": CellSpec(
        layer_norm=True, recurrent_dropout="variational_untied", candidate="relu", projection=0.5
    ),
    "untied masks": CellSpec(recurrent_dropout="variational_untied", output="sigmoid"),
    "multiplicative with masks": CellSpec(
        multiplicative=True, recurrent_dropout="variational", projection=0.5, layer_norm=True
    ),
    "coupled input gate": CellSpec(gates="fo", coupled=True, coupled_offset=0.7, peephole="fo"),
    "one mask per sequence": CellSpec(gates="f", recurrent_dropout="semeniuta_sequence"),
    "no gates": CellSpec(gates=""),
    "peephole of the input gate": CellSpec(peephole="i", candidate="sigmoid"),
    "slstm with heads": SLSTMSpec(heads=2),
    "slstm with more heads than units in one": SLSTMSpec(heads=4),
    "slstm with an exponential forget gate": SLSTMSpec(forget="exponential"),
    "gru with the reset before the product": GRUSpec(reset="before"),
    "minlstm with a positive candidate": MinLSTMSpec(candidate="positive"),
}
SPECS = {name: variant.spec for name, variant in CATALOGUE.items()} | COMBINATIONS


def draw(spec, seed=0):
    """Returns parameters in float64 without zeros, so that biases and peepholes have an effect."""
    params = spec.cell.init(spec, jax.random.key(seed), D, H)
    numbers = np.random.default_rng(seed)
    return {name: np.asarray(v) + 0.5 * numbers.normal(size=v.shape) for name, v in params.items()}


def draw_masks(spec, numbers):
    """Returns the masks of a step by their names in the equations; none of them is constant."""
    R = draw(spec)["wh"].shape[0] if isinstance(spec, CellSpec) else H
    kind = getattr(spec, "recurrent_dropout", None) or ""
    shapes = {"k_c": H, "k_h": H} if getattr(spec, "zoneout", False) else {}
    if kind.startswith("semeniuta"):
        shapes["d_g"] = H
    if kind.startswith("variational"):
        gates = gate_names(spec) if "untied" in kind else [""]
        shapes |= {f"d_x{gate}": D for gate in gates} | {f"d_h{gate}": R for gate in gates}
    return {name: numbers.integers(0, 2, (B, size)) / 0.7 for name, size in shapes.items()}


def as_noise(spec, masks):
    """Returns the same masks as the argument `noise` of the cell; None without masks."""
    if not {name for name in masks if not name.startswith("d_x")}:
        return None
    recurrent = masks.get("d_h")
    if "d_hg" in masks:
        recurrent = np.stack([masks[f"d_h{gate}"] for gate in gate_names(spec)], 1)
    arrays = (masks.get("k_c"), masks.get("k_h"), recurrent, masks.get("d_g"))
    return Noise(*(None if array is None else jnp.asarray(array) for array in arrays))


def compare(spec, with_masks):
    """Runs the equations and the cell side by side for some steps."""
    numbers, params = np.random.default_rng(1), draw(spec)
    named, dropped = named_parameters(spec, params), jax.tree.map(jnp.asarray, params)
    if getattr(spec, "weight_drop", False):
        dropped = drop_weights({"weight_drop": 0.4 * with_masks}, jax.random.key(3), dropped)
        ratio = named_parameters(spec, {**params, "wh": np.asarray(dropped["wh"]) / params["wh"]})
        named |= {f"D{k[1:]}": v for k, v in ratio.items() if k[0] == "U" and k != "U_m"}
    state, values = None, {}
    for t in range(T):
        x, masks = numbers.normal(size=(B, D)), draw_masks(spec, numbers)
        noise = as_noise(spec, masks)
        if not with_masks:
            masks, noise = {k: np.full_like(v, k[0] != "k") for k, v in masks.items()}, None
        if t == 0:
            zero = spec.cell.initial(spec, dropped, spec.cell.project(spec, dropped, x), x.dtype)
            parts = zero._asdict()
            gates = parts.pop("gates")
            parts |= {} if gates is None else dict.fromkeys("ifo", gates[:, :H])
            values = {k: np.asarray(v) for k, v in parts.items() if v is not None}
        old = {f"{name}'": value for name, value in values.items()}
        values = evaluate_all(equations(spec), {**named, **masks, **old, "x": x})
        values = {name: v for name, v in values.items() if name not in named and "'" not in name}
        masked_x, read = x * masks.get("d_x", 1.0), dropped
        if "d_xg" in masks:
            # Inputs of the gates side by side, and their matrices on the diagonal.
            each = [masks[f"d_x{gate}"] for gate in gate_names(spec)]
            masked_x = np.concatenate([x * mask for mask in each], 1)
            blocks = np.zeros((len(each), D, len(each), H))
            for k in range(len(each)):
                blocks[k, :, k] = params["wx"][:, k]
            read = {**dropped, "wx": jnp.asarray(blocks.reshape(-1, len(each), H))}
        state, gates = step(spec, read, jnp.asarray(masked_x), state, noise)
        expected = {k: v for k, v in state._asdict().items() if v is not None and k != "gates"}
        # While nothing is stored, the forget gate of the sLSTM multiplies zeros.
        skipped = {"f"} if isinstance(spec, SLSTMSpec) and t == 0 else set()
        expected |= {k: v for k, v in gates.items() if k not in skipped}
        for name, value in expected.items():
            np.testing.assert_allclose(values[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("name", SPECS)
def test_the_equations_compute_what_the_cell_computes(name, with_masks):
    compare(SPECS[name], with_masks)


@pytest.mark.parametrize("name", SPECS)
def test_every_parameter_and_symbol_of_an_equation_is_named(name):
    """The parameters have as many numbers as the arrays: none is left out of the equations."""
    spec = SPECS[name]
    params, texts = draw(spec), " ".join(equation.text for equation in equations(spec))
    named = named_parameters(spec, params)
    words = set(texts.translate(str.maketrans("(),[]", "     ")).split())
    assert set(named) <= words
    if not isinstance(spec, SLSTMSpec):  # its matrices have zeros outside of their blocks
        assert sum(v.size for v in named.values()) == sum(v.size for v in params.values())
    computed = {equation.result.name for equation in equations(spec)}
    explained = {name for names in symbols(spec) for name in names.split(", ")}
    assert explained <= words
    parts = {f"{name}_{gate}" for name in "uv" for gate in "ifog"}
    functions = {"sigmoid", "tanh", "relu", "exp", "log", "normalize", "max", "or", "while"}
    unknown = words - functions - set(named) - computed - {f"{name}'" for name in computed}
    unknown -= {word for word in words if word[0].isdigit()} | set("+-*/=") | parts
    assert unknown == explained - computed


def test_equations_as_text_and_latex():
    written = {e.result.name: e for e in equations(get_variant("peephole").spec)}
    assert written["i"].text == "i = sigmoid(x W_i + h' U_i + p_i * c' + b_i)"
    assert written["o"].latex == (
        r"o_{t} = \sigma\left(x_{t}\, W_{o} + h_{t-1}\, U_{o} + p_{o} \odot c_{t} + b_{o}\right)"
    )
    assert [e.text for e in equations(get_variant("gru").spec)][2:] == [
        "n = tanh(x W_n + b_n + r * (h' U_n + b_hn))",
        "h = (1 - z) * n + z * h'",
    ]
    slstm = {e.result.name: e for e in equations(get_variant("slstm").spec)}
    assert slstm["h"].latex == r"h_{t} = \frac{o_{t} \odot c_{t}}{n_{t}}"
    assert slstm["m"].text == "m = max(l + m', i~), or i~ while n' = 0"


def test_a_cell_with_other_functions_has_no_known_equations():
    spec = CellSpec(cell=replace(GATED_LSTM, emit=lambda spec, params, state: state))
    with pytest.raises(ValueError, match=r"^cell: got a CellSpec with functions of its own"):
        equations(spec)

"""One product for all gates computes what the equations say."""

import jax
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec, MinLSTMSpec, SLSTMSpec, get_variant
from lstm_lab.cells.expressions import Old, Value, Weight, evaluate, evaluate_all
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.fused_step import fused_step, step_weights
from lstm_lab.interop.trained_equations import equation_weights, trained_equations
from tests.helpers.layers import layer_of_spec

SPECS = {name: variant.spec for name, variant in CATALOGUE.items()} | {
    "norm of all gates": CellSpec(layer_norm=True, recurrent_dropout="variational_untied"),
    "everything": CellSpec(layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True),
    "projected": CellSpec(peephole="ifo", projection=0.5),
    "norm, coupled": CellSpec(gates="fo", coupled=True, layer_norm=True, multiplicative=True),
    "one gate": CellSpec(gates="f", coupled=True),
    "norm without gates": CellSpec(gates="", layer_norm=True),
    "slstm with heads": SLSTMSpec(heads=2, forget="exponential"),
    "gru with the reset before": GRUSpec(reset="before"),
    "positive minlstm": MinLSTMSpec(candidate="positive"),
}


def test_all_gates_are_one_product_that_is_split():
    step = fused_step(get_variant("peephole").spec, {})
    first, second, *_ = step.lines
    assert first.names == ("z_i", "z_f", "z_o", "z_g")
    x, h = Value("x"), Old("h")
    assert first.expression == x @ Weight("W") + h @ Weight("U") + Weight("b")
    assert second.names == ("i",)
    assert step.weights["U"] == ("U_i", "U_f", "U_o", "U_g")


@pytest.mark.parametrize("name", SPECS)
def test_the_lines_compute_the_equations(name):
    spec = SPECS[name]
    layer = layer_of_spec(spec, inputs=3, units=4)
    numbers = np.random.default_rng(1)
    values = {f"{name}'": numbers.uniform(0.1, 1.0, (2, 4)) for name in ("c", "n", "m", *"ifo")}
    values |= {"h'": numbers.normal(size=(2, layer.outputs)), "x": numbers.normal(size=(2, 3))}
    equations = trained_equations(spec, default_rates(spec))
    expected = evaluate_all(equations, values | equation_weights(layer))
    results = values | step_weights(layer)
    for line in fused_step(spec, layer.rates).lines:
        parts = np.split(evaluate(line.expression, results), len(line.names), axis=-1)
        results |= dict(zip(line.names, parts, strict=True))
    for equation in equations:
        vector = equation.result.name
        np.testing.assert_allclose(results[vector], expected[vector], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", SPECS)
def test_every_number_is_in_one_weight(name):
    layer = layer_of_spec(SPECS[name], inputs=3, units=4)
    numbers = [
        np.sort(np.concatenate([array.ravel() for array in weights.values()]))
        for weights in (step_weights(layer), equation_weights(layer))
    ]
    np.testing.assert_array_equal(*numbers)
    assert len(numbers[0]) >= sum(a.size for a in jax.tree.leaves(layer.params))

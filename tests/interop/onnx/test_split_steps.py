"""Equations in two parts give the same numbers as in one."""

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec
from lstm_lab.cells.expressions import Old, Value, evaluate_all
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.onnx.split_steps import split_equations
from lstm_lab.interop.trained_equations import (
    equation_weights,
    parts,
    state_vectors,
    trained_equations,
)
from tests.helpers.equations import SPECS, B, D, random_layer


@pytest.mark.parametrize("name", SPECS)
def test_both_parts_give_the_numbers_of_the_whole(name):
    numbers = np.random.default_rng(2)
    layer = random_layer(SPECS[name], numbers)
    equations = trained_equations(layer.spec, layer.rates)
    split = split_equations(equations)
    weights = equation_weights(layer)
    old = {
        f"{name}'": numbers.uniform(0.1, 0.9, (B, at.stop - at.start))
        for name, (_, at) in state_vectors(layer).items()
    }
    x_BD = numbers.normal(size=(B, D))
    expected = evaluate_all(equations, {**weights, **old, "x": x_BD})
    # The first part gets no state, the second one neither the input nor anything else of the first.
    before = evaluate_all(split.all_steps, {**weights, "x": x_BD})
    carried = {name: before[name] for name in split.carried}
    results = evaluate_all(split.one_step, {**weights, **old, **carried})
    for name in state_vectors(layer):
        np.testing.assert_allclose(results[name], expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CATALOGUE)
def test_nothing_without_the_state_is_left_in_the_loop(name):
    spec = CATALOGUE[name].spec
    split = split_equations(trained_equations(spec, default_rates(spec)))
    for equation in split.one_step:
        assert Value("x") not in parts(equation.expression)
    assert not any(isinstance(p, Old) for e in split.all_steps for p in parts(e.expression))


def test_the_loop_of_minlstm_is_one_product_and_one_sum():
    spec = CATALOGUE["minlstm"].spec
    split = split_equations(trained_equations(spec, {}))
    assert [e.text for e in split.one_step] == ["h = x_h + f * h'"]
    assert split.carried == ("f", "x_h")


def test_biases_are_added_before_the_loop():
    split = split_equations(trained_equations(CellSpec(gates="f", coupled=True), {}))
    assert [e.text for e in split.all_steps] == ["x_f = x W_f + b_f", "x_g = x W_g + b_g"]
    # A bias next to the state stays with it.
    split = split_equations(trained_equations(GRUSpec(), {}))
    assert "n = tanh(x_n + r * (h' U_n + b_hn))" in [e.text for e in split.one_step]

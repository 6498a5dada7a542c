"""The equations of a trained model give the same numbers as the model."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, MinLSTMSpec, SLSTMSpec
from lstm_lab.cells.cell import State, step
from lstm_lab.cells.expressions import evaluate_all
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.cells.masks import default_rates, expected
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.trained_equations import (
    equation_weights,
    state_vectors,
    trained_equations,
)
from lstm_lab.utils.errors import UserError
from tests.helpers.equations import SPECS, B, D, H, random_layer
from tests.helpers.explain import SCAN, trained
from tests.helpers.training import small_spec


@pytest.mark.parametrize("name", SPECS)
def test_equations_equal_the_step_of_a_trained_model(name):
    numbers = np.random.default_rng(1)
    layer = random_layer(SPECS[name], numbers)
    x = numbers.normal(size=(B, D)).astype(np.float32)
    old = {
        field: numbers.uniform(0.1, 0.9, (B, size)).astype(np.float32)
        for field, size in layer.state_sizes.items()
    }
    noise = expected(layer.spec, layer.rates)
    noise = noise and noise._replace(
        **{k: v[0] for k, v in noise._asdict().items() if v is not None}
    )
    new, _ = step(layer.spec, layer.params, x, State(**old), noise)
    values = {f"{name}'": old[field][:, at] for name, (field, at) in state_vectors(layer).items()}
    results = evaluate_all(
        trained_equations(layer.spec, layer.rates), values | equation_weights(layer) | {"x": x}
    )
    for name, (field, at) in state_vectors(layer).items():
        expected_BH = np.asarray(getattr(new, field))[:, at]
        np.testing.assert_allclose(results[name], expected_BH, rtol=2e-5, atol=2e-6, err_msg=name)


def test_no_mask_remains():
    for name, variant in CATALOGUE.items():
        rates = default_rates(variant.spec)
        text = "\n".join(e.text for e in trained_equations(variant.spec, rates))
        assert not any(mask in text.split() for mask in ("k_c", "k_h", "d_g", "d_x", "d_h")), name


def test_minlstm_does_not_divide_zero_by_zero():
    layer = random_layer(MinLSTMSpec(), np.random.default_rng(0))
    weights = {name: np.zeros_like(array) for name, array in equation_weights(layer).items()}
    weights |= {"b_i": np.full(H, -200.0, np.float32), "b_f": np.full(H, -201.0, np.float32)}
    weights["b_g"] = np.ones(H, np.float32)
    # In float64, since the NumPy form of log(sigmoid(x)) is not stable itself.
    values = {k: v.astype(np.float64) for k, v in weights.items()}
    values |= {"x": np.zeros((B, D)), "h'": np.zeros((B, H))}
    h = evaluate_all(trained_equations(layer.spec, {}), values)["h"]
    np.testing.assert_allclose(h, 1 / (1 + np.exp(-1.0)), rtol=1e-6)


def test_slstm_forgets_nothing_of_an_empty_state():
    layer = random_layer(SLSTMSpec(), np.random.default_rng(0))
    weights = equation_weights(layer) | {"b_i": np.full(H, -1000.0, np.float32)}
    old = {f"{name}'": np.zeros((B, H)) for name in state_vectors(layer)}
    values = {k: v.astype(np.float64) for k, v in weights.items()} | {"x": np.ones((B, D))} | old
    results = evaluate_all(trained_equations(layer.spec, {}), values)
    np.testing.assert_array_equal(results["f"], 1.0)
    np.testing.assert_array_equal(results["c"], results["g"])
    assert np.isfinite(results["h"]).all()


def test_a_cell_with_functions_of_its_own_is_refused_by_name():
    spec = CellSpec(cell=replace(GATED_LSTM, emit=lambda spec, params, state: state))
    with pytest.raises(UserError, match="CellSpec has functions of its own"):
        trained_equations(spec, {})


def test_a_portable_model_holds_what_the_module_holds():
    spec = small_spec(
        task={"name": "dyck", "length": 8, "valid_size": 4, "test_size": 4},
        model={"cell": "peephole", "hidden": 4, "layers": 2, "bidirectional": True},
        **SCAN,
    )
    run = trained(spec)
    model = portable_model(run)
    assert [[layer.name for layer in row] for row in model.layers] == [
        ["layer_0", "layer_0_reverse"],
        ["layer_1", "layer_1_reverse"],
    ]
    assert model.layers[1][0].inputs == 8
    assert model.state_names[:2] == ("layer_0.h", "layer_0.c")
    assert model.streaming_problem == "a bidirectional model needs the end of the sequence"
    np.testing.assert_array_equal(model.kernel_KC, run.params["head"]["kernel"])

"""Lesions whose cost is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import GRUSpec, get_variant
from lstm_lab.explain.lesions import lesion_gates, unsupported_reason
from lstm_lab.models.regularization import Regularization
from lstm_lab.training.device_axis import ONE_DEVICE
from lstm_lab.training.evaluate import evaluate_split
from tests.helpers.explain import SCAN, adding_network, random_params, trained, valid_split
from tests.helpers.training import small_spec


@pytest.fixture(scope="module")
def adder():
    """Returns the hand-built adder, its examples and its lesions."""
    run = adding_network(units=1)
    return run, valid_split(run), lesion_gates(run.spec, run.params, valid_split(run))


def loss(lesions, gate, value, layer="layer_0"):
    (found,) = [
        lesion
        for lesion in lesions.lesions
        if (lesion.layer, lesion.gate, lesion.value) == (layer, gate, value)
    ]
    return found.metrics["mse"]


def test_the_intact_model_has_the_metrics_of_an_evaluation(adder):
    run, examples, lesions = adder
    evaluate = jax.jit(
        lambda params: evaluate_split(
            run.spec, params, Regularization({}), examples, (), ONE_DEVICE
        )
    )
    expected = jax.device_get(evaluate(run.params))
    assert lesions.intact == pytest.approx({k: float(v) for k, v in expected.items()}, rel=1e-5)
    assert lesions.intact["mse"] < 1e-3


def test_gates_that_are_always_open_cost_nothing_and_the_input_gate_costs_all(adder):
    _, examples, lesions = adder
    # f and o have constant pre-activations, so their means are their values.
    assert loss(lesions, "f", "mean") == pytest.approx(lesions.intact["mse"], rel=1e-3)
    assert loss(lesions, "o", "1") == pytest.approx(lesions.intact["mse"], rel=1e-2)
    # With the input gate closed nothing is stored: the output is 0.
    expected = float(np.square(examples.y).mean())
    assert loss(lesions, "i", "0") == pytest.approx(expected, rel=1e-4)
    assert loss(lesions, "o", "0") == pytest.approx(expected, rel=1e-4)
    # Without memory, only the last number can be known.
    assert loss(lesions, "f", "0") > 0.1 * expected
    assert loss(lesions, "i", "mean") > 100 * lesions.intact["mse"]


def test_each_unit_is_fixed_to_its_own_mean():
    """Two gates that are constant over time, with other values in each unit, stay what they are."""
    spec = small_spec(model={"cell": "lstm", "hidden": 4}, **SCAN)
    params = random_params(spec)
    cell = params["lstm"]["layer_0"]
    cell["wx"][:, 1], cell["wh"][:, 1] = 0.0, 0.0
    lesions = lesion_gates(spec, params, valid_split(trained(spec)))
    assert loss(lesions, "f", "mean") == pytest.approx(lesions.intact["mse"], rel=1e-5)
    assert loss(lesions, "i", "mean") != pytest.approx(lesions.intact["mse"], rel=1e-3)


def test_gates_of_every_layer_and_direction_are_fixed_or_refused_with_a_reason():
    model = {"cell": "slstm", "hidden": 2, "layers": 2, "bidirectional": True}
    spec = small_spec(model=model, **SCAN)
    lesions = lesion_gates(spec, random_params(spec), valid_split(trained(spec)))
    layers = {f"layer_{k}{reverse}" for k in (0, 1) for reverse in ("", "_reverse")}
    assert {lesion.layer for lesion in lesions.lesions} == layers
    assert {lesion.gate for lesion in lesions.lesions} == {"o", "g"}
    assert "expected o, g" in lesions.refused["layer_0, gate i"]
    values = {lesion.value for lesion in lesions.lesions if lesion.gate == "g"}
    assert values == {"mean"}  # a candidate is not between 0 and 1


def test_cells_without_gates_or_without_clamp_are_named():
    spec = small_spec(model={"cell": "rnn", "hidden": 2}, **SCAN)
    lesions = lesion_gates(spec, random_params(spec), valid_split(trained(spec)))
    assert (lesions.lesions, lesions.refused) == ([], {})
    assert unsupported_reason(GRUSpec()) is None
    assert "clamp" in unsupported_reason(get_variant("minlstm").spec)


def test_a_gate_may_be_fixed_to_a_number_for_each_unit(strict):
    from lstm_lab.recurrence import unroll

    spec = get_variant("lstm").spec
    params = spec.cell.init(spec, jax.random.key(0), 2, 3)
    x_TBD = jax.random.normal(jax.random.key(1), (4, 2, 2))
    value_H = jnp.array([0.1, 0.5, 0.9])
    traced = unroll(spec, params, x_TBD, trace=("f",), clamp={"f": value_H}, backend="scan").traced
    np.testing.assert_array_equal(traced["f"], jnp.broadcast_to(value_H, (4, 2, 3)))
    with pytest.raises(ValueError, match="clamp: fused takes numbers"):
        unroll(spec, params, x_TBD, clamp={"f": value_H}, backend="fused")
    auto = unroll(spec, params, x_TBD, clamp={"f": value_H}).h
    np.testing.assert_allclose(auto, unroll(spec, params, x_TBD, clamp={"f": value_H}).h)

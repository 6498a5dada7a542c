"""The map from state to state is the model itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.explain.network import build_network, visit
from lstm_lab.models.build import build_model
from lstm_lab.models.regularization import Regularization
from lstm_lab.tasks import Bernoulli, Categorical, Real
from tests.helpers.explain import SCAN, random_params, trained, valid_split, visited
from tests.helpers.training import small_spec

RATES = {"zoneout_c": 0.25, "zoneout_h": 0.125}
MODELS = {
    "two residual layers": {"cell": "lstm", "layers": 2, "residual": True},
    "zoneout": {"cell": "zoneout", **RATES},
    "state with gates": {"cell": "fgr"},
    "projection": {"cell": "lstmp"},
    "normalizer": {"cell": "slstm"},
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_steps_give_the_outputs_of_the_model(model):
    run = trained(small_spec(model={"hidden": 4, **model}, **SCAN))
    examples = valid_split(run)

    @jax.jit
    def apply(params, x, rates):
        return build_model(run.spec).apply({"params": params}, x, None, rates)

    with jax.enable_x64(True):
        network = build_network(run.spec, run.params)
        seen = visit(network, examples)
        logits = network.logits(jnp.asarray(seen.o_BTK[:, -1]))
        rates = Regularization(RATES if model["cell"] == "zoneout" else {})
        expected = apply(run.params, examples.x, rates)
    np.testing.assert_allclose(logits, expected, atol=1e-6 * np.abs(expected).max(), rtol=1e-5)
    assert seen.s_BTS.shape == (*examples.x.shape[:2], len(network.places))
    assert seen.s_BTS.dtype == np.float64


def test_a_place_tells_where_a_number_of_the_state_is_from():
    run = trained(small_spec(model={"cell": "lstm", "layers": 2, "hidden": 2}))
    with jax.enable_x64(True):
        network = build_network(run.spec, random_params(run.spec))
        s_S = jnp.arange(8.0)
        states = jax.flatten_util.ravel_pytree(network.zeros)[1](s_S)
    for place, value in zip(network.places, np.asarray(s_S), strict=True):
        field_1H = np.asarray(getattr(states[place.layer][0], place.field))
        assert field_1H[0, place.unit] == value
    assert str(network.places[-1]) == "c[1] of layer 1"


def test_the_first_steps_keep_targets_and_lengths_in_step():
    run = trained(small_spec(task={"name": "parity", "length": 9, "valid_size": 6, "test_size": 2}))
    with jax.enable_x64(True):
        seen = visit(build_network(run.spec, run.params), valid_split(run))
    part = seen.first(2, 4)
    assert part.examples.x.shape == (2, 4)
    assert part.examples.y.shape == (2, 4, 1)
    assert part.lengths.tolist() == [4, 4]
    np.testing.assert_array_equal(part.s_BTS, seen.s_BTS[:2, :4])


def test_a_step_has_a_target_if_it_is_real_and_not_ignored():
    seen = visited((3, 5), ((1,), (0, 4)), padded=6)
    steps = [np.flatnonzero(row).tolist() for row in seen.has_target(Categorical(3, True))]
    assert steps == [[1], [0, 4]]
    # Of numbers, every real step has one; of whole sequences, only the last step.
    assert seen.has_target(Bernoulli(1, every_step=True)).sum(1).tolist() == [3, 5]
    assert np.argwhere(seen.has_target(Real(1))).tolist() == [[0, 2], [1, 4]]


def test_sequences_without_a_target_are_left_out():
    seen = visited((3, 5, 6, 4), ((), (1,), (), (0, 3)), padded=6)
    part, has_target_BT = seen.with_target(Categorical(3, True), 2)
    assert part.lengths.tolist() == [5, 4]
    np.testing.assert_array_equal(part.examples.y, np.asarray(seen.examples.y)[[1, 3]])
    assert has_target_BT.sum(1).tolist() == [1, 2]

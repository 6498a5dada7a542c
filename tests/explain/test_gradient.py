"""The gradient by lag of a cell with a known gradient."""

import jax
import numpy as np
import pytest

from lstm_lab.explain.gradient import (
    MOST_STEPS,
    STEPS,
    gradient_norms,
    gradients_by_lag,
    reach,
    until_last_target,
)
from lstm_lab.explain.network import NO_TARGET, build_network
from lstm_lab.tasks import Bernoulli, Categorical, Real
from tests.helpers.explain import visited, zero_params
from tests.helpers.training import small_spec


@pytest.fixture(scope="module")
def norms():
    """Returns the norms of a cell whose gates are 1/2, for sequences of two lengths."""
    spec = small_spec(model={"cell": "lstm", "hidden": 2})
    params = zero_params(spec)
    params["lstm"]["layer_0"]["wx"][:, 3] = 0.5
    params["head"]["kernel"][:] = 1.0
    with jax.enable_x64(True):
        network = build_network(spec, params)
        x_BTD = np.zeros((2, 6, 2))
        return gradients_by_lag(network, x_BTD, np.array([6, 3]), jax.random.key(0))


def test_a_cell_that_halves_its_state_halves_the_gradient_with_each_lag(norms):
    """y = 0.5 (c_1 + c_2) and c = 0.5 c' + 0.5 tanh(0.5 (x_1 + x_2)) near 0."""
    inputs_T, states_T = norms
    np.testing.assert_allclose(inputs_T, 0.25 * np.sqrt(2) * 0.5 ** np.arange(6))
    # The state before the step: c' alone, of two units; the first step has none.
    np.testing.assert_allclose(states_T, 0.25 * np.sqrt(2) * 0.5 ** np.arange(5))


def test_the_reach_is_the_lag_after_which_little_is_left(norms):
    assert reach(norms[0], 0.2) == 3
    assert reach(norms[0], 0.01) is None
    assert reach(np.array([1.0, 0.001, 0.5, 0.001, np.nan]), 0.01) == 3


def test_gradient_norms_of_several_arrays():
    found = gradient_norms(lambda xs: (xs[0][-1] * xs[1][-1]).sum(), (np.ones((2, 4)),) * 2)
    np.testing.assert_array_equal(found[0], [0.0, 2.0])


def test_logits_are_read_at_the_last_step_with_a_target():
    asked = Categorical(3, every_step=True)
    x_BTD, length_B = until_last_target(visited((9, 30), ((2, 4), (11,))), asked)
    assert length_B.tolist() == [5, 12]
    assert x_BTD.shape == (2, 12, 1)


def test_whole_sequences_are_kept_unless_every_step_has_a_target():
    long = visited((600, 784), ((), ()), padded=784)
    assert until_last_target(long, Real(1))[1].tolist() == [600, 784]
    assert until_last_target(long, Bernoulli(1, every_step=True))[1].tolist() == [STEPS, STEPS]


def test_long_sequences_are_fewer():
    long = visited((5000,) * 4, ((),) * 4, padded=5000)
    assert len(until_last_target(long, Real(1))[1]) == MOST_STEPS // 5000 == 2


def test_sequences_without_a_gradient_by_lag_have_a_reason():
    asked = Categorical(3, every_step=True)
    assert until_last_target(visited((9,), ((),)), asked) == NO_TARGET
    assert "no sequence has a step before" in until_last_target(visited((9,), ((0,),)), asked)
    too_long = visited((MOST_STEPS + 1,), ((),), padded=MOST_STEPS + 1)
    assert "the last target is at step 12,801" in until_last_target(too_long, Real(1))

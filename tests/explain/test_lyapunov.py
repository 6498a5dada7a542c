"""Lyapunov exponents of maps where they are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.explain.lyapunov import LOWEST, lyapunov_spectrum
from lstm_lab.explain.network import build_network, visit
from tests.helpers.explain import random_params
from tests.helpers.training import small_spec


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def spectrum(step, S, T=200, E=None, counted=None, B=1):
    x_BTD = np.random.default_rng(0).normal(size=(B, T, 2))
    counted = np.ones((B, T), bool) if counted is None else counted
    return lyapunov_spectrum(step, np.zeros((B, S)), x_BTD, counted, E or S)


def test_a_linear_map_has_the_logarithms_of_its_eigenvalues():
    rng = np.random.default_rng(1)
    basis, values = rng.normal(size=(3, 3)), np.array([1.1, 0.6, -0.2])
    matrix = basis @ np.diag(values) @ np.linalg.inv(basis)
    counted = np.arange(400)[None] >= 200
    found = spectrum(lambda s_S, x_D: s_S @ matrix.T + x_D.sum(), 3, T=400, counted=counted)
    np.testing.assert_allclose(found[0], np.log(np.abs(values)), atol=1e-3)


def test_fewer_exponents_are_the_largest_ones():
    step = lambda s_S, x_D: s_S * jnp.array([0.5, 0.9, 0.1])  # noqa: E731
    counted = np.arange(200)[None] >= 100
    np.testing.assert_allclose(
        spectrum(step, 3, E=2, counted=counted)[0], np.log([0.9, 0.5]), atol=1e-6
    )


def test_a_direction_that_is_forgotten_at_once_has_the_lowest_exponent():
    found = spectrum(lambda s_S, x_D: s_S * jnp.array([0.5, 0.0]), 2, T=20)
    np.testing.assert_allclose(found[0], [np.log(0.5), LOWEST])


def test_a_contracting_rnn_has_negative_exponents():
    """The derivative of tanh is at most 1, so a weight matrix of norm 0.5 at least halves."""
    weight = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4)))[0] * 0.5
    found = spectrum(lambda s_S, x_D: jnp.tanh(s_S @ weight + x_D.sum()), 4)
    assert (found <= np.log(0.5) + 1e-9).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_exponents_of_a_network_add_up_to_the_mean_logarithm_of_the_determinant(cell):
    spec = small_spec(model={"cell": cell, "hidden": 3})
    network = build_network(spec, random_params(spec))
    seen = visit(network, valid_split_of(spec)).first(2, 8)
    found = lyapunov_spectrum(
        network.next_state,
        np.zeros((2, len(network.zero))),
        seen.x_BTD,
        seen.is_real_BT,
        len(network.zero),
    )
    before_BTS = np.concatenate([np.zeros_like(seen.s_BTS[:, :1]), seen.s_BTS[:, :-1]], 1)
    jacobian = jax.jit(jax.vmap(jax.vmap(jax.jacfwd(network.next_state))))
    logs_BT = np.linalg.slogdet(np.asarray(jacobian(before_BTS, seen.x_BTD)))[1]
    np.testing.assert_allclose(found.sum(1), logs_BT.mean(1), rtol=1e-9)


def valid_split_of(spec):
    return spec.task.load(None).splits["valid"]

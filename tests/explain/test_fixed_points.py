"""Points and cycles of maps whose points are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from lstm_lab.explain.fixed_points import (
    compile_map,
    find_attractors,
    find_fixed_points,
    line_share,
    spread_of,
    time_constants,
)

X = np.zeros(1)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def starts(S=1, size=1.0):
    return np.random.default_rng(0).uniform(-size, size, (20, S))


def test_a_bistable_unit_has_two_stable_points_and_a_saddle_between():
    compiled = compile_map(lambda s_S, x_D: jnp.tanh(2.0 * s_S))
    points = find_fixed_points(compiled, X, starts(), 1.0)
    top = brentq(lambda s: np.tanh(2 * s) - s, 0.5, 1.0)
    expected = {-top: "stable", 0.0: "saddle", top: "stable"}
    assert len(points) == 3
    for point, s in zip(sorted(points, key=lambda p: p.s_S[0]), expected, strict=True):
        assert point.s_S[0] == pytest.approx(s, abs=1e-9)
        assert point.kind == expected[s]
        assert point.q < 1e-20
        slope = 2.0 / np.cosh(2.0 * s) ** 2
        assert point.eigenvalues[0] == pytest.approx(slope, abs=1e-8)
        assert point.slowest == pytest.approx(1.0 / abs(np.log(slope)), rel=1e-6)
    assert sum(point.share for point in points) == pytest.approx(1.0)


def test_a_point_that_a_fixed_point_nearly_is_is_slow():
    """s + s^2 + 0.001 has no fixed point; q is smallest at 0, where the derivative is 1."""
    compiled = compile_map(lambda s_S, x_D: s_S + jnp.square(s_S) + x_D)
    (point,) = find_fixed_points(compiled, np.array([0.001]), starts(size=0.5), 1.0)
    assert point.kind == "slow"
    assert point.s_S[0] == pytest.approx(0.0, abs=1e-3)
    assert point.q == pytest.approx(0.5e-6, rel=1e-3)
    # With a larger step it is no slow point any more.
    assert find_fixed_points(compiled, np.array([0.1]), starts(size=0.5), 1.0) == []


def test_a_line_of_points_is_found_as_a_line():
    compiled = compile_map(lambda s_S, x_D: s_S * jnp.array([1.0, 0.5, 0.2]))
    points = find_fixed_points(compiled, X, starts(3), 1.0)
    assert len(points) > 8
    for point in points:
        assert point.eigenvalues[0] == pytest.approx(1.0)
        assert np.abs(point.s_S[1:]).max() < 1e-6
    assert line_share(points) > 0.999
    assert np.isnan(line_share(points[:2]))


def test_a_state_that_changes_its_sign_is_a_cycle_of_two_around_a_saddle():
    compiled = compile_map(lambda s_S, x_D: -jnp.tanh(2.0 * s_S))
    (cycle,) = find_attractors(compiled, X, starts(), 1.0)
    assert cycle.period == 2
    assert cycle.share == 1.0
    np.testing.assert_allclose(cycle.states[0], -cycle.states[1])
    (saddle,) = find_fixed_points(compiled, X, starts(), 1.0)
    assert saddle.kind == "saddle"
    assert saddle.eigenvalues[0] == pytest.approx(-2.0)
    assert saddle.unstable == 1


def test_the_period_of_a_rotation_is_found_and_an_endless_drift_has_none():
    angle = 2.0 * np.pi / 5.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    compiled = compile_map(lambda s_S, x_D: s_S @ turn.T / jnp.linalg.norm(s_S) + x_D[0])
    found = find_attractors(compiled, X, starts(2), 1.0)
    assert {attractor.period for attractor in found} == {5}
    drifting = compile_map(lambda s_S, x_D: s_S + 0.01)
    assert find_attractors(drifting, X, starts(), 1.0) == []


def test_states_of_rest_are_starts_without_a_share():
    compiled = compile_map(lambda s_S, x_D: jnp.tanh(2.0 * s_S))
    right = np.full((2, 1), 0.9575)
    points = find_fixed_points(compiled, X, right, 1.0, rests=[np.array([-0.9575])])
    shares = {round(float(point.s_S[0]), 1): point.share for point in points}
    assert shares == {1.0: 1.0, -1.0: 0.0}


def test_the_spread_and_time_constants():
    assert spread_of(np.array([[3.0, 0.0], [-3.0, 0.0]])) == 3.0
    np.testing.assert_allclose(time_constants(np.array([0.5, 2.0])), 1.0 / np.log(2.0))
    assert time_constants(np.array([1j]))[0] == np.inf

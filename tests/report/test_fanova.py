"""Importance: the shares of functions whose analysis of variance is known."""

import numpy as np
import pytest

from lstm_lab.report.fanova import GRID, _leaves, _variance, fanova


def draw(n=3000, k=3):
    return np.random.default_rng(0).random((n, k))


def test_additive_functions_have_their_shares():
    x = draw()
    found = fanova(x, 2 * x[:, 0] + x[:, 1], ["a", "b", "c"])
    assert found.single["a"] == pytest.approx(0.8, abs=0.02)
    assert found.single["b"] == pytest.approx(0.2, abs=0.02)
    assert found.single["c"] == pytest.approx(0.0, abs=0.01)
    assert max(abs(v) for v in found.pairs.values()) < 0.02


def test_marginals_average_over_all_other_settings():
    x = draw(800)
    found = fanova(x, 2 * x[:, 0] + x[:, 1], ["a", "b", "c"])
    mean, deviation = found.marginals["a"]
    np.testing.assert_allclose(mean, 2 * GRID + 0.5, atol=0.15)
    np.testing.assert_allclose(found.marginals["c"][0], 1.5, atol=0.1)
    assert (deviation < 0.2).all()


def test_permutation_is_the_covariance_that_is_lost():
    """For a sum of independent parts, shuffling one loses twice its share of the variance."""
    x = draw(800)
    found = fanova(x, 2 * x[:, 0] + x[:, 1], ["a", "b", "c"]).permutation
    assert found["a"] == pytest.approx(1.6, abs=0.1)
    assert found["b"] == pytest.approx(0.4, abs=0.1)
    assert found["c"] == pytest.approx(0.0, abs=0.01)


def test_what_only_two_settings_explain_is_their_pairs():
    x = draw()
    found = fanova(x, np.sign(x[:, 0] - 0.5) * np.sign(x[:, 2] - 0.5), ["a", "b", "c"])
    assert found.pairs["a", "c"] > 0.9
    assert max(found.single.values()) < 0.05


def test_a_trees_integrals_equal_those_on_a_grid():
    """Brute force: the tree's own predictions on a fine grid, averaged."""
    from sklearn.tree import DecisionTreeRegressor

    x = np.round(draw(200, 3), 1) * 0.98 + 0.003
    y = np.sin(5 * x[:, 0]) + x[:, 1] * x[:, 2]
    tree = DecisionTreeRegressor(max_leaf_nodes=12, random_state=0).fit(x, y)
    boxes, values = _leaves(tree.tree_, 3)
    weights = np.prod(boxes[:, :, 1] - boxes[:, :, 0], 1)
    assert weights.sum() == pytest.approx(1.0)
    at = (np.arange(100) + 0.5) / 100
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij"), -1)
    predicted = tree.predict(grid.reshape(-1, 3)).reshape(100, 100, 100)
    mean = float(weights @ values)
    assert mean == pytest.approx(predicted.mean(), abs=2e-2)
    for settings, others in (((0,), (1, 2)), ((2,), (0, 1)), ((0, 1), (2,)), ((1, 2), (0,))):
        found = _variance(boxes, values, settings, mean)
        assert found == pytest.approx(predicted.mean(others).var(), rel=0.05, abs=1e-3)


def test_too_little_is_refused():
    with pytest.raises(ValueError, match="found 9 trials, allowed 10 or more"):
        fanova(draw(9), np.arange(9.0), ["a", "b", "c"])
    with pytest.raises(ValueError, match="all scores are equal"):
        fanova(draw(20), np.ones(20), ["a", "b", "c"])

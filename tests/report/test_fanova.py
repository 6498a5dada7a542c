"""Importance: the shares of functions whose analysis of variance is known."""

import numpy as np
import pytest

from lstm_lab.report.fanova import GRID, fanova, leaf_boxes, marginal_variance


def draw(n, k=3):
    return np.random.default_rng(0).random((n, k))


@pytest.fixture(scope="module")
def additive():
    """fANOVA of 2 a + b, in which c has no effect: Var = 4/12 + 1/12, so the shares are 4 : 1.

    On 800 trials the forest's error of a share is below 0.015, so 0.02 still tells 4 : 1 apart from
    any wrong formula. 3000 trials cost ten times as much and only reduce the error to 0.01.
    """
    x = draw(800)
    return fanova(x, 2 * x[:, 0] + x[:, 1], ["a", "b", "c"])


def test_main_effects_of_an_additive_function_are_its_variance_shares(additive):
    assert additive.main_effects["a"] == pytest.approx(0.8, abs=0.02)
    assert additive.main_effects["b"] == pytest.approx(0.2, abs=0.02)
    assert additive.main_effects["c"] == pytest.approx(0.0, abs=0.01)
    assert max(abs(v) for v in additive.interactions.values()) < 0.02


def test_marginals_average_over_all_other_hyperparameters(additive):
    mean, deviation = additive.marginals["a"]
    np.testing.assert_allclose(mean, 2 * GRID + 0.5, atol=0.15)
    np.testing.assert_allclose(additive.marginals["c"][0], 1.5, atol=0.1)
    assert (deviation < 0.2).all()


def test_permutation_importance_of_independent_terms_is_twice_their_share(additive):
    """A permuted term has twice its variance as squared error: Var[t - t'] = 2 Var[t]."""
    losses = additive.permutation
    assert losses["a"] == pytest.approx(1.6, abs=0.1)
    assert losses["b"] == pytest.approx(0.4, abs=0.1)
    assert losses["c"] == pytest.approx(0.0, abs=0.01)


def test_a_product_of_signs_is_an_interaction():
    x = draw(1500)
    result = fanova(x, np.sign(x[:, 0] - 0.5) * np.sign(x[:, 2] - 0.5), ["a", "b", "c"])
    assert result.interactions["a", "c"] > 0.9
    assert max(result.main_effects.values()) < 0.05


def test_integrals_of_a_tree_equal_means_over_a_grid():
    """Brute force: the tree's own predictions on a fine grid, averaged."""
    from sklearn.tree import DecisionTreeRegressor

    x = np.round(draw(200, 3), 1) * 0.98 + 0.003
    y = np.sin(5 * x[:, 0]) + x[:, 1] * x[:, 2]
    tree = DecisionTreeRegressor(max_leaf_nodes=12, random_state=0).fit(x, y)
    boxes, values = leaf_boxes(tree.tree_, 3)
    weights = np.prod(boxes[:, :, 1] - boxes[:, :, 0], 1)
    assert weights.sum() == pytest.approx(1.0)
    at = (np.arange(100) + 0.5) / 100
    grid = np.stack(np.meshgrid(at, at, at, indexing="ij"), -1)
    predicted = tree.predict(grid.reshape(-1, 3)).reshape(100, 100, 100)
    mean = float(weights @ values)
    assert mean == pytest.approx(predicted.mean(), abs=2e-2)
    for subset, others in (((0,), (1, 2)), ((2,), (0, 1)), ((0, 1), (2,)), ((1, 2), (0,))):
        variance = marginal_variance(boxes, values, subset, mean)
        assert variance == pytest.approx(predicted.mean(others).var(), rel=0.05, abs=1e-3)


def test_too_few_or_equal_trials_are_an_error():
    with pytest.raises(ValueError, match="got 9 trials, expected 10 or more"):
        fanova(draw(9), np.arange(9.0), ["a", "b", "c"])
    with pytest.raises(ValueError, match="all scores are equal"):
        fanova(draw(20), np.ones(20), ["a", "b", "c"])

"""XLA's cross-entropy by parts of the rows: the formula in float64, its gradients, its memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.models import head
from lstm_lab.models.head import Outputs, cross_entropy
from lstm_lab.tasks import IGNORE_INDEX
from tests.helpers.head import (
    assert_close,
    assert_weights_have_gradients,
    draw,
    formula,
    in_float32,
)


@pytest.fixture(autouse=True)
def small_parts():
    """Parts of a few rows, so that small arrays have several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "PART", 24)
        patch.setattr(head, "LEAST_ROWS", 2)
        yield


@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(*(st.integers(1, n) for n in (7, 5, 4, 11))),
    smoothing=st.sampled_from([0.0, 0.1]),
)
def test_sum_gradients_and_scores_follow_the_formula(seed, sizes, smoothing):
    outputs, y_BT, weight_BT = draw(seed, *sizes)
    total, grads, scores = formula(outputs, y_BT, weight_BT, smoothing)
    arrays = jnp.array(y_BT), jnp.array(weight_BT, jnp.float32)

    def loss(outputs):
        return cross_entropy(outputs, *arrays, smoothing)

    outputs = in_float32(outputs)
    assert_close(jax.jit(loss)(outputs), (total, scores))
    (value, found), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(outputs)
    assert_close((value, found, gradients), (total, scores, grads))
    assert_close(jax.jit(Outputs.scores)(outputs, arrays[0]), scores)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_of_a_weight_is_the_loss_of_its_prediction(smoothing):
    assert_weights_have_gradients(*draw(0, 3, 4, 2, 5), smoothing)


def test_a_factor_of_the_sum_scales_its_gradients():
    outputs, y_BT, weight_BT = draw(0, 3, 4, 2, 5)
    grad = jax.grad(lambda o: 3.0 * cross_entropy(o, jnp.array(y_BT), jnp.array(weight_BT))[0])
    grads = formula(outputs, y_BT, weight_BT, 0.0)[1]
    assert_close(grad(in_float32(outputs)), jax.tree.map(lambda g: 3.0 * g, grads))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_of_ignore_index_count_neither_in_the_sum_nor_in_gradients(smoothing):
    outputs, y_BT, weight_BT = draw(1, 6, 4, 3, 5)
    ignored = np.random.default_rng(0).random(y_BT.shape) < 0.4
    weight_BT[ignored] = 0.0
    total, grads, _ = formula(outputs, y_BT, weight_BT, smoothing)
    y_BT = jnp.array(np.where(ignored, IGNORE_INDEX, y_BT))
    function = jax.value_and_grad(cross_entropy, has_aux=True)
    (value, scores), gradients = function(
        in_float32(outputs), y_BT, jnp.array(weight_BT), smoothing
    )
    assert_close((value, gradients), (total, grads))
    # Finite, since second derivatives multiply them by their weight of 0.
    assert np.isfinite(scores.nll).all()


def test_rows_of_weight_zero_do_not_count_even_if_they_are_nan():
    outputs, y_BT, weight_BT = draw(0, 3, 4, 2, 5)
    weight_BT[1, 2] = 0.0
    total, grads, _ = formula(outputs, y_BT, weight_BT, 0.1)
    damaged = in_float32(outputs)
    damaged = replace(damaged, features=damaged.features.at[2, 1].set(jnp.nan))
    (value, _), gradients = jax.value_and_grad(cross_entropy, has_aux=True)(
        damaged, jnp.array(y_BT), jnp.array(weight_BT), 0.1
    )
    assert_close(value, total)
    assert_close(gradients.bias, grads.bias)
    assert_close(gradients.features.at[2, 1].set(0.0), grads.features)


def test_lanes_are_independent():
    cases = [draw(seed, 3, 4, 2, 5) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(np.stack(leaves), jnp.float32), *cases)
    y_LBT = stacked[1].astype(jnp.int32)
    one = jax.value_and_grad(cross_entropy, has_aux=True)
    (totals, _), grads = jax.jit(jax.vmap(one))(stacked[0], y_LBT, stacked[2])
    for k, (outputs, y_BT, weight_BT) in enumerate(cases):
        total, expected, _ = formula(outputs, y_BT, weight_BT, 0.0)
        assert_close((totals[k], jax.tree.map(lambda g, k=k: g[k], grads)), (total, expected))


def test_in_bfloat16_the_products_are_those_of_a_dense_layer():
    outputs, y_BT, weight_BT = draw(0, 5, 4, 8, 6)
    outputs = in_float32(outputs)
    outputs = replace(outputs, features=outputs.features.astype(jnp.bfloat16))
    weight_BT = jnp.array(weight_BT, jnp.float32)

    def plain(outputs):
        dtype = jnp.bfloat16
        bias = outputs.bias.astype(dtype)[None, None]
        dense = outputs.features @ outputs.kernel.astype(dtype) + bias
        log_p = jax.nn.log_softmax(dense.astype(jnp.float32).swapaxes(0, 1))
        return -(weight_BT * jnp.take_along_axis(log_p, y_BT[..., None], -1)[..., 0]).sum()

    def by_parts(outputs):
        return cross_entropy(outputs, jnp.array(y_BT), weight_BT)[0]

    # XLA may keep more digits than bfloat16 between product and bias, which has 8 bits.
    np.testing.assert_allclose(by_parts(outputs), plain(outputs), rtol=2**-8)
    found, expected = jax.grad(by_parts)(outputs), jax.grad(plain)(outputs)
    for gradient, reference in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert gradient.dtype == reference.dtype
        reference = np.asarray(reference, np.float32)
        np.testing.assert_allclose(
            np.asarray(gradient, np.float32), reference, atol=2e-2 * np.abs(reference).max()
        )


@pytest.mark.parametrize("gradients", [False, True])
def test_the_logits_of_all_rows_never_exist(gradients, monkeypatch):
    T, B, H, C = 32, 16, 4, 1000
    monkeypatch.setattr(head, "PART", 32 * C)
    outputs, y_BT, weight_BT = draw(0, T, B, H, C)
    function = jax.value_and_grad(cross_entropy, has_aux=True) if gradients else cross_entropy
    arguments = in_float32(outputs), jnp.array(y_BT), jnp.array(weight_BT, jnp.float32)
    compiled = jax.jit(function).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * T * B * C / 2

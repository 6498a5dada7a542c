"""The kernel of a head with many classes: the formula in float64, XLA's head, threads, memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.models import head, native_head
from lstm_lab.models.head import Outputs, cross_entropy
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import IGNORE_INDEX
from tests.helpers.head import (
    assert_close,
    assert_weights_have_gradients,
    draw,
    formula,
    in_float32,
)

# Classes that fill groups and vectors of the kernel, and that do not; one row, and several parts.
SIZES = [(3, 5, 7, 517), (1, 1, 1, 512), (6, 13, 70, 640), (2, 9, 130, 1001)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(native_head, "LEAST_CLASSES", 500)
    monkeypatch.setattr(native_head, "PART", 1)
    monkeypatch.setattr(native_head, "LEAST_ROWS", 11)


def arrays(seed, sizes):
    outputs, y_BT, weight_BT = draw(seed, *sizes)
    # Small logits: float32 keeps the digits that the comparison with float64 needs.
    outputs = replace(outputs, kernel=outputs.kernel / np.sqrt(sizes[2]))
    return outputs, y_BT, weight_BT


def value_and_gradients(outputs, y_BT, weight_BT, smoothing=0.0):
    function = jax.value_and_grad(cross_entropy, has_aux=True)
    y_BT, weight_BT = jnp.array(y_BT), jnp.array(weight_BT, jnp.float32)
    return jax.jit(function, static_argnums=3)(in_float32(outputs), y_BT, weight_BT, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("sizes", SIZES)
def test_sum_gradients_and_scores_follow_the_formula(sizes, smoothing):
    outputs, y_BT, weight_BT = arrays(0, sizes)
    total, grads, scores = formula(outputs, y_BT, weight_BT, smoothing)
    (value, found), gradients = value_and_gradients(outputs, y_BT, weight_BT, smoothing)
    assert_close((value, found, gradients), (total, scores, grads))
    only_scores = jax.jit(Outputs.scores)(in_float32(outputs), jnp.array(y_BT))
    assert_close(only_scores, scores)
    assert_close(cross_entropy(in_float32(outputs), y_BT, weight_BT, smoothing)[0], total)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_of_a_weight_is_the_loss_of_its_prediction(smoothing):
    assert_weights_have_gradients(*arrays(0, SIZES[0]), smoothing)


def test_rows_of_weight_zero_do_not_count_even_if_they_are_nan():
    outputs, y_BT, weight_BT = arrays(0, SIZES[0])
    weight_BT[1, 2] = 0.0
    total, grads, _ = formula(outputs, y_BT, weight_BT, 0.1)
    damaged = replace(outputs, features=outputs.features.copy())
    damaged.features[2, 1] = np.nan
    (value, scores), gradients = value_and_gradients(damaged, y_BT, weight_BT, 0.1)
    assert np.isnan(scores.nll[1, 2])
    assert_close(value, total)
    assert_close(gradients.bias, grads.bias)
    assert not gradients.features[2, 1].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets_of_ignore_index_count_neither_in_the_sum_nor_in_gradients(smoothing):
    outputs, y_BT, weight_BT = arrays(1, SIZES[0])
    ignored = np.random.default_rng(0).random(y_BT.shape) < 0.4
    weight_BT[ignored] = 0.0
    total, grads, _ = formula(outputs, y_BT, weight_BT, smoothing)
    y_BT = np.where(ignored, IGNORE_INDEX, y_BT)
    (value, _), gradients = value_and_gradients(outputs, y_BT, weight_BT, smoothing)
    assert_close((value, gradients), (total, grads))


def test_large_logits_neither_overflow_nor_vanish():
    outputs, y_BT, weight_BT = arrays(0, SIZES[0])
    outputs = replace(outputs, kernel=300 * outputs.kernel)
    total, grads, (nll, _, guess) = formula(outputs, y_BT, weight_BT, 0.0)
    (value, scores), gradients = value_and_gradients(outputs, y_BT, weight_BT)
    np.testing.assert_allclose(value, total, rtol=1e-5)
    np.testing.assert_allclose(scores.nll, nll, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(scores.guess, guess)
    assert np.abs(gradients.bias - grads.bias).max() < 1e-3


def test_classes_that_are_impossible_have_no_probability():
    outputs, y_BT, weight_BT = arrays(0, SIZES[0])
    outputs.bias[64:200] = -1e30
    y_BT = y_BT % 64
    total, grads, (nll, _, guess) = formula(outputs, y_BT, weight_BT, 0.0)
    outputs.bias[64:200] = -np.inf  # all classes of a group, and some of others
    (value, scores), gradients = value_and_gradients(outputs, y_BT, weight_BT)
    np.testing.assert_allclose(value, total, rtol=1e-5)
    np.testing.assert_allclose(scores.nll, nll, rtol=1e-4)
    np.testing.assert_array_equal(scores.guess, guess)
    assert_close(gradients.features, grads.features)


def test_lanes_are_independent():
    cases = [arrays(seed, SIZES[0]) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.array(np.stack(leaves), jnp.float32), *cases)
    one = jax.value_and_grad(cross_entropy, has_aux=True)
    (totals, _), grads = jax.jit(jax.vmap(one))(
        stacked[0], stacked[1].astype(jnp.int32), stacked[2]
    )
    for k, case in enumerate(cases):
        (total, _), expected = value_and_gradients(*case)
        np.testing.assert_array_equal(totals[k], total)
        jax.tree.map(lambda g, e, k=k: np.testing.assert_array_equal(g[k], e), grads, expected)


def test_second_derivatives_are_those_of_xlas_head(monkeypatch):
    outputs, y_BT, weight_BT = arrays(0, SIZES[0])
    outputs, weight_BT = in_float32(outputs), jnp.array(weight_BT, jnp.float32)

    def product(outputs):
        grad = jax.grad(lambda o: cross_entropy(o, jnp.array(y_BT), weight_BT, 0.1)[0])
        return jax.jvp(grad, (outputs,), (outputs,))[1]

    found = jax.jit(product)(outputs)
    monkeypatch.setattr(native_head, "serves", lambda *_: False)
    assert_close(found, jax.jit(product)(outputs))


@pytest.mark.optimized
def test_bits_do_not_depend_on_threads():
    outputs, y_BT, weight_BT = arrays(0, (4, 20, 100, 3000))
    outputs, y_BT = in_float32(outputs), jnp.array(y_BT)
    weight_BT = jnp.array(weight_BT, jnp.float32)

    def gradients(outputs):
        return jax.grad(lambda o: cross_entropy(o, y_BT, weight_BT)[0])(outputs)

    alone = jax.jit(gradients)(outputs)
    four = jax.pmap(gradients)(jax.tree.map(lambda a: jnp.stack([a] * 4), outputs))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[3]), alone, four)


def test_all_logits_exist_only_if_they_are_few(monkeypatch):
    T, B, H, C = 32, 16, 4, 1000
    monkeypatch.setattr(native_head, "PART", 64 * C)
    outputs, y_BT, weight_BT = draw(0, T, B, H, C)
    arguments = in_float32(outputs), jnp.array(y_BT), jnp.array(weight_BT, jnp.float32)
    compiled = jax.jit(jax.value_and_grad(cross_entropy, has_aux=True)).lower(*arguments).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * T * B * C / 2


def test_few_classes_other_dtypes_and_a_missing_compiler_are_left_to_xla(fresh_kernels):
    features, least = jnp.zeros((2, 3, 4)), native_head.LEAST_CLASSES
    assert native_head.serves(features, least)
    assert not native_head.serves(features, least - 1)
    assert not native_head.serves(features.astype(jnp.bfloat16), least)
    assert not native_head.serves(features[:0], least)
    assert not native_head.serves(features, least, DeviceType("tpu", "TPU v5 lite"))
    fresh_kernels.setenv("CXX", "no-compiler")
    head_kernel = native_head.kernel_library
    head_kernel.compiler.cache_clear()
    head_kernel.load_head.cache_clear()
    with pytest.warns(RuntimeWarning, match="no-compiler not found"):
        assert not native_head.serves(features, least)


def test_the_head_takes_the_kernel():
    outputs = Outputs(jnp.zeros((2, 3, 4)), jnp.zeros((4, 600)), jnp.zeros(600))
    y_BT = jnp.zeros((3, 2), jnp.int32)
    program = str(
        jax.make_jaxpr(jax.grad(lambda o: head.cross_entropy(o, y_BT, 1.0 * (y_BT == 0))[0]))(
            outputs
        )
    )
    assert program.count("lstm_lab_head") == 1

"""The kernel of optimizers compared with optax, and what it leaves to optax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.sections import OptimSpec
from lstm_lab.recurrence import DeviceType
from lstm_lab.recurrence.backends import kernel_library
from lstm_lab.training import native_optimizer, update
from lstm_lab.training.optimizer import build_optimizer, hparams

COUNT, LENGTH, STEPS = 3.0, 10, 4
OPTIMIZERS = [
    {"name": "sgd"},
    {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1},
    {"name": "sgd", "momentum": 0.9, "nesterov": True, "dampening": True},
    {"name": "adam", "weight_decay": 0.1, "eps": 1e-3},
    {"name": "adamw", "weight_decay": 0.1, "eps": 1e-3, "beta1": 0.5},
    {"name": "rmsprop", "beta2": 0.9, "eps": 1e-3},
]


def draw(seed, *, elements=40_000):
    # A tail of a vector, several blocks, and a single number.
    shapes = {"tail": (33, 7), "blocks": (elements,), "number": (1, 1)}
    rng = np.random.default_rng(seed)
    return {k: jnp.array(rng.normal(size=shape), jnp.float32) for k, shape in shapes.items()}


def train(spec, params, apply=update.apply_gradients, steps=STEPS):
    """Some steps with gradients of their own; the weights, the optimizer's state, the norms."""
    numbers = {name: jnp.float32(value) for name, value in hparams(spec).items()}
    state, norms = build_optimizer(spec, numbers, LENGTH).init(params), []
    for k in range(steps):
        grads = draw(100 + k, elements=params["blocks"].size)
        updated = apply(spec, numbers, LENGTH, grads, jnp.float32(COUNT), state, params)
        params, state = updated.params, updated.opt_state
        norms.append(updated[2:])
    return params, state, norms


@pytest.mark.parametrize("clip", [None, 0.5, 1e6])
@pytest.mark.parametrize("fields", OPTIMIZERS)
def test_weights_state_and_norms_equal_optax(monkeypatch, fields, clip):
    spec = OptimSpec(**{"lr": 0.1, "schedule": "cosine", "clip": clip, **fields})
    updated = jax.jit(partial(train, spec))(draw(0))
    monkeypatch.setattr(native_optimizer, "serves", lambda *_: False)
    expected = jax.jit(partial(train, spec))(draw(0))
    assert jax.tree.structure(updated) == jax.tree.structure(expected)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), updated, expected
    )


@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_reported(clip, value):
    spec = OptimSpec(name="sgd", clip=clip)
    numbers = {name: jnp.float32(number) for name, number in hparams(spec).items()}
    params, grads = draw(0), draw(1)
    grads["tail"] = grads["tail"].at[3, 4].set(value)
    state = build_optimizer(spec, numbers, LENGTH).init(params)
    apply = partial(update.apply_gradients, spec, numbers, LENGTH)
    updated = jax.jit(apply)(grads, jnp.float32(1), state, params)
    assert not np.isfinite(updated.grad_norm)
    assert not np.isfinite(updated.params["tail"][3, 4])
    np.testing.assert_allclose(
        updated.weight_norm, np.sqrt(sum(np.square(p).sum() for p in params.values())), rtol=1e-6
    )


def test_members_are_independent():
    spec = OptimSpec(name="adam", lr=0.1)
    members = [draw(seed, elements=100) for seed in range(3)]
    together = jax.jit(jax.vmap(partial(train, spec)))(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    )
    for k, member in enumerate(members):
        alone = jax.jit(partial(train, spec))(member)
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(a[k], b), together, alone)


@pytest.mark.optimized
def test_bits_do_not_depend_on_threads():
    # Enough elements for several threads, which four devices do not have.
    spec, params = OptimSpec(name="adam", lr=0.1), draw(0, elements=300_000)
    alone = jax.jit(partial(train, spec))(params)
    four = jax.pmap(partial(train, spec))(jax.tree.map(lambda a: jnp.stack([a] * 4), params))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[3]), alone, four)


def test_weights_and_moments_change_where_they_lie():
    spec = OptimSpec(name="adam")
    numbers = {name: jnp.float32(value) for name, value in hparams(spec).items()}
    params = draw(0)
    state = build_optimizer(spec, numbers, LENGTH).init(params)

    def step(params, state, grads):
        return update.apply_gradients(spec, numbers, LENGTH, grads, 1.0, state, params)[:2]

    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, draw(1)).compile()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    memory = compiled.memory_analysis()
    assert memory.alias_size_in_bytes >= 3 * size
    assert memory.temp_size_in_bytes < size / 10


def test_what_the_kernel_does_not_serve_is_left_to_optax(fresh_kernels):
    spec, params = OptimSpec(), draw(0)
    serves = native_optimizer.serves
    assert serves(spec, params)
    assert not serves(OptimSpec(freeze=("tail",)), params)
    assert not serves(OptimSpec(accumulate=2), params)
    assert not serves(spec, params, DeviceType("tpu", "TPU v5 lite"))
    assert not serves(OptimSpec(weight_decay=0.1, weight_decay_on="weights"), params)
    assert not serves(spec, {**params, "tail": params["tail"].astype(jnp.bfloat16)})
    assert not serves(spec, {**params, "tail": params["tail"][:0]})
    fresh_kernels.setenv("CXX", "no-compiler")
    kernel_library.compiler.cache_clear()
    kernel_library.load_optimizer.cache_clear()
    with pytest.warns(RuntimeWarning, match="no-compiler not found"):
        assert not serves(spec, params)

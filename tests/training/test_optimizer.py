"""Optimizers compared with optax's own, and schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_lab.config.sections import HPARAMS, OptimSpec
from lstm_lab.training.optimizer import build_optimizer, hparams, schedule, schedule_length
from tests.helpers.training import small_spec

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array([0.5])}


def train(optimizer, steps=5):
    params, state = PARAMS, optimizer.init(PARAMS)
    for k in range(steps):
        grads = jax.tree.map(lambda p, k=k: jnp.sin(p * (k + 1.0)), params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize(
    ("fields", "reference"),
    [
        ({"name": "sgd"}, optax.sgd(0.1)),
        ({"name": "sgd", "momentum": 0.9}, optax.sgd(0.1, 0.9)),
        ({"name": "sgd", "momentum": 0.9, "nesterov": True}, optax.sgd(0.1, 0.9, nesterov=True)),
        ({"name": "adam"}, optax.adam(0.1)),
        ({"name": "adamw", "weight_decay": 0.01}, optax.adamw(0.1, weight_decay=0.01)),
        ({"name": "rmsprop", "beta2": 0.95}, optax.rmsprop(0.1, 0.95)),
        ({"name": "sgd", "clip": 0.3}, optax.chain(optax.clip_by_global_norm(0.3), optax.sgd(0.1))),
        (
            {"name": "sgd", "weight_decay": 0.2},
            optax.chain(optax.add_decayed_weights(0.2), optax.sgd(0.1)),
        ),
    ],
)
def test_optimizers_equal_optax(fields, reference):
    spec = OptimSpec(**{"lr": 0.1, "clip": None, **fields})
    numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
    assert set(numbers) == set(HPARAMS)
    updated = jax.jit(lambda numbers: train(build_optimizer(spec, numbers, 0)))(numbers)
    expected = jax.jit(lambda: train(reference))()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), updated, expected
    )


def test_decay_on_the_weights_does_not_depend_on_the_learning_rate():
    def changed(**fields):
        spec = OptimSpec(
            name="sgd", clip=None, weight_decay=0.1, weight_decay_on="weights", **fields
        )
        return train(
            build_optimizer(spec, {k: jnp.float32(v) for k, v in hparams(spec).items()}, 0), 1
        )

    grads = jax.tree.map(jnp.sin, PARAMS)
    for lr in (1e-6, 0.5):
        # As in yaringal/BayesianRNN: first the step, then the decay of what it leaves.
        expected = jax.tree.map(lambda p, g, lr=lr: (p - lr * g) * 0.9, PARAMS, grads)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), changed(lr=lr), expected
        )
    with pytest.raises(ValueError, match="weight_decay_on: adamw adds its decay to the update"):
        OptimSpec(name="adamw", weight_decay_on="weights")


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, {0: 1.0, 99: 1.0}),
        ({"schedule": "linear", "final_lr": 0.1}, {0: 1.0, 50: 0.55, 100: 0.1}),
        ({"schedule": "cosine"}, {0: 1.0, 50: 0.5, 100: 0.0}),
        ({"schedule": "exponential", "decay_steps": 10}, {0: 1.0, 10: 0.5, 20: 0.25}),
        (
            {"schedule": "exponential", "decay_steps": 10, "decay_begin": 30, "staircase": True},
            {0: 1.0, 39: 1.0, 40: 0.5, 49: 0.5, 50: 0.25},
        ),
        (
            {"schedule": "exponential", "decay_steps": 2, "decay_begin": 1, "decay_unit": "epoch"},
            {100: 1.0, 200: 0.5**0.5, 300: 0.5},
        ),
        ({"schedule": "one_cycle"}, {0: 0.04, 30: 1.0, 65: 0.5, 100: 0.0}),
        ({"warmup_steps": 4}, {0: 0.25, 1: 0.5, 3: 1.0, 50: 1.0}),
        ({"schedule": "linear", "warmup_steps": 20}, {19: 1.0, 20: 1.0, 60: 0.5, 100: 0.0}),
    ],
)
def test_schedules_have_the_expected_rates(fields, at):
    shape = schedule(OptimSpec(**fields), 100)
    for step, expected in at.items():
        np.testing.assert_allclose(shape(jnp.int32(step)), expected, atol=1e-6)


def length(total, **optim):
    return schedule_length(small_spec(optim=optim, train={"steps": total}), total)


def test_only_a_schedule_with_an_end_depends_on_the_length():
    assert length(70) == 0
    assert length(70, schedule="cosine") == 70
    assert length(10, schedule="linear", accumulate=3) == 4


def test_accumulated_batches_make_one_update():
    spec = OptimSpec(name="adam", lr=0.1, accumulate=3, schedule="linear")
    numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
    optimizer = build_optimizer(spec, numbers, 4)
    plain = build_optimizer(OptimSpec(name="adam", lr=0.1, schedule="linear"), numbers, 4)
    params, state, plain_state = PARAMS, optimizer.init(PARAMS), plain.init(PARAMS)
    for k in range(3):
        grads = jax.tree.map(lambda p, k=k: p * k, PARAMS)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        if k < 2:
            assert all((u == 0).all() for u in jax.tree.leaves(updates))
    updates, _ = plain.update(PARAMS, plain_state, PARAMS)  # the mean of 0, 1 and 2 times
    expected = optax.apply_updates(PARAMS, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params, expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_frozen_parts_do_not_change(name):
    tree = {"embed": {"table": jnp.ones(3)}, "embedder": jnp.ones(2)}
    spec = OptimSpec(name=name, lr=0.1, weight_decay=0.1, freeze=("embed",))
    numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
    optimizer = build_optimizer(spec, numbers, 0)
    updates, _ = optimizer.update(tree, optimizer.init(tree), tree)
    assert (updates["embed"]["table"] == 0).all()
    assert (updates["embedder"] < 0).all()

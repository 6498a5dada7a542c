"""Optimizers compared with optax's own, and schedules."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstm_lab.config.sections import HPARAMS, OptimSpec
from lstm_lab.training.layout import Layout
from lstm_lab.training.optimizer import (
    before_lookahead,
    build_optimizer,
    hparams,
    learning_rate,
    schedule,
    schedule_length,
)
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import EVALUATE
from tests.helpers.training import assert_close, small_spec, state_with_runs

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


def test_the_position_before_the_lookahead_is_that_of_momentum_written_out():
    momentum, lr = 0.9, 0.1
    spec = OptimSpec(name="sgd", lr=lr, momentum=momentum, nesterov=True, dampening=True, clip=None)
    numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
    optimizer = build_optimizer(spec, numbers, 0)
    params, state = PARAMS, optimizer.init(PARAMS)
    # brainstorm's NesterovStep: look ahead, take the gradient there, move from the position.
    position = {name: np.array(value, np.float64) for name, value in PARAMS.items()}
    velocity = {name: np.zeros_like(value) for name, value in position.items()}
    for k in range(5):
        grads = jax.tree.map(lambda p, k=k: jnp.sin(p * (k + 1.0)), params)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for name in position:
            ahead = position[name] + momentum * velocity[name]
            velocity[name] = momentum * velocity[name] - lr * (1 - momentum) * np.sin(
                ahead * (k + 1.0)
            )
            position[name] = position[name] + velocity[name]
        rate = learning_rate(spec, numbers, 0)(jnp.int32(k))
        ours = before_lookahead(spec, numbers, rate, state, params)
        for name in position:
            np.testing.assert_allclose(ours[name], position[name], rtol=1e-5)
            # The difference that is tested is not a rounding error.
            assert k == 0 or np.abs(params[name] - position[name]).max() > 1e-3


def test_frozen_weights_have_no_position_of_their_own():
    spec = OptimSpec(name="sgd", momentum=0.9, nesterov=True, clip=None, freeze=("b",))
    numbers = {k: jnp.float32(v) for k, v in hparams(spec).items()}
    optimizer = build_optimizer(spec, numbers, 0)
    _, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    ours = before_lookahead(spec, numbers, jnp.float32(0.1), state, PARAMS)
    np.testing.assert_array_equal(ours["b"], PARAMS["b"])
    assert (ours["w"] != PARAMS["w"]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nesterov": False}, "optim.nesterov"),
        ({"accumulate": 2}, "no optim.accumulate"),
        ({"average": 3}, "no optim.average"),
        ({"weight_decay_on": "weights"}, "no optim.weight_decay_on"),
    ],
)
def test_a_position_needs_nesterovs_momentum_alone(fields, message):
    options = {"name": "sgd", "momentum": 0.9, "nesterov": True, "evaluate_at": "position"}
    with pytest.raises(ValueError, match=message):
        OptimSpec(**{**options, **fields})


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


@pytest.mark.parametrize("evaluate_at", ["lookahead", "position"])
def test_the_best_weights_are_those_that_were_evaluated(evaluate_at):
    options = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "clip": None}
    spec = small_spec(optim={**options, "evaluate_at": evaluate_at})
    program, dataset = build_program(spec, 5, Layout("single", 1, 1)), spec.task.load(Path())
    state, data = state_with_runs(program, [spec], 5), program.place_data(dataset.splits)
    state, report = program.run_chunk(state, data, jnp.int32(5), jnp.int32(EVALUATE))
    host, valid = program.collect((state, report.valid["mse"][0]))
    trace = next(part.trace for part in host.opt_state if hasattr(part, "trace"))
    share = 0.1 * 0.9 if evaluate_at == "position" else 0.0
    expected = jax.tree.map(lambda w, t: w + share * t, host.params, trace)
    assert_close(host.best.params, expected)
    scored = program.evaluate(expected, state.hparams, np.ones(1, bool), data["valid"])
    np.testing.assert_allclose(valid, scored["mse"][0], rtol=1e-5)

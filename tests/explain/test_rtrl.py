"""RTRL is BPTT for every cell, and e-prop is BPTT with h cut off from the next step."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.explain.network import NO_TARGET, build_network
from lstm_lab.explain.rtrl import (
    SequenceLoss,
    compare_learning_rules,
    eprop_unsupported_reason,
    everything,
    learning_window,
    local_part,
    unsupported_reason,
)
from lstm_lab.tasks import Batch, Categorical, Examples, Real
from tests.helpers.explain import random_params, visited, zero_params
from tests.helpers.training import small_spec

H, T, B = 4, 3, 2


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def loss_of(cell, task=None, lengths=None, **model):
    spec = small_spec(model={"cell": cell, "hidden": H, **model}, task=task or {"length": T})
    network = build_network(spec, random_params(spec))
    rng = np.random.default_rng(3)
    if task is None:
        examples = Examples(rng.normal(size=(B, T, 2)), rng.normal(size=(B, 1)), lengths)
    else:
        x_BT = rng.integers(0, 2, (B, T))
        examples = Examples(x_BT, (np.cumsum(x_BT, 1) % 2)[..., None], lengths)
    batch = Batch(examples, jnp.ones(B), jnp.arange(B))
    return SequenceLoss(network, spec.task.target, batch)


def assert_same(found, expected, tolerance=1e-12):
    """Asserts equality relative to the largest gradient."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * largest)


@pytest.fixture(scope="module")
def programs():
    """Compiled gradients by the text of one step, for `both_gradients`."""
    return {}


def both_gradients(losses, programs):
    """Returns RTRL and BPTT as one compiled function of the weights.

    Compiling takes nearly all of the time. Cells that differ in initial weights or in training
    alone, such as lstm and chrono, have the same step and therefore share a program.
    """
    network, masks = losses.network, everything(losses.network)
    weights, x_D = network.params["lstm"], losses.inputs[0, 0]
    step = jax.jit(network.step).lower(weights, network.zero, x_D, jnp.array(True)).as_text()
    if step not in programs:
        programs[step] = jax.jit(lambda w: (losses.forward(w, *masks), losses.bptt(w)))
    return programs[step]


@pytest.mark.parametrize("cell", CATALOGUE)
def test_rtrl_gives_the_gradient_of_bptt(cell, programs):
    losses = loss_of(cell)
    assert_same(*both_gradients(losses, programs)(losses.network.params["lstm"]))


def test_rtrl_reads_every_step_lengths_and_layers():
    task = {"name": "parity", "length": T, "valid_size": 2, "test_size": 2}
    losses = loss_of("lstm", task, np.array([3, 2]), layers=2, residual=True)
    weights = losses.network.params["lstm"]
    expected = jax.jit(losses.bptt)(weights)
    assert_same(jax.jit(losses.forward)(weights, *everything(losses.network)), expected)
    local = jax.jit(losses.forward)(weights, *local_part(losses.network))
    gap = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), local, expected)
    assert max(jax.tree.leaves(gap)) > 1e-3


@pytest.mark.parametrize("cell", ["lstm", "peephole"])
def test_eprop_is_bptt_without_the_way_through_h(cell):
    """As its authors implement it: the recurrent product reads h without a gradient."""
    losses = loss_of(cell)
    spec = losses.network.model.lstm.spec
    recur = spec.cell.recur

    def cut(spec, params, zx, state, noise=None):
        return recur(spec, params, zx, state._replace(h=jax.lax.stop_gradient(state.h)), noise)

    cell_without = replace(spec, cell=replace(spec.cell, recur=cut))
    model = losses.network.model
    model = model.clone(lstm=model.lstm.clone(spec=cell_without))
    without = replace(losses, network=replace(losses.network, model=model))
    weights = losses.network.params["lstm"]
    expected = jax.jit(without.bptt)(weights)
    assert_same(jax.jit(losses.forward)(weights, *local_part(losses.network)), expected)


def test_eprop_of_a_cell_with_h_alone_keeps_the_diagonal():
    """With a diagonal recurrent matrix nothing is lost."""
    losses = loss_of("rnn")
    weights = losses.network.params["lstm"]
    wh = weights["layer_0"]["wh"]
    diagonal = {"layer_0": {**weights["layer_0"], "wh": wh * jnp.eye(H)[:, None]}}
    rule = jax.jit(losses.forward)
    found, exact = rule(diagonal, *local_part(losses.network)), losses.bptt(diagonal)
    # The gradient of weights off the diagonal needs other units only within their own step.
    assert_same(found, exact)
    with pytest.raises(AssertionError):
        assert_same(rule(weights, *local_part(losses.network)), losses.bptt(weights))


def test_the_comparison_has_all_groups_of_weights_and_what_it_cost():
    losses = loss_of("lstm")
    rules = compare_learning_rules(losses.network, losses.target, losses.batch)
    assert rules.difference < 1e-12
    assert list(rules.cosines) == ["all", "layer_0/b", "layer_0/wh", "layer_0/wx"]
    assert all(0.3 < cosine <= 1.0 for cosine in rules.cosines.values())
    assert (rules.steps, rules.states, rules.weights) == (T, 2 * H, 4 * H * (2 + H + 1))
    assert min(rules.rtrl_s, rules.bptt_s) > 0.0


def test_costs_and_cells_that_cannot_be_handled_are_named():
    deep = loss_of("rnn", layers=2).network
    assert "several layers" in eprop_unsupported_reason(deep)
    assert eprop_unsupported_reason(loss_of("lstm", layers=2).network) is None
    assert unsupported_reason(deep, 100) is None
    large = loss_of("lstm", hidden=128).network
    assert "multiplications" in unsupported_reason(large, 1000)
    assert "numbers" in unsupported_reason(loss_of("lstm", hidden=256).network, 1)


def test_the_window_holds_a_target_of_each_sequence():
    network, asked = loss_of("lstm").network, Categorical(3, every_step=True)

    def steps_of(targets, target=asked):
        lengths = (40,) * len(targets)
        return learning_window(network, visited(lengths, targets), target).examples.x.shape

    assert steps_of(((3, 39), (15, 39), (2,))) == (2, 16)
    assert steps_of(((28, 31), (3,))) == (2, 32)
    assert steps_of(((), (5,))) == (1, 16)
    assert steps_of(((), ()), Real(1)) == (2, 40)
    assert learning_window(network, visited((9,), ((),)), asked) == NO_TARGET
    far = visited((100_000,), ((99_999,),), padded=100_000)
    large = loss_of("lstm", hidden=64).network
    assert "multiplications" in learning_window(large, far, asked)


def test_a_gradient_of_zero_has_no_direction():
    losses = loss_of("lstm")
    params = jax.tree.map(np.float64, zero_params(small_spec(model={"cell": "lstm", "hidden": H})))
    network = replace(losses.network, params=params)
    reason = compare_learning_rules(network, losses.target, losses.batch)
    assert reason.startswith("the exact gradient is zero")

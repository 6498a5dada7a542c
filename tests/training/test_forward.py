"""A batch that is cut to its longest sequence gives the results of the full-length batch; noise has
keys of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.models.build import build_model
from lstm_lab.tasks import Batch, Examples, train_batch
from lstm_lab.training.forward import length_buckets, training_regularization
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.training import assert_close, ragged_spec, small_spec


def pieces(lengths, seed=0):
    """Returns random pieces of these lengths; NaN in the padding shows if anything reads it."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths), 88)
    x, y = ((rng.random(shape) < 0.05).astype(np.float32) for _ in range(2))
    padding = np.arange(max(lengths))[None] >= np.array(lengths)[:, None]
    x[padding] = y[padding] = np.nan
    return Examples(x, np.nan_to_num(y), np.array(lengths, np.int32))


@pytest.fixture
def spec():
    return ragged_spec(train={"batch_size": 2}, model={"cell": "np", "hidden": 6})


def test_evaluation_by_length_bucket_equals_full_length(spec):
    """Forty pieces of random length, a single piece, and 17 pieces of equal length."""
    state = TrainStep(spec, 0).init(member_of(spec, 10))
    for lengths in (np.random.default_rng(1).integers(1, 40, 40), [7], [40] * 17):
        examples = pieces(list(lengths))
        buckets = length_buckets(spec, examples)
        assert len(buckets) == 4
        assert buckets[-1] == max(lengths)
        cut = TrainStep(spec, 0, cut_to_length=True).evaluate(state.params, state.hparams, examples)
        whole = TrainStep(spec, 0).evaluate(state.params, state.hparams, examples)
        assert np.isfinite(whole["nll"])
        assert_close(cut, whole)


@pytest.mark.parametrize("lengths", [(3, 1), (15, 16), (16, 17), (40, 2)])
def test_a_step_cut_to_length_equals_a_full_step(spec, lengths):
    state = TrainStep(spec, 0).init(member_of(spec, 10))
    examples = pieces([*lengths, 40])
    few = jax.tree.map(lambda array: array[:2], examples)
    batch = Batch(few, np.ones(2, np.float32), np.arange(2))
    cut, whole = (TrainStep(spec, 0, cut_to_length=c).step(state, batch) for c in (True, False))
    assert_close(cut[0].params, whole[0].params)
    assert_close(cut[1].loss, whole[1].loss)


def test_larger_batches_have_no_length_buckets(spec):
    from dataclasses import replace

    many = replace(spec, train=replace(spec.train, batch_size=3))
    assert length_buckets(many, pieces([4, 9])) == ()
    assert length_buckets(spec, None) == ()


def keys_of(spec, state, batch):
    """Returns the keys of a step's noise: of the step and of its rows."""
    regularization = training_regularization(spec, state, batch)
    return jnp.concatenate([regularization.key[None], regularization.keys_B])


def test_no_key_of_noise_is_the_key_of_a_generated_example():
    """Nor are the keys that layers and a task derive from them."""
    spec, rows_B = small_spec(seed=3), jnp.arange(8)

    def with_key(key):
        return Examples(jax.random.key_data(key), jnp.zeros(1))

    def derived(keys):
        folded = jax.vmap(jax.random.fold_in, (0, None))
        both = [keys, *(folded(keys, k) for k in range(4))]
        return {tuple(key) for key in np.asarray(jax.random.key_data(jnp.concatenate(both)))}

    data, noise = set(), set()
    state = TrainStep(spec, 0).init(member_of(spec, 10))
    for step in range(5):
        batch = train_batch(with_key, None, jnp.uint32(3), jnp.int32(step), rows_B, 8)
        data |= derived(jax.random.wrap_key_data(batch.examples.x))
        noise |= derived(keys_of(spec, state._replace(step=jnp.int32(step)), batch))
    assert len(data) == 5 * 8 * 5
    assert not data & noise


def test_dropout_on_inputs_does_not_depend_on_generated_data():
    spec = small_spec(
        task={"name": "adding", "length": 50, "valid_size": 9, "test_size": 9},
        model={"dropout_in": 0.5},
    )
    step = TrainStep(spec, 0)
    state = step.init(member_of(spec, 10))
    batch = step.batch(None, state, None)
    regularization = training_regularization(spec, state, batch)
    value_TB = batch.examples.x[..., 0].T
    stack = build_model(spec).lstm
    kept_TB = stack._drop_inputs(batch.examples.x.swapaxes(0, 1), 0, regularization)[..., 0] != 0
    share = float((kept_TB == (value_TB < 0.5)).mean())
    # 400 values: the standard deviation of the share is 0.025.
    assert abs(share - 0.5) < 0.1


def test_noise_on_stored_data_has_the_keys_of_earlier_results():
    spec = ragged_spec(seed=3)
    batch = Batch(pieces([4, 9]), np.ones(2, np.float32), jnp.arange(2))
    state = TrainStep(spec, 0).init(member_of(spec, 10))._replace(step=jnp.int32(7))
    key = jax.random.fold_in(jax.random.key(3), 7)
    rows = [key, *(jax.random.fold_in(key, row) for row in range(2))]
    assert (keys_of(spec, state, batch) == jnp.stack(rows)).all()

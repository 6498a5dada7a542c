"""Batches are pure functions of (seed, step)."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.tasks import Adding, Examples, epoch_order, steps_per_epoch, train_batch


def numbered_examples(N):
    """Returns N examples whose inputs and targets are their numbers."""
    return Examples(np.arange(N, dtype=np.float32)[:, None, None], np.arange(N), np.ones(N, int))


def batch(N, seed, step, rows, size):
    return train_batch(
        None, numbered_examples(N), jnp.uint32(seed), jnp.int32(step), jnp.array(rows), size
    )


@settings(max_examples=20, deadline=None)
@given(N=st.integers(1, 23), size=st.integers(1, 8), seed=st.integers(0, 2**32 - 1))
def test_an_epoch_shows_every_example_once(N, size, seed):
    orders = []
    for epoch in range(2):
        seen = []
        for k in range(steps_per_epoch(numbered_examples(N), size)):
            b = batch(
                N, seed, epoch * steps_per_epoch(numbered_examples(N), size) + k, range(size), size
            )
            seen += list(np.asarray(b.examples.y)[np.asarray(b.weight_B) > 0])
        assert sorted(seen) == list(range(N))
        orders.append(seen)
    assert N < 10 or orders[0] != orders[1]


def test_batches_of_similar_length_show_every_example_once():
    lengths = np.random.default_rng(0).integers(1, 90, 1003).astype(np.int32)
    examples = Examples(np.zeros((1003, 1, 1)), np.arange(1003), lengths)
    order, other = (np.asarray(epoch_order(examples, jnp.uint32(3), e, 8)) for e in (0, 1))
    assert sorted(order) == list(range(1003))
    assert (order != other).mean() > 0.9
    batches = lengths[order[:1000]].reshape(-1, 8)
    plain = lengths[np.asarray(epoch_order(examples, jnp.uint32(3), 0))[:1000]].reshape(-1, 8)
    padding = [1 - b.sum() / (b.max(1).sum() * 8) for b in (batches, plain)]
    assert padding[0] < 0.05 < 0.3 < padding[1]
    # Batches of short and of long examples are mixed.
    means = batches.mean(1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_rows_of_a_device_equal_those_of_the_whole_batch():
    whole = batch(20, 3, 5, range(8), 8)
    part = batch(20, 3, 5, range(4, 8), 8)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[4:], b), whole, part)


def test_generated_batches_depend_only_on_the_step_and_the_row():
    task = Adding(length=6)

    def draw(step, rows):
        return train_batch(task.sample, None, jnp.uint32(0), jnp.int32(step), jnp.array(rows), 4)

    whole, again, other = draw(1, [0, 1, 2, 3]), draw(1, [2, 3]), draw(2, [2, 3])
    np.testing.assert_array_equal(whole.examples.x[2:], again.examples.x)
    assert np.abs(again.examples.x - other.examples.x).max() > 0.01

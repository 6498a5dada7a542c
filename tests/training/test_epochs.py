"""The order of the training examples: all of them in each epoch, and a new order in the next."""

import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks import Examples
from lstm_lab.training.epochs import next_order, order_of_epoch
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.training import ragged_spec, small_spec

N, ROWS, STEPS = 18, 4, 5  # the last batch of an epoch has two rows


def orders(spec, examples, steps):
    """Returns the order of each step, carried from step to step, and computed at each step."""
    state = TrainStep(spec, 100).init(member_of(spec, 100))
    order_N, carried, computed = None, [], []
    for step in range(steps):
        state = state._replace(step=jnp.int32(step))
        computed.append(order_of_epoch(spec, examples, state))
        order_N = next_order(spec, examples, state, computed[0] if step == 0 else order_N)
        carried.append(order_N)
    return np.array(carried), np.array(computed)


def test_every_epoch_has_all_examples_in_an_order_of_its_own():
    examples = Examples(np.zeros((N, 3, 2)), np.arange(N), np.full(N, 3))
    carried, computed = orders(ragged_spec(train={"batch_size": ROWS}), examples, 2 * STEPS)
    np.testing.assert_array_equal(carried, computed)
    np.testing.assert_array_equal(np.sort(carried, axis=1), np.tile(np.arange(N), (2 * STEPS, 1)))
    first, second = carried[:STEPS], carried[STEPS:]
    assert (first == first[0]).all()
    assert (second == second[0]).all()
    assert (first[0] != second[0]).any()


def test_buckets_put_examples_of_one_length_into_one_batch():
    lengths = np.tile(np.array([1, 9]), N // 2)
    examples = Examples(np.zeros((N, 9, 2)), np.arange(N), lengths)
    sizes = {"batch_size": N // 2}
    spread = {}
    for bucket in (False, True):
        _, (order_N,) = orders(ragged_spec(train=sizes | {"bucket": bucket}), examples, 1)
        spread[bucket] = np.ptp(lengths[order_N].reshape(2, -1), axis=1).max()
    assert spread == {False: 8, True: 0}


def test_a_task_that_generates_its_data_has_no_order():
    spec = small_spec()
    state = TrainStep(spec, 100).init(member_of(spec, 100))
    assert order_of_epoch(spec, None, state) is None
    assert next_order(spec, None, state, None) is None

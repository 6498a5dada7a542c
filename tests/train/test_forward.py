"""Batches that end at their longest sequence compute what whole ones do."""

import jax
import numpy as np
import pytest

from lstm_lab.tasks import Batch, Examples
from lstm_lab.train.evaluate import evaluate, time_cuts
from lstm_lab.train.state import init_state, member_of
from lstm_lab.train.step import train_step
from tests.helpers.training import close, ragged


def pieces(lengths, seed=0):
    """Random pieces of these lengths, padded with what nobody may read."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths), 88)
    x, y = ((rng.random(shape) < 0.05).astype(np.float32) for _ in range(2))
    past = np.arange(max(lengths))[None] >= np.array(lengths)[:, None]
    x[past] = y[past] = np.nan
    return Examples(x, np.nan_to_num(y), np.array(lengths, np.int32))


@pytest.fixture
def spec():
    return ragged(train={"batch_size": 2}, model={"cell": "np", "hidden": 6})


def test_an_evaluation_by_length_is_the_same(spec):
    """Forty pieces, several batches, and a split that is longer than the training data."""
    state = init_state(spec, 0, member_of(spec, 10))
    for lengths in (np.random.default_rng(1).integers(1, 40, 40), [7], [40] * 17):
        examples = pieces(list(lengths))
        cuts = time_cuts(spec, examples)
        assert len(cuts) == 4
        assert cuts[-1] == max(lengths)
        found = evaluate(spec, state.params, state.hparams, examples, cuts=cuts)
        whole = evaluate(spec, state.params, state.hparams, examples)
        assert np.isfinite(whole["nll"])
        close(found, whole)


@pytest.mark.parametrize("lengths", [(3, 1), (15, 16), (16, 17), (40, 2)])
def test_a_step_that_ends_early_is_the_same(spec, lengths):
    state = init_state(spec, 0, member_of(spec, 10))
    examples = pieces([*lengths, 40])
    few = jax.tree.map(lambda array: array[:2], examples)
    batch = Batch(few, np.ones(2, np.float32), np.arange(2))
    cuts = time_cuts(spec, examples)
    found, whole = (train_step(spec, 0, state, batch, cuts=c) for c in (cuts, ()))
    close(found[0].params, whole[0].params)
    close(found[1].loss, whole[1].loss)


def test_many_rows_are_not_cut(spec):
    from dataclasses import replace

    many = replace(spec, train=replace(spec.train, batch_size=3))
    assert time_cuts(many, pieces([4, 9])) == ()
    assert time_cuts(spec, None) == ()

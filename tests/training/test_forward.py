"""A batch that is cut to its longest sequence gives the results of the full-length batch."""

import jax
import numpy as np
import pytest

from lstm_lab.tasks import Batch, Examples
from lstm_lab.training.forward import length_buckets
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.training import assert_close, ragged_spec


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

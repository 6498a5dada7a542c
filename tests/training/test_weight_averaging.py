"""AWD-LSTM's parts: averaged weights, penalties on activations, chunks of varied length."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.config.sections import TrainSpec
from lstm_lab.tasks import Batch, Examples, Stream, train_batch
from lstm_lab.training import padding
from lstm_lab.training import weight_averaging as averaging
from lstm_lab.training.activation_penalties import penalty
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import EVALUATE
from lstm_lab.utils.errors import UserError
from tests.helpers.training import (
    TRACKS,
    assert_close,
    language_spec,
    nll_at_once,
    run_steps,
    small_spec,
    state_with_runs,
)

VARIED = {"unroll": 12, "unroll_std": 2.0}


def averaging_start(values, patience):
    """Returns the evaluation at which averaging starts by Merity et al.'s rule; None for never."""
    for k, value in enumerate(values):
        if k > patience and value > min(values[: k - patience]):
            return k
    return None


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("seed", range(6))
def test_averaging_starts_by_the_rule_of_the_paper(patience, seed):
    values = np.random.default_rng(seed).normal(size=12).astype(np.float32) - np.arange(12) / 3
    average = averaging.init(patience, {"w": jnp.zeros(2)})
    start_step = None
    for k, value in enumerate(values):
        # A step without an evaluation changes nothing.
        average = averaging.observe(average, jnp.float32(jnp.nan), jnp.asarray(False))
        average = averaging.observe(average, jnp.float32(value), jnp.asarray(True))
        if start_step is None and average.steps != averaging.WAITING:
            start_step = k
    assert start_step == averaging_start(values, patience)


def test_evaluations_use_the_mean_weights_once_averaging_started(text):
    # Steps are so large that the validation score gets worse, which starts the averaging.
    spec = language_spec(text, optim={"average": 1, "lr": 8.0})
    dataset = spec.task.load(Path())
    program = build_program(spec, 40, Layout("single", 1, 1))
    state, data = state_with_runs(program, [spec], 40), program.place_data(dataset.splits)
    values, weights, start = [], [], None
    for k in range(30):
        state, report = program.run_chunk(state, data, jnp.int32(1), jnp.int32(EVALUATE))
        host, valid = program.collect((state, report.valid["bits"][0]))
        if start is not None:
            weights.append(host.params)
            mean = jax.tree.map(lambda *a: np.mean(a, axis=0), *weights)
            assert_close(host.average.params, mean)
            scored = program.evaluate(mean, state.hparams, np.ones(1, bool), data["valid"])
            np.testing.assert_allclose(valid, scored["bits"][0], rtol=1e-5)
        values.append(float(valid))
        if start is None:
            start = averaging_start(values, 1)
            assert (host.average.steps[0] != averaging.WAITING) == (start is not None), k
    assert start is not None
    assert len(weights) > 5


@pytest.mark.parametrize("lengths", [None, [4, 2, 0]])
def test_penalties_equal_explicit_sums(lengths):
    rng = np.random.default_rng(0)
    raw, dropped = rng.normal(size=(2, 4, 3, 5))
    weight = np.array([1.0, 1.0, 1.0]) if lengths else np.array([1.0, 0.0, 1.0])
    expected = 0.0
    for b in range(3):
        for t in range(4 if lengths is None else lengths[b]):
            expected += weight[b] * 2.0 * np.mean(dropped[t, b] ** 2)
            if t:
                expected += weight[b] * 0.5 * np.mean((raw[t, b] - raw[t - 1, b]) ** 2)
    examples = Examples(jnp.zeros((3, 4)), None, None if lengths is None else jnp.array(lengths))
    batch = Batch(examples, jnp.array(weight), jnp.arange(3))
    train = TrainSpec(steps=1, activation_reg=2.0, temporal_reg=0.5)
    outputs = {"raw": (jnp.array(raw),), "dropped": (jnp.array(dropped),)}
    np.testing.assert_allclose(penalty(train, outputs, batch), expected, rtol=1e-5)


def test_penalties_shrink_the_recurrent_weights(text):
    def loss_and_weight_size(**train):
        spec = language_spec(text, train=train)
        losses, params = run_steps([spec], Layout("single", 1, 1), spec.task.load(Path()), 60)
        return losses[-1, 0], np.abs(params["lstm"]["layer_0"]["wh"]).mean()

    plain_loss, plain_size = loss_and_weight_size()
    penalized_loss, penalized_size = loss_and_weight_size(activation_reg=20.0, temporal_reg=20.0)
    assert penalized_size < plain_size
    assert penalized_loss > plain_loss


@pytest.mark.parametrize("kind", ["batch", "members"])
def test_several_devices_equal_one_with_averaging_and_penalties(text, kind):
    spec = language_spec(
        text,
        task=VARIED,
        optim={"average": 1},
        train={"activation_reg": 2.0, "temporal_reg": 1.0},
    )
    dataset = spec.task.load(Path())
    losses, params = run_steps([spec], Layout("single", 1, 1), dataset)
    lanes = 1 if kind == "batch" else 2
    device_losses, device_params = run_steps([spec] * lanes, Layout(kind, 2, lanes), dataset)
    assert_close(device_losses[:, :1], losses)
    assert_close(jax.tree.map(lambda a: a[:1], device_params), params)


def test_chunks_of_varied_length_cover_the_text_in_order():
    N, T, tracks = 2003, 20, 3
    stream = Stream(jnp.arange(N, dtype=jnp.int32), T, std=4.0)
    length = (N - 1) // tracks
    chunks = length // T
    seen, lengths = [], []
    for step in range(2 * chunks):
        batch = train_batch(None, stream, jnp.uint32(7), jnp.int32(step), jnp.arange(3), tracks)
        x, y, n = (
            np.asarray(a) for a in (batch.examples.x, batch.examples.y, batch.examples.lengths)
        )
        assert (n == n[0]).all()
        assert x.shape == (3, T + 2 * stream.shift)
        np.testing.assert_array_equal(y[:, : n[0]], x[:, : n[0]] + 1)
        assert bool(batch.is_start) == (step % chunks == 0)
        seen.append(x[:, : n[0]])
        lengths.append(n[0])
    first, second = np.concatenate(seen[:chunks], 1), np.concatenate(seen[chunks:], 1)
    rows = np.arange(tracks)[:, None] * length + np.arange(chunks * T)[None]
    np.testing.assert_array_equal(first, rows)
    np.testing.assert_array_equal(second, rows)
    assert lengths[:chunks] != lengths[chunks:]
    assert 2.0 < np.std(lengths) < 6.0


def test_the_state_is_carried_through_chunks_of_varied_length(text):
    spec = language_spec(text, task=VARIED, optim={"lr": 1e-30})
    dataset = spec.task.load(Path())
    tokens = dataset.splits["train"].tokens
    n = (len(tokens) - 1) // TRACKS
    chunks = n // 12
    rows = np.stack([tokens[k * n : k * n + n + 1] for k in range(TRACKS)])
    losses, params = run_steps([spec], Layout("single", 1, 1), dataset, chunks)
    nll = nll_at_once(spec, jax.tree.map(lambda a: a[0], params), rows)[:, : chunks * 12]
    sizes = [
        int(
            train_batch(
                None, dataset.splits["train"], *seed_and_step, jnp.arange(1), TRACKS
            ).examples.lengths[0]
        )
        for seed_and_step in ((jnp.uint32(0), jnp.int32(k)) for k in range(chunks))
    ]
    assert len(set(sizes)) > 1
    parts = np.split(nll, np.cumsum(sizes)[:-1], axis=1)
    np.testing.assert_allclose(losses[:, 0], [part.mean() for part in parts], rtol=1e-5)


def test_invalid_awd_lstm_settings_are_rejected(text):
    with pytest.raises(UserError, match="temporal_reg: adding has no outputs at every step"):
        small_spec(train={"temporal_reg": 1.0})
    with pytest.raises(UserError, match="activation_reg: got -1.0, expected 0 or more"):
        language_spec(text, train={"activation_reg": -1.0})
    with pytest.raises(UserError, match="average: got 0, expected 1 or more, or none"):
        language_spec(text, optim={"average": 0})
    with pytest.raises(UserError, match="unroll_std: got 2.0, expected 0 to a quarter of unroll"):
        language_spec(text, task={"unroll_std": 2.0})
    penalized = language_spec(text, train={"activation_reg": 1.0}, model={"embedding": None})
    assert "would include the padding" in padding.unsupported_reason(penalized)
    assert run_id(penalized) != run_id(language_spec(text, model={"embedding": None}))

"""Metrics are sums and counts over predictions, compared with scikit-learn and with formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    mean_squared_error,
)

from lstm_lab.tasks import (
    IGNORE_INDEX,
    Batch,
    Bernoulli,
    Categorical,
    CopyMemory,
    Dyck,
    Examples,
    Real,
    Tags,
    loss_sum,
    means,
    metric_sums,
)

RNG = np.random.default_rng(0)
B, T, C = 5, 7, 4
LENGTHS = np.array([7, 3, 0, 1, 5])


def batch(y, lengths=None, weight=None):
    x = jnp.zeros((B, T, 1))
    weight = jnp.ones(B) if weight is None else jnp.asarray(weight, jnp.float32)
    e = Examples(x, jnp.asarray(y), None if lengths is None else jnp.asarray(lengths))
    return Batch(e, weight, jnp.arange(B))


def test_categorical_metrics_equal_scikit_learn():
    logits, y = RNG.normal(size=(B, C)), np.array([0, 1, 2, 3, 1])
    metrics = metric_sums(Categorical(C), jnp.asarray(logits), batch(y))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(metrics["nll"][0] / B, log_loss(y, p, labels=range(C)), rtol=1e-5)
    assert metrics["accuracy"][0] / metrics["accuracy"][1] == np.float32(
        accuracy_score(y, p.argmax(-1))
    )


def test_every_real_step_counts_once():
    logits, y = RNG.normal(size=(B, T, C)), RNG.integers(0, 2, size=(B, T, C)).astype(np.float32)
    metrics = metric_sums(Bernoulli(C, every_step=True), jnp.asarray(logits), batch(y, LENGTHS))
    p = 1 / (1 + np.exp(-logits))
    per_step = -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum(-1)
    total = sum(per_step[b, :n].sum() for b, n in enumerate(LENGTHS))
    np.testing.assert_allclose(metrics["nll"][0], total, rtol=1e-5)
    assert metrics["nll"][1] == LENGTHS.sum()


def test_filler_rows_do_not_count_even_if_they_are_nan():
    prediction, y = RNG.normal(size=(B, 1)), RNG.normal(size=(B, 1))
    prediction[2] = np.nan
    metrics = metric_sums(Real(1), jnp.asarray(prediction), batch(y, weight=[1, 1, 0, 1, 1]))
    real_rows = [0, 1, 3, 4]
    expected = mean_squared_error(y[real_rows], prediction[real_rows])
    np.testing.assert_allclose(metrics["mse"][0] / metrics["mse"][1], expected, rtol=1e-5)


def test_accuracy_of_a_single_logit():
    metrics = metric_sums(
        Bernoulli(1), jnp.array([[2.0], [-1], [3], [-2], [0.5]]), batch([[1], [1], [1], [0], [0]])
    )
    assert metrics["accuracy"] == (3.0, 5.0)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_with_weights_and_label_smoothing(weighted, smoothing):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(6, 3)), rng.integers(0, 3, 6)
    weights = rng.random(6).astype(np.float32) if weighted else None
    real_rows = np.array([1, 1, 0, 1, 1, 1], np.float32)
    examples = Examples(jnp.zeros((6, 1)), jnp.array(y), weights=weights)
    batch = Batch(examples, jnp.array(real_rows), jnp.arange(6))
    total, count = loss_sum(Categorical(3, weighted=weighted), jnp.array(logits), batch, smoothing)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = (1 - smoothing) * np.eye(3)[y] + smoothing / 3
    w = real_rows * (1.0 if weights is None else weights)
    np.testing.assert_allclose(total, -(w[:, None] * target * log_p).sum(), rtol=1e-5)
    np.testing.assert_allclose(count, w.sum(), rtol=1e-6)


def steps_of(values):
    """Returns the real steps of all rows, one after another."""
    return np.concatenate([values[b, :n] for b, n in enumerate(LENGTHS)])


def test_classes_at_every_step_equal_scikit_learn():
    logits, y = RNG.normal(size=(B, T, C)), RNG.integers(0, C, size=(B, T))
    target = Categorical(C, every_step=True, metrics=("accuracy", "perplexity", "bits"))
    sums = metric_sums(target, jnp.asarray(logits), batch(y, LENGTHS))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    nll = log_loss(steps_of(y), steps_of(p), labels=range(C))
    metrics = means(target, sums)
    np.testing.assert_allclose(metrics["nll"], nll, rtol=1e-5)
    np.testing.assert_allclose(metrics["perplexity"], np.exp(nll), rtol=1e-5)
    np.testing.assert_allclose(metrics["bits"], nll / np.log(2), rtol=1e-5)
    expected = accuracy_score(steps_of(y), steps_of(p).argmax(-1))
    np.testing.assert_allclose(metrics["accuracy"], expected, rtol=1e-6)
    assert list(metrics) == ["nll", "accuracy", "perplexity", "bits"]


def test_accuracies_of_sequences_count_their_last_step_and_all_of_their_steps():
    target = Categorical(C, True, ("accuracy", "last_accuracy", "sequence_accuracy"))
    y = RNG.integers(0, C, size=(B, T))
    guess = y.copy()
    # Row 0: wrong at the last step; row 1: in the padding; row 3: nowhere; row 4: at the first.
    # Row 2 has no steps and does not count.
    for row, step in ((0, T - 1), (1, 3), (4, 0)):
        guess[row, step] = (y[row, step] + 1) % C
    logits = jnp.asarray(np.eye(C)[guess])
    total = metric_sums(target, logits, batch(y, LENGTHS))
    assert tuple(map(float, total["last_accuracy"])) == (3, 4)
    assert tuple(map(float, total["sequence_accuracy"])) == (2, 4)
    filled = metric_sums(target, logits, batch(y, LENGTHS, weight=[1, 1, 1, 0, 1]))
    assert tuple(map(float, filled["last_accuracy"])) == (2, 3)
    names = list(means(target, total))
    assert names == ["nll", "accuracy", "last_accuracy", "sequence_accuracy"]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_steps_of_ignore_index_count_in_no_metric(lengths):
    rng = np.random.default_rng(1)
    logits, y = rng.normal(size=(B, T, C)), rng.integers(0, C, size=(B, T))
    y[rng.random((B, T)) < 0.5] = IGNORE_INDEX
    y[3] = IGNORE_INDEX  # a whole row
    counted = y != IGNORE_INDEX
    if lengths is not None:
        counted &= np.arange(T) < lengths[:, None]
    target = Categorical(C, every_step=True, metrics=("accuracy", "macro_f1"))
    sums = metric_sums(target, jnp.asarray(logits), batch(y, lengths))
    # The same predictions without those steps, one after another.
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    true, p, guess = y[counted], p[counted], p[counted].argmax(-1)
    assert sums["nll"][1] == sums["accuracy"][1] == len(true)
    metrics = means(target, sums)
    np.testing.assert_allclose(metrics["nll"], log_loss(true, p, labels=range(C)), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], accuracy_score(true, guess), rtol=1e-6)
    np.testing.assert_allclose(metrics["macro_f1"], f1_score(true, guess, average="macro"))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_that_of_the_steps_with_a_target(weighted, smoothing):
    rng = np.random.default_rng(2)
    logits, y = rng.normal(size=(B, T, C)), rng.integers(-1, C, size=(B, T))
    weights = rng.random(B).astype(np.float32) if weighted else np.ones(B, np.float32)
    rows = batch(y, LENGTHS)
    rows = rows._replace(examples=rows.examples._replace(weights=jnp.asarray(weights)))
    target = Categorical(C, every_step=True, weighted=weighted)
    total, count = loss_sum(target, jnp.asarray(logits), rows, smoothing)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected, number = 0.0, 0.0
    for b, n in enumerate(LENGTHS):
        for t in range(n):
            if y[b, t] >= 0:
                nll, mean = -log_p[b, t, y[b, t]], -log_p[b, t].mean()
                expected += weights[b] * ((1 - smoothing) * nll + smoothing * mean)
                number += weights[b]
    np.testing.assert_allclose((total, count), (expected, number), rtol=1e-5)


def test_a_target_at_every_step_needs_no_comparison():
    """Programs of tasks without such steps stay as they were, and so do the bits of their runs."""
    rows, logits = batch(np.zeros((B, T), int)), jnp.zeros((B, T, C))

    def program(target):
        return str(jax.make_jaxpr(lambda logits: metric_sums(target, logits, rows))(logits))

    assert " ne " in program(Categorical(C, True))
    assert " ne " not in program(Categorical(C, True, may_ignore=False))
    for target in (CopyMemory.target, Dyck().target, Tags("a.conll", ("O", "B-a")).target):
        assert not target.may_ignore


def test_numbers_of_minus_one_are_targets_like_all_others():
    y = -np.ones((B, T, 1), np.float32)
    sums = metric_sums(Real(1, every_step=True), jnp.zeros((B, T, 1)), batch(y, LENGTHS))
    assert sums["mse"] == (LENGTHS.sum(), LENGTHS.sum())


def test_numbers_at_every_step_equal_scikit_learn():
    prediction, y = RNG.normal(size=(2, B, T, C))
    target = Real(C, every_step=True)
    sums = metric_sums(target, jnp.asarray(prediction), batch(y, LENGTHS))
    metrics = means(target, sums)
    for name, error in (("mse", mean_squared_error), ("mae", mean_absolute_error)):
        expected = error(steps_of(y), steps_of(prediction))
        np.testing.assert_allclose(metrics[name], expected, rtol=1e-5)


def test_the_smoothed_loss_weighs_all_steps_of_a_sequence_alike():
    logits, y = RNG.normal(size=(B, T, C)), RNG.integers(0, C, size=(B, T))
    weights = RNG.random(B).astype(np.float32)
    examples = Examples(
        jnp.zeros((B, T, 1)), jnp.asarray(y), jnp.asarray(LENGTHS), weights=jnp.asarray(weights)
    )
    target = Categorical(C, every_step=True, weighted=True)
    rows = Batch(examples, jnp.ones(B), jnp.arange(B))
    total, count = loss_sum(target, jnp.asarray(logits), rows, 0.1)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    labels = 0.9 * np.eye(C)[y] + 0.1 / C
    loss = -(labels * log_p).sum(-1)
    per_row = [weights[b] * loss[b, :n].sum() for b, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(total, sum(per_row), rtol=1e-5)
    np.testing.assert_allclose(count, (weights * LENGTHS).sum(), rtol=1e-6)

"""Counter languages: sets of next symbols, distributions of n, and the first failing n."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.tasks import Bernoulli, CounterLanguage, Examples, Tokens
from lstm_lab.tasks.datasets.counters import SHAPES

NOWHERE = Path("nowhere")


def words(symbols, most):
    """Returns all words of the language up to n = most, each with the end symbol."""
    return ["".join("abcd"[k] * n for k in range(symbols)) + "$" for n in range(1, most + 1)]


def next_symbols(prefix, language):
    """Returns which symbols continue a prefix to a word, by search."""
    return {word[len(prefix)] for word in language if word.startswith(prefix)}


@pytest.mark.parametrize("symbols", [2, 3, 4])
def test_targets_are_the_symbols_that_continue_to_a_word(symbols):
    task = CounterLanguage(symbols=symbols, test_n=5, max_n=4, valid_size=50)
    # One more than the longest: after five a's there may be a sixth one.
    alphabet, language = "abcd"[:symbols] + "$", words(symbols, 6)
    splits = task.load(NOWHERE).splits
    assert splits["valid"].x.shape == (50, 4 * symbols)
    assert splits["test"].lengths.tolist() == [symbols * n for n in range(1, 6)]
    for split in splits.values():
        for x, y, length in zip(split.x, split.y, split.lengths, strict=True):
            word = "".join(alphabet[k] for k in x[:length])
            assert word + "$" in language
            for t in range(length):
                predicted = {alphabet[k] for k in np.flatnonzero(y[t])}
                assert predicted == next_symbols(word[: t + 1], language)
    assert (task.inputs, task.target) == (Tokens(symbols), Bernoulli(symbols + 1, every_step=True))


def beta_binomial(k, n, a, b):
    """Returns the probability of k, written out with gamma functions."""

    def log_beta(x, y):
        return math.lgamma(x) + math.lgamma(y) - math.lgamma(x + y)

    return math.comb(n, k) * math.exp(log_beta(k + a, n - k + b) - log_beta(a, b))


@pytest.mark.parametrize("distribution", SHAPES)
def test_n_follows_its_distribution(distribution):
    task = CounterLanguage(symbols=2, distribution=distribution, min_n=3, max_n=12)
    p = np.array([beta_binomial(k, 9, *SHAPES[distribution]) for k in range(10)])
    np.testing.assert_allclose(np.exp(task.log_probabilities()), p, rtol=1e-5)
    keys = jax.random.split(jax.random.key(1), 5000)
    n = jax.device_get(jax.jit(jax.vmap(task.sample))(keys)).lengths // 2
    counts = np.bincount(n, minlength=13)[3:]
    assert counts.sum() == 5000
    # Chi-square with 9 degrees of freedom exceeds 27.9 with probability 0.001.
    assert ((counts - 5000 * p) ** 2 / (5000 * p)).sum() < 27.9


def test_the_shapes_are_those_of_the_paper():
    def p(distribution):
        return np.exp(CounterLanguage(distribution=distribution).log_probabilities())

    np.testing.assert_allclose(p("uniform"), 1 / 50, rtol=1e-5)
    u = p("u_shaped")
    np.testing.assert_allclose(u, u[::-1], rtol=1e-5)
    assert u.argmin() in (24, 25)
    assert (np.diff(p("right_tailed")) < 0).all()
    np.testing.assert_allclose(p("left_tailed"), p("right_tailed")[::-1], rtol=1e-5)


def test_the_first_failing_n_is_the_first_one_with_a_wrong_step():
    task = CounterLanguage(symbols=2, test_n=6, valid_size=1)
    test = task.load(NOWHERE).splits["test"]
    right = np.where(test.y > 0.5, 3.0, -3.0)

    def first(outputs):
        return task.final_metrics(outputs, test, {})["first_failing_n"]

    assert first(right) == 7.0  # none fails
    padded = right.copy()
    padded[0, 2:] *= -1.0  # n = 1 has two steps; the rest is padding
    assert first(padded) == 7.0
    for n, step, symbol in ((6, 11, 2), (4, 0, 1), (1, 1, 0)):
        wrong = right.copy()
        wrong[n - 1, step, symbol] *= -1.0
        assert first(wrong) == n
    later = right.copy()
    later[[2, 4], 1] *= -1.0  # n = 3 and n = 5 fail
    assert first(later) == 3.0
    curve = task.final_curves(later, test, {})["accepted_by_n"]
    assert (curve.x, curve.mark) == ((1, 2, 3, 4, 5, 6), 50)
    assert curve.y == (1.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    # A run computes only the curves and metrics that its task names.
    assert (task.curve_names, task.final_metric_directions) == (
        ("accepted_by_n",),
        {"first_failing_n": "max"},
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_n": 0}, "min_n: got 0, expected 1 or more"),
        ({"min_n": 5, "max_n": 4}, "max_n: got 4, expected 5 or more"),
        ({"test_n": 0}, "test_n: got 0, expected 1 or more"),
        ({"valid_size": 0}, "valid_size: got 0, expected 1 or more"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        CounterLanguage(**options)


def test_training_examples_have_lengths():
    drawn = CounterLanguage(max_n=4).sample(jax.random.key(0))
    assert isinstance(drawn, Examples)
    assert drawn.lengths.dtype == np.int32

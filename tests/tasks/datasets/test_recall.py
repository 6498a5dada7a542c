"""Recall tasks: an independent solver finds every target, and positions follow their laws."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.tasks import MultiQueryRecall, SelectiveCopy

NOWHERE = Path("nowhere")


def draw(task, n, seed=0):
    return jax.device_get(jax.jit(jax.vmap(task.sample))(jax.random.split(jax.random.key(seed), n)))


def solve_recall(x_T, pairs, vocabulary):
    """Returns the targets of a sequence, read step by step; None if more than one is possible.

    A query is a known key at an even step after the pairs; a random symbol may look like one.
    """
    memory, possible = {}, []
    for t in range(0, 2 * pairs, 2):
        key, value = int(x_T[t]), int(x_T[t + 1])
        assert 0 < key < vocabulary // 2 <= value < vocabulary
        assert key not in memory
        memory[key] = value
    assert len(set(memory.values())) == pairs
    for t in range(2 * pairs, len(x_T), 2):
        if int(x_T[t]) in memory:
            possible.append((t, memory[int(x_T[t])]))
    return possible


@pytest.mark.parametrize("filler", ["random", "blank"])
def test_every_key_is_asked_for_once_and_its_value_is_the_target(filler):
    task = MultiQueryRecall(length=40, pairs=5, vocabulary=30, filler=filler)
    examples = draw(task, 300)
    looks_like_a_query = 0
    for x_T, y_T in zip(examples.x, examples.y, strict=True):
        asked = [(t, int(y_T[t])) for t in np.flatnonzero(y_T >= 0)]
        possible = solve_recall(x_T, 5, 30)
        assert set(asked) <= set(possible)
        assert len(asked) == len({value for _, value in asked}) == 5
        looks_like_a_query += len(possible) - 5
        if filler == "blank":
            assert (x_T[10:] > 0).sum() == 5
    assert set(np.unique(examples.y)) == {-1, *range(15, 30)}
    # With random filler, a random symbol equals a key of the sequence now and then.
    assert (looks_like_a_query > 0) == (filler == "random")


def test_slots_of_queries_follow_the_power_law():
    # With one pair, the slot is a single draw, so its law is the weights themselves.
    task = MultiQueryRecall(length=18, pairs=1, vocabulary=8, power=0.2)
    slots = ((draw(task, 4000).y >= 0).argmax(1) - 2) // 2
    weights = np.arange(1, 9) ** (0.2 - 1.0)
    expected = 4000 * weights / weights.sum()
    counts = np.bincount(slots, minlength=8)
    # Chi-square with 7 degrees of freedom exceeds 24.3 with probability 0.001.
    assert ((counts - expected) ** 2 / expected).sum() < 24.3


def test_slots_without_replacement_are_drawn_one_after_another():
    task = MultiQueryRecall(length=16, pairs=2, vocabulary=12, power=0.5)
    examples = draw(task, 6000)
    first_key = examples.x[:, 0]
    # Where each of the two keys is asked for; the first pair's slot is drawn first.
    asked = [
        (x[4::2][y[4::2] >= 0], np.flatnonzero(y[4::2] >= 0))
        for x, y in zip(examples.x, examples.y, strict=True)
    ]
    drawn = np.array(
        [
            places[np.argsort(keys != key)]
            for (keys, places), key in zip(asked, first_key, strict=True)
        ]
    )
    p = np.arange(1, 7) ** (0.5 - 1.0)
    p /= p.sum()
    # Drawn first i, then j from the rest: p_i p_j / (1 - p_i).
    joint = p[:, None] * p[None] / (1 - p[:, None])
    counts = np.zeros((6, 6))
    np.add.at(counts, (drawn[:, 0], drawn[:, 1]), 1)
    other = ~np.eye(6, dtype=bool)
    assert counts[~other].sum() == 0
    expected = 6000 * joint[other]
    # Chi-square with 29 degrees of freedom exceeds 58.3 with probability 0.001.
    assert ((counts[other] - expected) ** 2 / expected).sum() < 58.3


def test_mqar_tests_at_another_size():
    task = MultiQueryRecall(
        length=16, pairs=2, vocabulary=20, test_length=32, test_pairs=8, valid_size=5, test_size=6
    )
    splits = task.load(NOWHERE).splits
    assert [splits[k].x.shape for k in ("valid", "test")] == [(5, 16), (6, 32)]
    assert ((splits["test"].y >= 0).sum(1) == 8).all()
    assert task.target.size == 20


def test_selective_copying_matches_its_definition():
    examples = draw(SelectiveCopy(length=30, symbols=6, vocabulary=9), 500)
    for x_T, y_T in zip(examples.x, examples.y, strict=True):
        assert (x_T[-6:] == 8).all()
        np.testing.assert_array_equal(x_T[:-6][x_T[:-6] > 0], y_T[-6:])
        assert (y_T[:-6] == -1).all()
    assert set(np.unique(examples.x[:, :-6])) == set(range(8))
    # All places are equally likely: 6 of 24.
    counts = (examples.x[:, :-6] > 0).sum(0)
    assert counts.sum() == 3000
    # Below the chi-square of 23 degrees of freedom, since places of a sequence differ.
    assert ((counts - 125.0) ** 2 / 125.0).sum() < 49.7
    symbols = np.bincount(examples.y[:, -6:].ravel(), minlength=8)[1:]
    assert ((symbols - 3000 / 7) ** 2 / (3000 / 7)).sum() < 22.5


def test_selective_copying_tests_at_another_length():
    task = SelectiveCopy(length=20, symbols=3, test_length=50, valid_size=1, test_size=4)
    test = task.load(NOWHERE).splits["test"]
    assert test.x.shape == (4, 50)
    assert ((test.y >= 0).sum(1) == 3).all()
    # The second symbol of one of the four sequences is wrong.
    outputs = np.eye(15)[test.y]
    outputs[2, -2] = np.roll(outputs[2, -2], 1)
    curve = task.final_curves(outputs, test, {})["accuracy_by_symbol"]
    assert (curve.x, curve.y) == ((1, 2, 3), (1.0, 0.75, 1.0))
    assert task.curve_names == ("accuracy_by_symbol",)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiQueryRecall(length=15), "length: got 15, expected an even number"),
        (lambda: MultiQueryRecall(vocabulary=9), "vocabulary: got 9, expected an even number"),
        (lambda: MultiQueryRecall(length=16, pairs=5), "pairs: got 5, expected 1 to 4"),
        (lambda: MultiQueryRecall(pairs=5, vocabulary=8), "pairs: got 5, expected 1 to 3"),
        (lambda: MultiQueryRecall(test_pairs=17), "test_pairs: got 17, expected 1 to 16"),
        (lambda: MultiQueryRecall(vocabulary=2), "vocabulary: got 2, expected 4 or more"),
        (lambda: MultiQueryRecall(test_pairs=0), "test_pairs: got 0, expected 1 to 16"),
        (lambda: MultiQueryRecall(pairs=0), "pairs: got 0, expected 1 to 16"),
        (lambda: SelectiveCopy(length=9, symbols=5), "length: got 9, expected 10 or more"),
        (lambda: SelectiveCopy(vocabulary=2), "vocabulary: got 2, expected 3 or more"),
        (lambda: SelectiveCopy(symbols=0), "symbols: got 0, expected 1 or more"),
    ],
)
def test_invalid_options_are_rejected(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""The data of each synthetic task and of Digits match their definition."""

from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.tasks import (
    TASKS,
    Adding,
    Bernoulli,
    Categorical,
    CopyMemory,
    Digits,
    TemporalOrder,
    Tokens,
)
from lstm_lab.tasks.metrics import metric_names

NOWHERE = Path("nowhere")


def draw(task, n=200):
    return jax.device_get(jax.vmap(task.sample)(jax.random.split(jax.random.key(0), n)))


def test_adding_matches_its_definition():
    e = draw(Adding(length=10), 2000)
    marks = e.x[..., 1]
    assert set(np.unique(marks)) == {0.0, 1.0}
    np.testing.assert_array_equal(marks[:, :5].sum(1), 1)
    np.testing.assert_array_equal(marks[:, 5:].sum(1), 1)
    np.testing.assert_allclose(e.y[:, 0], (e.x[..., 0] * marks).sum(1), rtol=1e-6)
    assert abs(np.square(e.y - 1).mean() - 1 / 6) < 0.01


def test_copy_memory_matches_its_definition():
    e = draw(CopyMemory(delay=7))
    assert e.x.shape == (200, 27)
    np.testing.assert_array_equal(e.x[:, :10], e.y[:, -10:])
    assert set(np.unique(e.x[:, :10])) == set(range(1, 9))
    assert (e.x[:, 16] == 9).all()
    assert not e.x[:, 10:16].any()
    assert not e.x[:, 17:].any()
    assert not e.y[:, :-10].any()


@pytest.mark.parametrize("classes", [2, 4])
def test_temporal_order_matches_its_definition(classes):
    task = TemporalOrder(length=30, classes=classes, distractors=5)
    e = draw(task, 500)
    for x, y in zip(e.x, e.y, strict=True):
        (places,) = np.nonzero(x < 2)
        a, b = x[places]
        assert len(places) == 2
        assert 3 <= places[0] < 6
        assert 15 <= places[1] < 18
        assert y == (2 * a + b if classes == 4 else a)
        assert classes == 4 or a != b
    assert np.unique(e.y).size == classes
    assert task.inputs == Tokens(7)
    assert e.x.max() == 6


@pytest.mark.parametrize("task", [Adding(), CopyMemory(), TemporalOrder()], ids=lambda t: t.name)
def test_fixed_splits_are_reproducible_and_disjoint(task):
    splits = task.load(NOWHERE).splits
    again = task.load(NOWHERE).splits
    jax.tree.map(np.testing.assert_array_equal, splits, again)
    rows = [tuple(x.ravel()) for e in splits.values() for x in e.x]
    assert len(set(rows)) == len(rows) == 2000
    assert "train" not in splits


@pytest.mark.parametrize("pixels", [1, 2, 4, 8])
def test_digits_hold_every_image_once(pixels):
    from sklearn.datasets import load_digits

    splits = Digits(pixels_per_step=pixels).load(NOWHERE).splits
    assert [len(splits[k].x) for k in ("train", "valid", "test")] == [1167, 270, 360]
    assert splits["train"].x.shape[1:] == (64 // pixels, pixels)
    images, labels = load_digits(return_X_y=True)
    digits = sorted((*e.x[k].ravel(), e.y[k]) for e in splits.values() for k in range(len(e.x)))
    expected = sorted((*image / 16, label) for image, label in zip(images, labels, strict=True))
    np.testing.assert_allclose(digits, expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Digits(valid_size=0), "valid_size: got 0"),
        (lambda: Digits(test_size=1700), "leaves none of the 1797"),
        (lambda: CopyMemory(delay=0), "delay: got 0"),
        (lambda: TemporalOrder(length=9), "length: got 9, expected 10"),
        (lambda: TemporalOrder(distractors=0), "distractors: got 0"),
        (lambda: Adding(test_size=0), "test_size: got 0"),
    ],
)
def test_invalid_options_are_rejected(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_metric_of_every_task_exists():
    for task in TASKS.values():
        required = {
            **dict.fromkeys(("train", "file", "train_source", "train_target"), "a.txt"),
            **dict.fromkeys(("labels", "inputs_of", "targets"), ("a", "b")),
            **dict.fromkeys(("attributes", "categories"), 2),
        }
        instance = task(**{k: v for k, v in required.items() if k in task.__dataclass_fields__})
        assert instance.metric in metric_names(instance.target)
    assert metric_names(Categorical(3)) == ("nll", "accuracy")
    assert metric_names(Bernoulli(1)) == ("nll", "accuracy")


def test_cross_validation_tests_every_digit_once():
    parts = [Digits(folds=5, fold=k).load(Path("nowhere")).splits for k in range(5)]
    assert sum(len(p["test"].y) for p in parts) == 1797
    rows = np.concatenate([p["test"].x.reshape(len(p["test"].y), -1) for p in parts])
    whole = Digits(folds=3, fold=0).load(Path("nowhere")).splits
    every = np.concatenate([e.x.reshape(len(e.y), -1) for e in whole.values()])
    np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(every, axis=0))
    np.testing.assert_array_equal(parts[0]["valid"].x, parts[1]["test"].x)
    for wrong, message in (
        ({"folds": 2, "fold": 0}, "folds: got 2, expected 3 or more"),
        ({"folds": 4}, "expected both or neither"),
        ({"folds": 4, "fold": 4}, "fold: got 4, expected 0 to 3"),
    ):
        with pytest.raises(ValueError, match=message):
            Digits(**wrong)

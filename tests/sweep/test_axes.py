"""Axes and random trials: how they combine, and what stays when a study grows."""

import numpy as np
import pytest
from scipy import stats

from lstm_lab.sweep.axes import (
    Choice,
    Given,
    LogUniform,
    Uniform,
    chain,
    cross,
    grid,
    label,
    random,
    zipped,
)
from lstm_lab.utils.errors import UserError

RANGES = {
    "model.hidden": LogUniform(20, 200, integer=True),
    "optim.lr": LogUniform(1e-6, 1e-2),
    "optim.momentum": LogUniform(0.01, 1.0, one_minus=True),
    "noise": Uniform(0.0, 1.0),
}


def test_axes_cross_zip_and_chain():
    axes = (grid("a.x", (1, 2)), zipped({"a.y": (3, 4, 5), "b.z": "uvw"}))
    points = cross(axes)
    assert len(points) == 6
    assert points[0] == {"a.x": 1, "a.y": 3, "b.z": "u"}
    assert label(points[5]) == "x=2 y=5 z=w"
    assert cross(()) == [{}]
    chained = chain(grid("a.x", (1, 2)), zipped({"a.x": (7,), "a.y": (8,)}))
    assert cross((chained, grid("b.z", "uv")))[::2] == [
        {"a.x": 1, "b.z": "u"},
        {"a.x": 2, "b.z": "u"},
        {"a.x": 7, "a.y": 8, "b.z": "u"},
    ]


def test_a_condition_leaves_its_axis_out():
    axes = (
        grid("optim.name", ("adam", "sgd")),
        grid("optim.nesterov", (False, True), when={"optim.name": "sgd"}),
    )
    assert cross(axes) == [
        {"optim.name": "adam"},
        {"optim.name": "sgd", "optim.nesterov": False},
        {"optim.name": "sgd", "optim.nesterov": True},
    ]
    alone = (grid("optim.nesterov", (False, True), when={"optim.name": "sgd"}),)
    assert cross(alone, {"optim.name": "adam"}) == [{}]
    assert len(cross(alone, {"optim.name": "sgd"})) == 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: zipped({"a": (1,), "b": (1, 2)}), "allowed equally many"),
        (lambda: cross((grid("a", (1,)), grid("a", (2,)))), "stands on two axes"),
        (lambda: cross((grid("a", (1,), when={"b": 2}),)), "no config sets 'b'"),
        (lambda: chain(grid("a", (1,), when={"b": 2})), "allowed axes without"),
        (lambda: LogUniform(0.0, 1.0), "allowed 0 < low <= high"),
        (lambda: random(1, 0, {"a": Given({"b": 1}, Uniform(0, 1))}), "a setting before it"),
    ],
)
def test_impossible_axes_are_refused(make, said):
    with pytest.raises(UserError, match=said):
        make()


def test_random_trials_have_the_distributions_that_they_declare():
    points = random(2000, 7, RANGES).points
    lr = np.log([p["optim.lr"] for p in points])
    low, high = np.log([1e-6, 1e-2])
    assert stats.kstest(lr, "uniform", (low, high - low)).pvalue > 1e-3
    momentum = np.log([1 - p["optim.momentum"] for p in points])
    assert stats.kstest(momentum, "uniform", (np.log(0.01), -np.log(0.01))).pvalue > 1e-3
    assert stats.kstest([p["noise"] for p in points], "uniform").pvalue > 1e-3
    hidden = [p["model.hidden"] for p in points]
    assert all(isinstance(h, int) for h in hidden)
    assert (min(hidden), max(hidden)) == (20, 200)
    assert abs(np.corrcoef(lr, np.log(hidden))[0, 1]) < 0.1


def test_a_trial_stays_what_it_was_when_the_study_grows():
    few, many = random(5, 7, RANGES).points, random(50, 7, RANGES).points
    assert many[:5] == few
    wider = random(5, 7, {"new": Choice(("a", "b")), **RANGES}).points
    assert [{k: v for k, v in p.items() if k != "new"} for p in wider] == list(few)
    assert random(5, 8, RANGES).points != few
    assert random(5, 7, RANGES, "nfg").points != few


def test_a_conditional_range_is_drawn_only_where_it_applies():
    ranges = {
        "optim.name": Choice(("adam", "sgd")),
        "optim.nesterov": Given({"optim.name": "sgd"}, Choice((False, True))),
    }
    points = random(50, 0, ranges).points
    assert {p["optim.name"] for p in points} == {"adam", "sgd"}
    assert all(("optim.nesterov" in p) == (p["optim.name"] == "sgd") for p in points)

"""Axes and random trials: their combinations, and the points that stay when a study grows."""

import numpy as np
import pytest
from scipy import stats

from lstm_lab.studies import Choice, Conditional, LogUniform, Uniform, chain, grid, zipped
from lstm_lab.studies.axes import by_label, cross, label, random_points
from lstm_lab.utils.errors import UserError

RANGES = {
    "model.hidden": LogUniform(20, 200, integer=True),
    "optim.lr": LogUniform(1e-6, 1e-2),
    "optim.momentum": LogUniform(0.01, 1.0, one_minus=True),
    "noise": Uniform(0.0, 1.0),
}


def test_cross_zipped_and_chain_combine_values():
    axes = (grid("a.x", (1, 2)), zipped({"a.y": (3, 4, 5), "b.z": ("u", "v", "w")}))
    points = cross(axes)
    assert len(points) == 6
    assert points[0] == {"a.x": 1, "a.y": 3, "b.z": "u"}
    assert label(points[5]) == "x=2 y=5 z=w"
    assert cross(()) == [{}]
    chained = chain(grid("a.x", (1, 2)), zipped({"a.x": (7,), "a.y": (8,)}))
    assert cross((chained, grid("b.z", ("u", "v"))))[::2] == [
        {"a.x": 1, "b.z": "u"},
        {"a.x": 2, "b.z": "u"},
        {"a.x": 7, "a.y": 8, "b.z": "u"},
    ]


def test_labels_are_longer_where_short_ones_would_be_equal():
    lr, clip = grid("optim.lr", (0.01, 0.003)), grid("optim.clip", (0.01, 1.0))
    assert list(by_label(cross([lr]))) == ["0.01", "0.003"]
    points = cross([chain(lr, clip)])
    assert by_label(points) == dict(
        zip(["lr=0.01", "lr=0.003", "clip=0.01", "clip=1.0"], points, strict=True)
    )
    same_end = cross([chain(grid("task.length", (9,)), grid("model.length", (9,)))])
    assert list(by_label(same_end)) == ["task.length=9", "model.length=9"]
    assert by_label([{}]) == {"base": {}}
    with pytest.raises(UserError, match="axes: got optim.lr=0.01 twice, expected each"):
        by_label(cross([grid("optim.lr", (0.01, 0.1, 0.01))]))


def test_an_axis_is_left_out_if_its_condition_fails():
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
    ("make", "message"),
    [
        (lambda: zipped({"a": (1,), "b": (1, 2)}), "expected the same number"),
        (lambda: cross((grid("a", (1,)), grid("a", (2,)))), "got a on two axes"),
        (lambda: cross((grid("a", (1,), when={"b": 2}),)), "got 'b', expected a setting"),
        (lambda: grid("a", "lstm"), r"grid: a: got 'lstm', expected several, such as \('lstm',\)"),
        (lambda: grid("a", 0.1), r"grid: a: got 0.1, expected several, such as \(0.1,\)"),
        (lambda: zipped({"a": (1,), "b": "x"}), "zipped: b: got 'x', expected several"),
        (lambda: Choice("adam"), r"Choice: got 'adam', expected several, such as \('adam',\)"),
        (lambda: chain(grid("a", (1,), when={"b": 2})), "expected axes without a condition"),
        (lambda: LogUniform(1.0, 2.0, integer=True, one_minus=True), "at most one of them"),
        (lambda: LogUniform(0.0, 1.0), "expected 0 < low < high"),
        (lambda: LogUniform(0.1, 0.1), "LogUniform: got low=0.1, high=0.1, expected 0 < low < hi"),
        (lambda: Uniform(0.5, 0.5), "Uniform: got low=0.5, high=0.5, expected low < high"),
        (lambda: Uniform(1.0, 0.0), "Uniform: got low=1.0, high=0.0, expected low < high"),
        (
            lambda: random_points(1, 0, {"a": Conditional({"b": 1}, Uniform(0, 1))}),
            "got when='b', expected a setting drawn before it",
        ),
    ],
)
def test_invalid_axes_are_rejected(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_random_points_follow_the_declared_distributions():
    points = random_points(2000, 7, RANGES)
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


def test_more_trials_or_ranges_keep_earlier_values():
    few, many = random_points(5, 7, RANGES), random_points(50, 7, RANGES)
    assert many[:5] == few
    wider = random_points(5, 7, {"new": Choice(("a", "b")), **RANGES})
    assert [{k: v for k, v in p.items() if k != "new"} for p in wider] == list(few)
    assert random_points(5, 8, RANGES) != few
    assert random_points(5, 7, RANGES, "nfg") != few


def test_a_conditional_range_is_drawn_only_if_it_applies():
    ranges = {
        "optim.name": Choice(("adam", "sgd")),
        "optim.nesterov": Conditional({"optim.name": "sgd"}, Choice((False, True))),
    }
    points = random_points(50, 0, ranges)
    assert {p["optim.name"] for p in points} == {"adam", "sgd"}
    assert all(("optim.nesterov" in p) == (p["optim.name"] == "sgd") for p in points)

"""A few far curves do not flatten the others."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lstm_lab.report.render.figures.style import limit_to_most

NEAR = {name: np.linspace(8.5, 10 + k / 10, 20) for k, name in enumerate("abcdefgh")}


def limited(curves):
    """Returns the y limits and the note of axes that show the curves."""
    axes = Figure().subplots()
    for y in curves.values():
        axes.plot(y)
    limit_to_most(axes, curves)
    return axes.get_ylim(), axes.get_title(loc="left")


@pytest.mark.parametrize("far", [5000.0, -5000.0])
def test_a_far_curve_leaves_the_axes_and_is_named(far):
    (low, high), note = limited({**NEAR, "far": np.array([8.6, far])})
    assert 8 < low <= 8.5
    assert 10.7 <= high < 12
    assert note == "partly outside: far"


@pytest.mark.parametrize(
    "curves",
    [
        NEAR,
        {"near": np.array([1.0, 2.0]), "far": np.array([300.0, 400.0])},  # no majority
        {**NEAR, "a bit higher": np.array([9.0, 14.0])},
    ],
)
def test_axes_show_all_curves_that_lie_near_each_other(curves):
    (low, high), note = limited(curves)
    assert low <= min(y.min() for y in curves.values())
    assert high >= max(y.max() for y in curves.values())
    assert note == ""


def test_the_note_stands_after_the_name_of_a_task():
    axes = Figure().subplots()
    axes.set_title("parity", loc="left")
    limit_to_most(axes, {**NEAR, "far": np.array([8.6, 5000.0])})
    assert axes.get_title(loc="left") == "parity; partly outside: far"

"""The chart: a panel per kind of work, a point per opponent, and a line at 1."""

import pytest

from lstm_lab.bench.cases import Case
from lstm_lab.bench.chart import draw
from tests.helpers.bench import bench_result, bench_row

GRADIENT = Case("gradient", 4, 6, 5, 8)


def points(axes):
    """Returns the points of a panel by their label in the legend."""
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    return {line.get_label(): line.get_xdata()[0] for line in lines}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_panels_show_the_medians_of_the_default_memory():
    other = Case("forward", 4, 6, 5, 8)
    rows = [
        bench_row("lstm_lab", [1.0, 1.0, 4.0], GRADIENT),
        bench_row("torch", [2.0, 2.0, 2.0], GRADIENT),
        bench_row("lstm_lab", [9.0, 9.0, 9.0], GRADIENT, memory=True),
        bench_row("torch", [1.0, 1.0, 1.0], GRADIENT, memory=True),
        bench_row("lstm_lab", [3.0, 3.0, 3.0], other),
        bench_row("flax", [1.0, 1.0, 1.0], other),
    ]
    gradient, forward = draw(bench_result(rows)).axes
    assert points(gradient) == {"PyTorch": 0.5}
    assert points(forward) == {"the best other JAX library": 3.0}
    assert texts(gradient) == [GRADIENT.label]
    assert gradient.get_title(loc="left") == "Forward + backward"
    assert gradient.get_xscale() == "log"
    low, high = gradient.get_xlim()
    assert low < 0.5
    assert high > 3.0
    ones = [line for line in gradient.get_lines() if list(line.get_xdata()) == [1.0, 1.0]]
    assert len(ones) == 1
    ranges = [list(line.get_xdata()) for line in gradient.get_lines()]
    assert [0.5, 2.0] in ranges


def test_backends_are_drawn_over_scan_with_a_panel_per_shape():
    gru, wide = (Case("gradient", 4, 6, 5, H, cell="gru") for H in (8, 16))
    rows = [
        bench_row(f"lstm_lab {name}", [time], case)
        for case in (GRADIENT, gru, wide)
        for name, time in (("scan", 4.0), ("fused", 2.0), ("native", 1.0))
    ]
    first, second = draw(bench_result(rows, "cells")).axes
    assert texts(first) == ["lstm", "gru"]
    assert texts(second) == ["gru"]
    assert points(second) == {"fused": 0.5, "native": 0.25}
    assert second.get_title(loc="left") == "B 4, T 6, D 5, H 16"


@pytest.mark.parametrize("suite", ["layer", "cells"])
def test_nothing_is_drawn_without_ratios(suite):
    assert draw(bench_result([bench_row("lstm_lab", [1.0], GRADIENT)], suite)) is None

"""The lower bound of an optimizer step, against formulas written by hand."""

from pathlib import Path

import jax
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.compilation.chips import CHIPS
from lstm_lab.compilation.costs import step_cost
from lstm_lab.training.layout import Layout
from tests.helpers.training import small_spec

H, T, B = 5, 8, 8
SPEC = small_spec()
DATASET = SPEC.task.load(Path("nowhere"))
CHIP = CHIPS["h100"]


def cost(layout, launches=0.0, chip=CHIP):
    built = build(SPEC, layout, DATASET, jax.local_devices())
    return step_cost(SPEC, layout, DATASET, built, launches, chip), built


def test_flops_are_those_of_the_products_of_all_lanes():
    # Adding has two inputs and one output, after the last step; backward has two products for one.
    per_row = 3 * 2 * (T * (2 + H) * 4 * H + H)
    one, _ = cost(Layout("single", 1, 1))
    assert one.flops == pytest.approx(B * per_row)
    lanes, _ = cost(Layout("single", 1, 3))
    assert lanes.flops == pytest.approx(3 * B * per_row)
    shared, _ = cost(Layout("batch", 4, 1))
    assert shared.flops == pytest.approx(B * per_row / 4)


def test_every_weight_is_read_and_written():
    one, built = cost(Layout("single", 1, 1))
    weights = sum(4 * leaf.size for leaf in jax.tree.leaves(built.member.params))
    batch = B * T * 2 * 4
    # Numbers of a run, such as its step, are a few bytes more.
    assert 2 * weights + batch <= one.bytes <= 2 * weights + batch + 1000


@pytest.mark.parametrize(
    ("chip", "launches", "limit"),
    [
        (CHIP, 1000.0, "launches"),
        (CHIP._replace(bandwidth=1.0), 0.0, "memory"),
        (CHIP._replace(float32=(1.0, 1.0, 1.0)), 0.0, "products"),
    ],
)
def test_the_bound_names_what_limits_it(chip, launches, limit):
    bound, _ = cost(Layout("single", 1, 1), launches, chip)
    products = bound.flops / chip.flops_per_second(SPEC.model)
    expected = max(products, bound.bytes / chip.bandwidth) + launches * chip.launch_seconds
    assert bound.seconds == pytest.approx(expected)
    assert bound.limit == limit


def test_a_cpu_has_no_bound():
    bound, _ = cost(Layout("single", 1, 1), chip=None)
    assert (bound.seconds, bound.limit) == (None, "")
    assert bound.xla_flops > 0

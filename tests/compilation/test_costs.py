"""The lower bound of an optimizer step, against formulas written by hand."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.compilation.chips import CHIPS
from lstm_lab.compilation.costs import step_cost, step_flops
from lstm_lab.training.layout import Layout
from tests.helpers.training import small_spec

H, T, B = 5, 8, 8
SPEC = small_spec()
DATASET = SPEC.task.load(Path("nowhere"))
CHIP = CHIPS["h100"]


def cost(layout, launches=0.0, chip=CHIP, hidden=H):
    spec = small_spec(model={"hidden": hidden})
    built = build(spec, layout, DATASET, jax.local_devices())
    return step_cost(spec, layout, DATASET, built, launches, chip)


def test_flops_are_those_of_the_products_of_all_lanes():
    # Adding has two inputs and one output, after the last step. Backward has two products for one,
    # but the inputs of the first layer need no gradient.
    per_row = 2 * (T * (2 * 2 + 3 * H) * 4 * H + 3 * H)
    one = cost(Layout("single", 1, 1))
    assert one.flops == pytest.approx(B * per_row)
    lanes = cost(Layout("single", 1, 3))
    assert lanes.flops == pytest.approx(3 * B * per_row)
    shared = cost(Layout("batch", 4, 1))
    assert shared.flops == pytest.approx(B * per_row / 4)


def test_frozen_weights_cost_no_products_of_theirs():
    frozen = small_spec(optim={"freeze": ("lstm",)})
    # Neither weights nor inputs of the layer need a gradient: only its forward products are left.
    per_row = 2 * (T * (2 + H) * 4 * H + 2 * H)
    assert step_flops(frozen, Layout("single", 1, 1), DATASET) == pytest.approx(B * per_row)


def test_an_epoch_smaller_than_its_batches_counts_its_own_rows():
    spec, layout = small_spec(), Layout("single", 1, 1)
    train = DATASET.splits["valid"].take(np.arange(3))
    few = replace(DATASET, splits={**DATASET.splits, "train": train})
    assert step_flops(spec, layout, few) == pytest.approx(3 / B * step_flops(spec, layout, DATASET))


def test_every_weight_and_its_momentum_are_read_and_written():
    one = cost(Layout("single", 1, 1), hidden=200)
    weights = 4 * ((2 + 200 + 1) * 4 * 200 + 201)
    # Numbers of a run, such as its step, are little more.
    assert 4 * weights <= one.bytes <= 1.01 * 4 * weights


def test_what_the_cache_holds_need_not_move():
    slow = CHIP._replace(bandwidth=1.0)
    cached = cost(Layout("single", 1, 1), 0.0, slow)
    assert cached.seconds == cached.flops / slow.flops_per_second(SPEC.model)
    half = cost(Layout("single", 1, 1), 0.0, slow._replace(cache=cached.bytes / 4))
    assert half.seconds == pytest.approx(cached.bytes / 2)


@pytest.mark.parametrize(
    ("chip", "launches", "limit"),
    [
        (CHIP, 1000.0, "launches"),
        (CHIP._replace(bandwidth=1.0, cache=100.0), 0.0, "memory"),
        (CHIP._replace(float32=(1.0, 1.0, 1.0)), 0.0, "products"),
    ],
)
def test_the_bound_names_what_limits_it(chip, launches, limit):
    bound = cost(Layout("single", 1, 1), launches, chip)
    products = bound.flops / chip.flops_per_second(SPEC.model)
    moved = max(0.0, bound.bytes - 2 * chip.cache)
    expected = max(products, moved / chip.bandwidth) + launches * chip.launch_seconds
    assert bound.seconds == pytest.approx(expected)
    assert bound.limit == limit


def test_a_cpu_has_no_bound():
    bound = cost(Layout("single", 1, 1), chip=None)
    assert (bound.seconds, bound.limit) == (None, "")
    assert bound.xla_flops > 0

"""Ratios: round by round, to the best opponent at each shape, and their summary."""

import pytest

from lstm_lab.bench.cases import Case
from lstm_lab.bench.compare import backend_ratios, case_ratios, ratios, summary
from tests.helpers.bench import bench_row


def row(name, ms, label="a", cell="lstm"):
    return {**bench_row(name, ms, Case("gradient", 4, 6, 5, 8, cell=cell)), "label": label}


def test_a_ratio_is_the_median_of_the_rounds_with_its_range():
    # The ratio of the medians would be 1.5.
    assert ratios([1.0, 3.0, 9.0], [2.0, 1.0, 3.0]) == (3.0, 0.5, 3.0)


def test_the_opponent_is_the_best_at_each_shape():
    rows = [
        *(row("lstm_lab", [2.0], label) for label in "ab"),
        *(row("torch", [4.0], label) for label in "ab"),
        row("torch processes", [1.0], "b"),
        row("flax", [8.0], "a"),
        row("keras", [16.0], "a"),
        row("flax", [3.0], "b"),
        row("keras", [1.0], "b"),
    ]
    first, second = case_ratios(rows)
    assert {name: ratio.name for name, ratio in first.others.items()} == {
        "PyTorch": "torch",
        "the best other JAX library": "flax",
    }
    assert second.others["PyTorch"].name == "torch processes"
    assert second.others["PyTorch"].median == 2.0
    assert second.others["the best other JAX library"].name == "keras"
    against_torch, against_jax = summary(rows)
    assert "geometric mean 1.00, worst 2.00 (2.00-2.00; torch processes; b)" in against_torch
    assert "below 1 at 1 of 2 shapes" in against_torch
    assert "geometric mean 0.71, worst 2.00" in against_jax


def test_opponents_have_the_same_number_format():
    rows = [row("lstm_lab tf32", [2.0]), row("torch bf16", [1.0]), row("torch tf32", [4.0])]
    (case,) = case_ratios(rows)
    assert case.others["PyTorch"].name == "torch tf32"


def test_nothing_is_compared_without_lstm_lab_or_without_opponents():
    assert case_ratios([row("torch", [1.0]), row("flax", [1.0])]) == []
    assert summary([row("lstm_lab", [1.0])]) == []


def test_backends_are_compared_with_scan():
    rows = [
        *(row("lstm_lab scan", [4.0], f"{cell}, a", cell) for cell in ("gru", "rnn")),
        row("lstm_lab fused", [2.0], "gru, a", "gru"),
    ]
    gru, rnn = backend_ratios(rows)
    assert (gru.group, gru.label) == ("a", "gru")
    assert gru.others["fused"].median == pytest.approx(0.5)
    assert rnn.others == {}

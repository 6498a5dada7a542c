"""Networks with a known mechanism are explained by it, and what is not available is named."""

import numpy as np
import pytest

from lstm_lab.explain.analyses import ANALYSES, explain, principal_plane
from lstm_lab.explain.findings import fixed_points_found, signals_found
from lstm_lab.explain.fixed_points import line_share
from lstm_lab.explain.network import NO_TARGET
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import (
    adding_network,
    first_symbol_network,
    parity_network,
    sentiment_network,
    trained,
    valid_split,
    zero_params,
)
from tests.helpers.training import language_spec, small_spec


def results_of(run, *names):
    return explain(run, valid_split(run), names, show=False).results


def under(result, name):
    (found,) = [of_input for of_input in result.inputs if of_input.name == name]
    return found


@pytest.fixture(scope="module")
def parity():
    return results_of(parity_network(), "fixed_points", "lesions", "signals")


def test_parity_has_two_stable_states_under_0_and_a_cycle_of_both_under_1(parity):
    result = parity["fixed_points"]
    stay, change = under(result, "symbol 0"), under(result, "symbol 1")
    stable = [point for point in stay.points if point.kind == "stable"]
    assert sorted(np.sign(point.s_S[1]) for point in stable) == [-1.0, 1.0]
    assert [point.kind for point in change.points] == ["saddle"]
    assert [attractor.period for attractor in change.attractors] == [2]
    text = fixed_points_found(result)
    assert "symbol 0: 2 stable fixed points" in text
    assert "symbol 1: 1 saddle, 1 stable cycle of 2 steps" in text


def test_the_unit_of_parity_follows_the_target_and_needs_its_candidate(parity):
    match = next(match for match in parity["signals"].matches if match.signal == "target")
    assert abs(match.r_S).max() > 0.95
    assert match.p < 0.01
    lesions = parity["lesions"]
    assert lesions.intact["accuracy"] == 1.0
    by_gate = {
        (lesion.gate, lesion.value): lesion.metrics["accuracy"] for lesion in lesions.lesions
    }
    assert by_gate["g", "mean"] < 0.7
    assert by_gate["f", "0"] == 1.0  # it forgets all the same


@pytest.fixture(scope="module")
def adding():
    return results_of(adding_network(), "fixed_points", "signals")


def test_adding_is_an_integrator_of_the_marked_numbers(adding):
    match = next(m for m in adding["signals"].matches if m.signal == "sum of marked numbers")
    place = adding["signals"].places[match.best]
    assert place.unit == 0
    assert match.r_S[match.best] > 0.99
    assert match.p < 0.01
    assert match.direction > 0.99
    assert "'sum of marked numbers' (r = 1.00" in signals_found(adding["signals"])
    for point in under(adding["fixed_points"], "zero input").points:
        assert np.abs(point.eigenvalues[0]) == pytest.approx(1.0, abs=1e-5)


def test_sentiment_is_a_line_attractor():
    """As in networks trained on reviews: slow points on a line, with an eigenvalue near 1."""
    result = results_of(sentiment_network(), "fixed_points")["fixed_points"]
    points = under(result, "symbol 1").points  # a word without a value
    assert len(points) > 7
    assert line_share(points) > 0.9
    assert all(0.99 < np.abs(point.eigenvalues[0]) < 1.01 for point in points)
    text = fixed_points_found(result)
    assert "of their variance along one line" in text


def test_models_without_a_state_of_one_direction_are_named():
    both = trained(small_spec(model={"cell": "minlstm", "hidden": 2, "bidirectional": True}))
    explanation = explain(both, valid_split(both), show=False)
    assert explanation.results == {}
    assert set(explanation.unavailable) == set(ANALYSES)
    assert "backward direction" in explanation.unavailable["fixed_points"]
    assert "clamp" in explanation.unavailable["lesions"]


def test_a_cell_without_gates_has_no_lesions():
    run = trained(small_spec(model={"cell": "rnn", "hidden": 2}))
    explanation = explain(run, valid_split(run), ["lesions"], show=False)
    assert explanation.unavailable == {"lesions": "the cell has no gates"}


def test_a_stream_is_explained_by_its_first_chunks(tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 20)
    run = trained(language_spec(tmp_path / "text.txt"))
    split = run.spec.task.load(tmp_path).splits["valid"]
    results = explain(run, split, ["lyapunov", "gradient"], show=False).results
    assert np.isfinite(results["lyapunov"].exponents_BE).all()
    assert np.nanmax(results["gradient"].inputs_T) > 0.0


def test_exponents_of_short_sequences_leave_out_a_tenth_of_their_own_length():
    """Padding is no part of a sequence: 3 steps padded to 60 count all of the 3."""
    run = first_symbol_network((3, 3, 20), ((2,), (2,), (19,)), padded=60)
    result = results_of(run, "lyapunov")["lyapunov"]
    assert result.steps == (3 + 3 + 18) / 3
    assert result.exponents_BE.shape[0] == 3
    assert np.isfinite(result.exponents_BE).all()


def test_targets_at_a_few_late_steps_are_those_that_are_analyzed():
    """All targets come after the first 16 steps, and filler follows the last one."""
    run = first_symbol_network((32, 40), ((28, 29), (26,)))
    results = results_of(run, "gradient", "learning_rules", "signals")
    assert (~np.isnan(results["gradient"].inputs_T)).sum() == 30
    rules = results["learning_rules"]
    assert rules.steps == 30
    assert rules.difference < 1e-9
    assert all(-1.0 <= cosine <= 1.0 for cosine in rules.cosines.values())


def test_sequences_without_a_target_have_a_reason():
    run = first_symbol_network((9, 9), ((), ()), padded=9)
    names = ("gradient", "learning_rules")
    reasons = explain(run, valid_split(run), names, show=False).unavailable
    assert reasons == dict.fromkeys(names, NO_TARGET)


def test_a_gradient_of_zero_has_a_reason():
    run = first_symbol_network((9, 9), ((8,), (8,)), padded=9)
    silent = trained(run.spec, zero_params(run.spec))
    names = ("gradient", "learning_rules")
    reasons = explain(silent, valid_split(run), names, show=False).unavailable
    assert ["is zero" in reasons[name] for name in names] == [True, True]


def test_an_unknown_analysis_is_refused_with_the_nearest_one():
    run = parity_network()
    with pytest.raises(UserError, match="did you mean 'lesions'"):
        explain(run, valid_split(run), ["lesion"])


def test_a_plane_has_the_largest_part_of_the_variance():
    rng = np.random.default_rng(0)
    s_NS = rng.normal(size=(50, 2)) @ np.array([[3.0, 0, 0, 1], [0, 2, 0, 0]]) + 5.0
    plane = principal_plane(s_NS)
    assert plane.share == pytest.approx(1.0)
    flat_N2 = plane.project(s_NS)
    np.testing.assert_allclose(np.square(flat_N2).sum(), np.square(s_NS - s_NS.mean(0)).sum())
    single = principal_plane(s_NS[:, :1])
    assert single.project(s_NS[:, :1]).shape == (50, 2)

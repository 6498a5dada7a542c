"""Units that follow a signal: planted ones are found, and chance is not."""

import numpy as np
import pytest

from lstm_lab.explain.signals import known_signals, match_signals
from lstm_lab.tasks import Adding, Dyck, Examples, Parity, SelectiveCopy

B, T, S = 24, 10, 30
REAL = np.ones((B, T), bool)


def noise(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_a_planted_unit_is_found_among_many():
    z_BT, s_BTS = noise(0, B, T), noise(1, B, T, S)
    s_BTS[..., 7] = 2.0 - 3.0 * z_BT + 0.5 * s_BTS[..., 7]
    (match,) = match_signals(s_BTS, REAL, {"z": z_BT}, permutations=99)
    assert match.best == 7
    assert match.r_S[7] < -0.95
    assert match.p == 0.01
    assert match.threshold < 0.35
    assert match.direction > 0.95


def test_the_largest_of_many_units_without_a_signal_is_rarely_significant():
    """At the level 0.1, about a tenth of unrelated signals; without the correction nearly all."""
    signals = {str(k): noise(100 + k, B, T) for k in range(120)}
    matches = match_signals(noise(2, B, T, S), REAL, signals, permutations=99)
    share = np.mean([match.p <= 0.1 for match in matches])
    assert 0.02 < share < 0.2  # binomial: 0.1 +- 3 standard deviations of 0.027


def test_a_common_trend_is_no_evidence():
    """Both grow with the step, in the same way in all sequences; nothing else relates them."""
    trend_T = np.arange(T) * 5.0
    z_BT, s_BTS = trend_T + noise(3, B, T), trend_T[:, None] + noise(4, B, T, S)
    assert abs(np.corrcoef(z_BT.ravel(), s_BTS[..., 0].ravel())[0, 1]) > 0.9
    (match,) = match_signals(s_BTS, REAL, {"z": z_BT}, permutations=99)
    assert match.p > 0.05
    assert np.abs(match.r_S).max() < 0.4


def test_a_signal_that_all_sequences_share_has_a_correlation_and_no_p():
    position = np.broadcast_to(np.arange(float(T)), (B, T))
    s_BTS = noise(5, B, T, S)
    s_BTS[..., 3] += 10.0 * position
    (match,) = match_signals(s_BTS, REAL, {"position": position}, permutations=19)
    assert match.best == 3
    assert match.r_S[3] > 0.99
    assert np.isnan(match.p)


def test_padding_changes_nothing():
    lengths = np.random.default_rng(6).integers(3, T, B)
    real = np.arange(T)[None] < lengths[:, None]
    z_BT, s_BTS = noise(7, B, T), noise(8, B, T, S)
    s_BTS[..., 0] += z_BT
    (expected,) = match_signals(s_BTS, real, {"z": z_BT}, permutations=19)
    wrong_z, wrong_s = np.where(real, z_BT, 1e6), np.where(real[..., None], s_BTS, -1e6)
    (match,) = match_signals(wrong_s, real, {"z": wrong_z}, permutations=19)
    np.testing.assert_allclose(match.r_S, expected.r_S)
    assert (match.p, match.direction) == (expected.p, pytest.approx(expected.direction))


def test_a_signal_that_never_changes_is_left_out():
    assert match_signals(noise(9, B, T, S), REAL, {"one": np.ones((B, T))}) == []


def test_every_task_has_its_position_inputs_sums_and_targets():
    x_NT = np.array([[1, 0, 1]])
    y_NTC = np.array([[[1], [1], [0]]])
    signals = known_signals(Parity(length=3), Examples(x_NT, y_NTC))
    assert signals["position"].tolist() == [[0, 1, 2]]
    assert signals["symbol 1"].tolist() == [[1, 0, 1]]
    assert signals["count of symbol 1"].tolist() == [[1, 1, 2]]
    assert signals["target"].tolist() == [[1, 1, 0]]
    x_NTD = np.array([[[0.5, 1.0], [0.25, 0.0], [0.75, 1.0]]])
    signals = known_signals(Adding(length=3), Examples(x_NTD, np.array([[1.25]])))
    assert signals["sum of input 0"].tolist() == [[0.5, 0.75, 1.5]]
    assert signals["sum of marked numbers"].tolist() == [[0.5, 0.5, 1.25]]
    assert "target" not in signals


def test_dyck_knows_its_depth():
    x_NT = np.array([[1, 2, 0, 3, 0, 0]])
    signals = known_signals(Dyck(length=6, kinds=3), Examples(x_NT, np.zeros_like(x_NT)))
    assert signals["depth"].tolist() == [[1, 2, 1, 2, 1, 0]]
    assert {"target is 0", "target is 3"} <= set(signals)


def test_a_step_without_a_target_has_no_signal_of_targets():
    x_NT = np.array([[1, 2, 0, 3, 3]])
    y_NT = np.array([[-1, -1, -1, 1, 2]])
    signals = known_signals(SelectiveCopy(length=5, symbols=2, vocabulary=4), Examples(x_NT, y_NT))
    assert np.isnan(signals["target is 1"][0, :3]).all()
    assert signals["target is 1"][0, 3:].tolist() == [1.0, 0.0]


@pytest.fixture(scope="module")
def asked():
    """Returns targets at two steps of each sequence, which differ, and where they are."""
    rng = np.random.default_rng(10)
    asked_BT = rng.permuted(np.arange(T)[None] < np.full((B, 1), 2), axis=1)
    return np.where(asked_BT, rng.integers(0, 2, (B, T)), np.nan), asked_BT


def test_a_unit_that_marks_blanks_follows_no_target(asked):
    z_BT, asked_BT = asked
    s_BTS = noise(11, B, T, S)
    s_BTS[..., 4] = ~asked_BT
    (match,) = match_signals(s_BTS, REAL, {"target": z_BT}, permutations=99)
    assert match.r_S[4] == 0.0
    assert match.p > 0.05


def test_a_unit_that_holds_the_target_is_found_whatever_it_does_elsewhere(asked):
    z_BT, asked_BT = asked
    s_BTS = noise(12, B, T, 6)
    s_BTS[..., 4] = np.where(asked_BT, z_BT, 100.0 * s_BTS[..., 4])
    signals = {"noise": noise(13, B, T), "target": z_BT}
    other, match = match_signals(s_BTS, REAL, signals, permutations=99)
    assert (other.signal, match.signal, match.best) == ("noise", "target", 4)
    assert match.r_S[4] == pytest.approx(1.0)
    assert match.p == 0.01
    assert match.direction > 0.8
    # A signal that is known everywhere does not depend on the others.
    (alone,) = match_signals(s_BTS, REAL, {"noise": signals["noise"]}, permutations=99)
    np.testing.assert_array_equal(other.r_S, alone.r_S)
    assert (other.p, other.threshold) == (alone.p, alone.threshold)

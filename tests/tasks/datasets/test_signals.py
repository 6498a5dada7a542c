"""Handwritten and spoken digits, counting and formal languages."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_lab.tasks import (
    JSB,
    MNIST,
    Counting,
    Digits,
    Dyck,
    Parity,
    SpokenDigits,
    trivial_baselines,
)
from lstm_lab.tasks.datasets.mnist import read_idx
from lstm_lab.tasks.datasets.speech import log_mel, mel_bands
from lstm_lab.utils.errors import UserError
from tests.helpers.data import write_chorales, write_signals


def test_pixels_come_in_order_or_permuted(tmp_path):
    write_signals(tmp_path)
    plain = MNIST().load(tmp_path).splits
    images = read_idx(tmp_path / "mnist" / "train-images-idx3-ubyte.gz")
    np.testing.assert_allclose(plain["train"].x[3, :, 0] * 255, images[3].ravel(), atol=1e-4)
    sizes = {split: len(part.y) for split, part in plain.items()}
    assert sizes == {"train": 22, "valid": 2, "test": 6}
    permuted = MNIST(permuted=True).load(tmp_path).splits["train"].x
    assert (np.sort(permuted, 1) == np.sort(plain["train"].x, 1)).all()
    order = np.random.default_rng(0).permutation(784)
    np.testing.assert_array_equal(permuted, plain["train"].x[:, order])
    rows = MNIST(pixels_per_step=28, train_size=5, test_size=3).load(tmp_path).splits
    assert rows["train"].x.shape == (5, 28, 28)
    assert len(rows["test"].y) == 3
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no idx file"):
        MNIST().load(tmp_path)


def test_the_take_number_decides_the_split(tmp_path):
    write_signals(tmp_path)
    splits = SpokenDigits(mels=20).load(tmp_path).splits
    assert {split: len(part.y) for split, part in splits.items()} == dict.fromkeys(splits, 6)
    train = splits["train"]
    frames = np.concatenate([x[:n] for x, n in zip(train.x, train.lengths, strict=True)])
    np.testing.assert_allclose(frames.mean(0), np.zeros(20), atol=1e-3)
    (tmp_path / "fsdd" / "fsdd.tar.gz").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is no archive of recordings"):
        SpokenDigits().load(tmp_path)


def test_a_tone_is_loudest_in_its_mel_band():
    bands = mel_bands(30, 256)
    assert bands.shape == (30, 129)
    assert bands.max() <= 1.0
    for f in (500, 1500, 3000):
        wave = np.sin(2 * np.pi * f * np.arange(4000) / 8000)
        frames = log_mel(wave, 30, 25, 10)
        assert frames.shape == ((4000 - 200) // 80 + 1, 30)
        assert abs(frames.mean(0).argmax() - bands[:, round(f * 256 / 8000)].argmax()) <= 1
    assert log_mel(np.zeros(10), 30, 25, 10).shape == (1, 30)


def test_counting_continues_the_sequence():
    splits = Counting().load(None).splits
    np.testing.assert_allclose(splits["train"].y[:, 0], [0.6, 0.7, 0.8, 0.9], rtol=1e-6)
    np.testing.assert_allclose(splits["test"].x[0, :, 0], [0.5, 0.6, 0.7, 0.8, 0.9], rtol=1e-6)
    assert splits["test"].y == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), kinds=st.integers(1, 5), depth=st.integers(1, 6))
def test_dyck_targets_close_the_last_open_bracket(seed, kinds, depth):
    sampled = Dyck(length=30, kinds=kinds, depth=depth).sample(jax.random.key(seed))
    stack = []
    for x, y in zip(np.asarray(sampled.x), np.asarray(sampled.y), strict=True):
        if x:
            stack.append(x)
            assert y == 0
        else:
            assert y == stack.pop()
        assert 1 <= x <= kinds or x == 0
        assert len(stack) <= depth


def test_parity_is_counted_at_every_step_and_tested_on_longer_sequences():
    task = Parity(length=5, test_length=9, valid_size=20, test_size=20)
    splits = task.load(None).splits
    for split, T in (("valid", 5), ("test", 9)):
        assert splits[split].x.shape == (20, T)
        np.testing.assert_array_equal(splits[split].y[..., 0], splits[split].x.cumsum(1) % 2)


def test_trivial_baselines_of_digits_and_jsb(tmp_path):
    digits = trivial_baselines(Digits(), Digits().load(tmp_path))["constant"]
    assert 0.05 < digits["accuracy"] < 0.15
    assert digits["nll"] == pytest.approx(np.log(10), abs=0.05)
    write_chorales(tmp_path)
    dataset = JSB().load(tmp_path)
    splits = (dataset.splits[split] for split in ("train", "test"))
    examples = (split.take(np.arange(split.rows)) for split in splits)
    frames, test = (
        np.concatenate([y[:n] for y, n in zip(e.y, e.lengths, strict=True)]) for e in examples
    )
    p = (frames.sum(0) + 0.5) / (len(frames) + 1)
    nll = -(test * np.log(p) + (1 - test) * np.log(1 - p)).sum(1).mean()
    assert trivial_baselines(JSB(), dataset)["constant"]["nll"] == pytest.approx(nll, rel=1e-6)

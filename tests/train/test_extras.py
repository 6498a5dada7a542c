"""Plateaus, frozen parts, word vectors, smoothed labels and the range test of learning rates."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.config.ids import run_id
from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Batch, Categorical, Examples, loss_sum
from lstm_lab.train import lr_range_test
from lstm_lab.train.checkpoint import Checkpoints
from lstm_lab.train.word_vectors import read_vectors
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.training import reading, small, train


def test_the_rate_falls_where_nothing_gets_better(tmp_path):
    # A rate so small that no evaluation is better than the first one by more than rounding.
    spec = small(optim={"lr": 1e-12, "plateau": 2, "plateau_factor": 0.1}, train={"steps": 40})
    train([spec], tmp_path)
    rows = read_lines(tmp_path / "0" / "metrics.jsonl")
    valid = [row["mse"] for row in rows if row["split"] == "valid"]
    rates = [row["lr"] for row in rows if row["split"] == "train"]
    expected, stale, best, lr = [], 0, np.inf, 1e-12
    for value in valid:
        expected.append(lr)
        stale = 0 if value < best else stale + 1
        best = min(best, value)
        lr *= 0.1 if stale and stale % 2 == 0 else 1.0
    assert rates == pytest.approx(expected, rel=1e-5)
    assert rates[-1] < 1e-14


def test_an_embedding_begins_with_vectors_and_stays_frozen(text, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("2 4\na 1 2 3 4\nq 5 6 7 8\n# 9 9 9 9\n")
    model = {"vectors": str(vectors)}
    spec = reading(text, model=model, optim={"freeze": ("embed",)}, train={"steps": 20})
    train([spec], tmp_path)
    _, params = Checkpoints(tmp_path / "0" / "checkpoints" / "best").restore()
    preprocessing = read_json(tmp_path / "0" / "preprocessing.json")["inputs"]
    table = params["embed"]["embedding"]
    np.testing.assert_array_equal(table[preprocessing.index("a")], [1, 2, 3, 4])
    np.testing.assert_array_equal(table[preprocessing.index("q")], [5, 6, 7, 8])
    assert np.abs(table[preprocessing.index("b")]).max() < 3
    # What the file holds counts, not where it lies.
    moved = tmp_path / "other.txt"
    vectors.rename(moved)
    again = reading(
        text, model={"vectors": str(moved)}, optim={"freeze": ("embed",)}, train={"steps": 20}
    )
    assert run_id(again) == run_id(spec)
    moved.write_text("a 1 2 3\n")
    with pytest.raises(UserError, match="line 1: got 3 numbers, expected 4"):
        read_vectors(moved, 4)
    with pytest.raises(UserError, match=r"vectors\.txt does not exist"):
        reading(text, model=model)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_of_classes(weighted, smoothing):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(6, 3)), rng.integers(0, 3, 6)
    weights = rng.random(6).astype(np.float32) if weighted else None
    counted = np.array([1, 1, 0, 1, 1, 1], np.float32)
    examples = Examples(jnp.zeros((6, 1)), jnp.array(y), weights=weights)
    batch = Batch(examples, jnp.array(counted), jnp.arange(6))
    total, count = loss_sum(Categorical(3, weighted=weighted), jnp.array(logits), batch, smoothing)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = (1 - smoothing) * np.eye(3)[y] + smoothing / 3
    w = counted * (1.0 if weights is None else weights)
    np.testing.assert_allclose(total, -(w[:, None] * target * log_p).sum(), rtol=1e-5)
    np.testing.assert_allclose(count, w.sum(), rtol=1e-6)


def test_labels_that_are_smoothed_train_differently():
    plain = small(task={"name": "temporal_order", "length": 10}, optim={"lr": 0.5})
    with pytest.raises(UserError, match="label_smoothing: adding has no classes"):
        small(train={"label_smoothing": 0.1})
    with pytest.raises(UserError, match="label_smoothing: found 1.0"):
        replace_train(plain, label_smoothing=1.0)
    assert run_id(replace_train(plain, label_smoothing=0.1)) != run_id(plain)


def replace_train(spec, **fields):
    try:
        return replace(spec, train=replace(spec.train, **fields))
    except ValueError as error:
        raise UserError(str(error)) from None


def test_the_range_test_stops_where_the_loss_rises(tmp_path, capsys):
    config = {"task": {"name": "digits"}, "model": {"hidden": 16}, "train": {"steps": 1}}
    spec = build_spec(config)
    found = lr_range_test.find_lr(spec, spec.task.load(tmp_path))
    assert found.rates == sorted(found.rates)
    assert len(found.rates) < lr_range_test.STEPS or found.losses[-1] > min(found.losses)
    assert 1e-5 < found.suggested < 1.0
    judged = lr_range_test.suggest_rates([1e-3, 1e-2, 1e-1, 1.0], [3.0, 2.5, 1.0, 2.0])
    assert (judged.suggested, judged.highest) == (1e-2, pytest.approx(1e-2))
    path = tmp_path / "config.py"
    path.write_text(
        "def get_config():\n"
        "    return {'task': {'name': 'counting'}, 'train': {'steps': 5, 'batch_size': 2}}\n"
    )
    flags = [f"--config={path}", f"--workdir={tmp_path / 'lr'}", "--devices=4", "--find_lr"]
    assert main(["train", *flags]) == 0
    assert "the loss falls fastest at" in capsys.readouterr().out
    assert (tmp_path / "lr" / "lr_range.png").read_bytes().startswith(b"\x89PNG")
    assert read_json(tmp_path / "lr" / "lr_range.json")["suggested"] > 0


def test_a_config_may_leave_them_all_out():
    spec = build_spec({"task": {"name": "counting"}, "train": {"epochs": 1}})
    assert spec.optim.freeze == ()
    assert spec.model.vectors is None
    assert jax.tree.leaves(spec.task.load(Path()).splits["train"])[0].shape == (4, 5, 1)

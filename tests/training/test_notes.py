"""Lines at the start of a run with few steps. tests/api/test_runs.py has a finished run."""

import numpy as np
import pytest

import lstm_lab as ll
from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import Examples
from lstm_lab.training.notes import short_epoch_note
from tests.helpers.training import small_spec


@pytest.mark.parametrize(
    ("rows", "train", "noted"),
    [
        (48, {"batch_size": 64, "epochs": 6}, True),
        (48, {"batch_size": 48, "epochs": 99}, True),
        # All examples in each of many steps, as for a small table, may be intended.
        (48, {"batch_size": 48, "epochs": 100}, False),
        (48, {"batch_size": 47, "epochs": 6}, False),
        (48, {"batch_size": 64, "steps": 6}, False),
    ],
)
def test_epochs_of_one_step_are_named_with_the_settings_to_change(rows, train, noted):
    spec = build_spec({"task": {"name": "digits"}, "train": train})
    examples = Examples(np.zeros((rows, 2, 1), np.float32), np.zeros(rows, np.int32))
    note = short_epoch_note(spec, examples)
    expected = f"note: 48 examples make 1 step per epoch, {train.get('epochs')} in all; set train."
    assert note == (f"{expected}batch_size or train.epochs" if noted else None)
    assert short_epoch_note(small_spec(), None) is None


@pytest.mark.parametrize("seeds", [None, 2])
def test_a_few_reviews_are_named_before_they_train(tmp_path, monkeypatch, capsys, seeds):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("text,label\n" + "a great film,good\na dull film,bad\n" * 10)
    settings = {"model.hidden": 3, "model.embedding": 2, "train.epochs": 1}
    ll.train("imdb:t.csv", seeds=seeds, overrides=settings, workdir="run")
    assert capsys.readouterr().err.count("note: 16 examples make 1 step per epoch, 1 in all;") == 1

"""Embeddings that start from a file of word vectors, and parts of a model that stay frozen."""

import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.config.parsing import build_spec
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.word_vectors import read_vectors
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from tests.helpers.training import language_spec, train


def test_an_embedding_starts_from_vectors_and_stays_frozen(text, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("2 4\na 1 2 3 4\nq 5 6 7 8\n# 9 9 9 9\n")
    model = {"vectors": str(vectors)}
    spec = language_spec(text, model=model, optim={"freeze": ("embed",)}, train={"steps": 20})
    train([spec], tmp_path)
    params = Checkpoints(tmp_path / "0" / "checkpoints" / "best").restore().tree
    vocabulary = read_json(tmp_path / "0" / "preprocessing.json")["inputs"]
    table = params["embed"]["embedding"]
    np.testing.assert_array_equal(table[vocabulary.index("a")], [1, 2, 3, 4])
    np.testing.assert_array_equal(table[vocabulary.index("q")], [5, 6, 7, 8])
    assert np.abs(table[vocabulary.index("b")]).max() < 3
    # The id depends on the content of the file, not on its path.
    moved = tmp_path / "other.txt"
    vectors.rename(moved)
    same = language_spec(
        text, model={"vectors": str(moved)}, optim={"freeze": ("embed",)}, train={"steps": 20}
    )
    assert run_id(same) == run_id(spec)
    moved.write_text("a 1 2 3\n")
    with pytest.raises(UserError, match="line 1: got 3 numbers, expected 4"):
        read_vectors(moved, 4)
    with pytest.raises(UserError, match=r"vectors\.txt does not exist"):
        language_spec(text, model=model)


def test_by_default_nothing_is_frozen_and_no_vectors_are_read():
    spec = build_spec({"task": {"name": "counting"}, "train": {"epochs": 1}})
    assert spec.optim.freeze == ()
    assert spec.model.vectors is None

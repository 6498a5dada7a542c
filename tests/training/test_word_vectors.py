"""Embeddings that start from a file of word vectors, and parts of a model that stay frozen."""

import numpy as np
import pytest

from lstm_lab.config.ids import run_id
from lstm_lab.config.load import load_spec
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.inference.load import load_run
from lstm_lab.training import word_vectors
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.word_vectors import read_vectors
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
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


def test_a_cohort_reads_the_vectors_once_and_says_so_once(text, tmp_path, monkeypatch, capsys):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("a 1 2 3 4\nq 5 6 7 8\n# 9 9 9 9\n")
    specs = [
        language_spec(text, model={"vectors": str(vectors)}, train={"steps": 2}, seed=seed)
        for seed in range(3)
    ]
    read, calls = word_vectors.read_vectors, []
    monkeypatch.setattr(
        word_vectors, "read_vectors", lambda *args: calls.append(args) or read(*args)
    )
    train(specs, tmp_path)
    assert len(calls) == 1
    assert capsys.readouterr().err.count("vectors.txt: vectors for 2 of ") == 1


def test_vectors_that_changed_since_the_run_was_set_up_are_refused(text, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("a 1 2 3 4\n")
    spec = language_spec(text, model={"vectors": str(vectors)}, train={"steps": 2})
    data = to_json(spec)
    assert from_json(data) == spec
    vectors.write_text("a 1 2 3 45\n")
    with pytest.raises(UserError, match=r"model\.vectors: .* was changed after the run was set up"):
        train([spec], tmp_path)
    with pytest.raises(UserError, match=r"model\.vectors: .* has changed since that run \(sha256"):
        from_json(data)
    # A new path takes the place of the recorded one, with its hash.
    write_json(tmp_path / "run.json", {"spec": data})
    assert load_spec(tmp_path / "run.json", {"model.vectors": str(vectors)}) != spec
    vectors.unlink()
    assert from_json(data) == spec  # its checkpoint has them


@pytest.mark.parametrize("number", ["nan", "inf", "1e39"])
def test_a_vector_that_is_not_finite_is_refused_with_its_line(tmp_path, number):
    path = tmp_path / "vectors.txt"
    path.write_text(f"2 2\na 1 2\nb 3 {number}\n")
    message = f"vectors.txt line 3: got {number}, expected finite numbers of float32"
    with pytest.raises(UserError, match=message):
        read_vectors(path, 2)


def test_a_trained_run_is_loaded_without_its_vectors(text, tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("a 1 2 3 4\n")
    spec = language_spec(text, model={"vectors": str(vectors)}, train={"steps": 0})
    train([spec], tmp_path)
    vectors.unlink()
    assert load_run(tmp_path / "0").spec.vectors_sha256 is None


def test_by_default_nothing_is_frozen_and_no_vectors_are_read():
    spec = build_spec({"task": {"name": "counting"}, "train": {"epochs": 1}})
    assert spec.optim.freeze == ()
    assert spec.model.vectors is None

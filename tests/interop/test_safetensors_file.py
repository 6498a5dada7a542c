"""Weights in a safetensors file are the bits of the run, under our names."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

import lstm_lab
from lstm_lab.interop.safetensors_file import form, write, write_weights
from lstm_lab.interop.targets import NO_OPTIONS
from lstm_lab.models.weights import named_weights, tree_of_weights
from lstm_lab.tasks.datasets.translation import Translation
from lstm_lab.utils.errors import UserError
from tests.helpers.explain import trained
from tests.helpers.training import small_spec

CELL = """
from dataclasses import replace
from lstm_lab.cells import CellSpec
from lstm_lab.cells.gated import GATED_LSTM

def init(spec, key, D, H):
    # Neither float32 nor an array with axes.
    import jax.numpy as jnp
    params = GATED_LSTM.init(spec, key, D, H)
    return params | {"scale": jnp.float16(0.5), "wh": params["wh"].astype(jnp.bfloat16)}

cell = CellSpec(cell=replace(GATED_LSTM, init=init))
"""


def metadata(path):
    with safe_open(path, "numpy") as file:
        return file.metadata()


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert np.ascontiguousarray(a[name]).tobytes() == np.ascontiguousarray(b[name]).tobytes()


@pytest.mark.parametrize("model", [{"cell": "fgr", "layers": 2}, {"bidirectional": True}])
def test_a_file_has_the_bits_of_the_run(model, tmp_path):
    run = trained(small_spec(model=model))
    usage = write(run, tmp_path, NO_OPTIONS)
    read = load_file(tmp_path / "model.safetensors")
    assert "lstm/layer_0/wx" in read
    assert_same_bits(read, named_weights(run.params))
    tree = tree_of_weights(read, run.params)
    np.testing.assert_array_equal(tree["head"]["kernel"], run.params["head"]["kernel"])
    assert form(None) == "weights"
    assert "model.safetensors" in usage


def test_weights_of_a_users_cell_and_paths_of_the_user(tmp_path):
    (tmp_path / "mine.py").write_text(CELL)
    run = trained(small_spec(model={"cell": f"{tmp_path / 'mine.py'}:cell"}))
    write(run, tmp_path, NO_OPTIONS)
    read = load_file(tmp_path / "model.safetensors")
    assert read["lstm/layer_0/scale"].shape == ()
    assert read["lstm/layer_0/wh"].dtype.name == "bfloat16"
    assert_same_bits(read, named_weights(run.params))
    found = metadata(tmp_path / "model.safetensors")
    assert found["cell"] == json.loads(found["model"])["cell"] == "mine.py:cell"
    assert str(tmp_path) not in str(found)


def test_the_metadata_say_which_model_it_is(tmp_path):
    run = trained(small_spec(model={"cell": "gru", "hidden": 7}))
    write(run, tmp_path, NO_OPTIONS)
    found = metadata(tmp_path / "model.safetensors")
    names = {name: found[name] for name in ("lstm_lab", "schema", "task", "cell")}
    expected = {"schema": "1", "task": "adding", "cell": "gru"}
    assert names == {"lstm_lab": lstm_lab.__version__, **expected}
    assert json.loads(found["model"])["hidden"] == 7
    assert "vectors" not in json.loads(found["model"])


def test_a_translation_is_written_as_well(tmp_path):
    task = {"name": "dyck", "length": 8, "valid_size": 4, "test_size": 4}
    spec = small_spec(task=task, model={"hidden": 4, "embedding": 3})
    task = Translation("a.en", "a.de", source_vocabulary=8, vocabulary=9)
    run = trained(replace(spec, task=task))
    write(run, tmp_path, NO_OPTIONS)
    assert_same_bits(load_file(tmp_path / "model.safetensors"), named_weights(run.params))


def test_arrays_that_lie_in_another_order_keep_their_values(tmp_path):
    """safetensors reads the memory of an array, whatever its strides."""
    array = np.arange(12.0).reshape(3, 4).T
    write_weights(tmp_path / "a.safetensors", {"head/kernel": array}, small_spec())
    read = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read["head/kernel"], array)


def test_without_safetensors_the_message_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(UserError, match=r"pip install 'lstm-lab\[interop\]'"):
        write(trained(small_spec()), tmp_path, NO_OPTIONS)
    assert list(tmp_path.iterdir()) == []

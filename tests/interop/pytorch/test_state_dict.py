"""Files of state dicts: what is refused, and how the messages look."""

import pickle
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lstm_lab.interop.pytorch.state_dict import StateDict, read_state_dict
from lstm_lab.utils.errors import UserError

numpy_files = pytest.importorskip("safetensors.numpy")


def file_of(**tensors):
    return StateDict(Path("f.safetensors"), tensors)


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "pytorch_model.bin", "model.pkl"])
def test_pickle_is_refused_without_being_read(name, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(
        UserError, match=r"never read, .*save_file\(torch\.load\('.*\.\w+', weights_"
    ) as error:
        read_state_dict(tmp_path / name)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "touched").exists()


def test_a_pickle_with_another_ending_is_refused_too(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"a": [1.0] * 100}))
    with pytest.raises(UserError, match="no file of safetensors"):
        read_state_dict(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"x\.safetensors: no such file"):
        read_state_dict(tmp_path / "x.safetensors")


def test_a_missing_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"lstm-lab\[interop\]"):
        read_state_dict(tmp_path / "x.safetensors")


def test_half_precision_becomes_float32(tmp_path):
    path, values = tmp_path / "x.safetensors", np.array([1.5, -2.0])
    numpy_files.save_file({"a": values.astype(np.float16), "b": values}, path)
    file = read_state_dict(path)
    for name in "ab":
        taken = file.take(name, (2,), "b")
        assert taken.dtype == np.float32
        np.testing.assert_array_equal(taken, values)
    bfloat16 = file_of(a=values.astype(ml_dtypes.bfloat16))
    np.testing.assert_array_equal(bfloat16.take("a", (2,), "b"), values)


def test_another_shape_names_both(tmp_path):
    with pytest.raises(UserError, match=r"w has shape \[3, 2\], expected \[2, 3\] for head/kernel"):
        file_of(w=np.zeros((3, 2))).take("w", (2, 3), "head/kernel")


def test_integers_are_no_weights():
    with pytest.raises(UserError, match="n is int64, expected floating-point numbers for b"):
        file_of(n=np.zeros(2, np.int64)).take("n", (2,), "b")


def test_a_missing_tensor_names_a_similar_one():
    with pytest.raises(UserError, match=r"head/bias needs \[2\], .*did you mean 'head\.bias'"):
        file_of(**{"head.bias": np.zeros(2)}).take("haed.bias", (2,), "head/bias")


def test_every_tensor_has_a_place_or_is_ignored():
    file = file_of(a=np.zeros(1), **{"extra.b": np.zeros((2, 3)), "extra.c": np.zeros(1)})
    file.take("a", (1,), "b")
    with pytest.raises(
        UserError, match=r"no place for extra\.b \[2, 3\], extra\.c \[1\]; --map=ignore=extra\.\*"
    ):
        file.check_all_taken({})
    with pytest.raises(UserError, match=r"no place for extra\.c"):
        file.check_all_taken({"ignore": "extra.b"})
    file.check_all_taken({"ignore": "none:extra.*"})

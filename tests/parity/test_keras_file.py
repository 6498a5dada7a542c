"""A file of Keras: its tensors, the names of its layers, and what damage of it gives."""

import json
import zipfile

import h5py
import numpy as np
import pytest

from lstm_lab.interop.keras_file import KerasFile, damage_is_an_error, open_keras_file
from lstm_lab.utils.errors import UserError

BIAS = np.arange(3, dtype=np.float32)


def write(path, names):
    """Writes a file with a bias for each group, and with the names of the layers."""
    with h5py.File(path, "w") as file:
        for group, name in names.items():
            file[f"{group}/vars/0"] = BIAS
            file[f"{group}/vars"].attrs["name"] = name
        file["vars/0"] = BIAS
        file["vars"].attrs["name"] = "model"
    return path


def test_tensors_come_in_the_order_of_their_numbers_without_states_of_the_training(tmp_path):
    groups = ["layers/lstm_10", "layers/lstm_2", "optimizer", "metrics/mean", "a/seed_generator"]
    path = write(tmp_path / "model.weights.h5", dict.fromkeys(groups, "x"))
    with open_keras_file(path) as file:
        assert list(file.tensors) == ["layers/lstm_2/vars/0", "layers/lstm_10/vars/0", "vars/0"]
        tensor = file.tensors["layers/lstm_2/vars/0"]
        np.testing.assert_array_equal(tensor.read(), BIAS, strict=True)
    assert (tensor.shape, tensor.dtype, file.config) == ((3,), "float32", None)


def test_an_archive_has_settings(tmp_path):
    weights = write(tmp_path / "model.weights.h5", {"layers/lstm": "encoder"})
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.write(weights, "model.weights.h5")
        archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
    with open_keras_file(tmp_path / "model.keras") as file:
        assert file.config == {"class_name": "Sequential"}
        # The model as a whole is no layer.
        assert file.layer_names == {"layers/lstm": "encoder"}


def test_a_name_that_several_layers_share_is_in_use_as_long_as_one_is_read():
    names = {"layers/lstm": "a", "layers/m/layers/lstm": "a", "layers/m": "m", "layers/lstm_1": "b"}
    file = KerasFile({}, names, None)
    assert file.layers_without(["layers/m/layers/lstm/cell/vars/0"]) == {"b"}
    assert file.layers_without(["layers/lstm_1/cell/vars/0"]) == {"a", "m"}
    assert file.layers_without(["layers/lstm_12/cell/vars/0"]) == {"a", "m", "b"}


def test_damaged_numbers_are_found_when_they_are_read(tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("vars/0", data=BIAS, chunks=(3,), compression="gzip")
        chunk = data.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    path.write_bytes(content)
    with (
        open_keras_file(path) as file,
        pytest.raises(UserError, match=r"model.weights.h5 cannot be read, .*read") as error,
    ):
        file.tensors["vars/0"].read()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [100, 800, 1500])
def test_a_file_that_ends_too_early_is_refused(size, tmp_path):
    path = write(tmp_path / "model.weights.h5", {"layers/lstm": "encoder"})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match="cannot be read"), open_keras_file(path):
        pass


def test_an_error_of_the_block_passes(tmp_path):
    path = write(tmp_path / "model.weights.h5", {})
    with pytest.raises(KeyError, match="bug"), open_keras_file(path):
        raise KeyError("bug")
    with pytest.raises(UserError, match="cannot be read, .*bug"), damage_is_an_error(path):
        raise KeyError("bug")

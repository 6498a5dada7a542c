"""Weights from files of the format safetensors, which the library itself has written."""

import json
import struct
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.flax import save as save_flax
from safetensors.numpy import save

from lstm_lab.models.weight_files import read_safetensors, safetensors_metadata
from lstm_lab.utils.errors import UserError


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.bool_])
def test_arrays_come_back_as_they_were_written(dtype):
    rng = np.random.default_rng(0)
    written = {
        "lstm/layer_0/wx": rng.normal(size=(3, 4, 2)).astype(dtype),
        "none": np.zeros((0, 2), dtype),
        "scalar": np.ones((), dtype),
    }
    weights = read_safetensors(save(written, metadata={"format": "np"}), "file")
    assert weights.keys() == written.keys()
    for name, array in written.items():
        assert weights[name].dtype == array.dtype
        np.testing.assert_array_equal(weights[name], array)


def test_bfloat16_is_read():
    written = jnp.linspace(-1.0, 1.0, 6, dtype=jnp.bfloat16)
    weights = read_safetensors(save_flax({"w": written}), "file")
    np.testing.assert_array_equal(weights["w"], written)


def content(dtype):
    header = json.dumps({"w": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"ab"


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "file is damaged, or no safetensors file"),
        (b"\x80\x04K\x01.", "file is damaged, or no safetensors file"),
        (save({"w": np.ones(3)})[:-1], "file is damaged, or no safetensors file"),
        (content("F8_E4M3"), "file: w has the dtype F8_E4M3, expected one of F64, F32, F16, BF16"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(damaged, message):
    with pytest.raises(UserError, match=f"^{message}") as error:
        read_safetensors(damaged, "file")
    assert "\n" not in str(error.value)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"^file needs safetensors: pip install 'lstm-lab\[interop"):
        read_safetensors(b"", "file")


@pytest.mark.parametrize("metadata", [{"cell": "lstm", "größe": "1"}, {}, None])
def test_the_metadata_are_those_that_the_library_reads(metadata, tmp_path):
    content = save({"a": np.ones(2)}, metadata=metadata)
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with safe_open(path, "np") as file:
        assert safetensors_metadata(content) == (file.metadata() or {})

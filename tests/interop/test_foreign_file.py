"""Tensors of a file: each is taken, ignored or an error, and only exact casts are made."""

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lstm_lab.interop.foreign_file import (
    ForeignFile,
    check_unique,
    is_ignored,
    modules_with,
    read_safetensors_file,
    tensors_of,
)
from lstm_lab.utils.errors import UserError

numpy_files = pytest.importorskip("safetensors.numpy")
VALUES = np.array([1.5, -2.0])


def file_of(**tensors):
    return ForeignFile(Path("f.safetensors"), tensors_of(tensors))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_floating_point_numbers_become_float32(dtype):
    taken = file_of(a=VALUES.astype(dtype)).take("a", (2,), "b")
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, VALUES)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16])
def test_every_number_of_16_bits_is_exact(dtype):
    numbers = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    # NumPy warns about NaN in bfloat16.
    with np.errstate(invalid="ignore"):
        finite = numbers[np.isfinite(numbers.astype(np.float64))]
    taken = file_of(a=finite).take("a", finite.shape, "b")
    np.testing.assert_array_equal(taken.astype(dtype).view(np.uint16), finite.view(np.uint16))


@pytest.mark.parametrize(
    "dtype", [np.int64, np.bool_, np.complex64, ml_dtypes.float8_e4m3fn, np.longdouble]
)
def test_other_numbers_are_no_weights(dtype):
    name = np.dtype(dtype).name
    with pytest.raises(UserError, match=f"n is {name}, expected one of float32, .* for head/bias"):
        file_of(n=np.zeros(2, dtype)).take("n", (2,), "head/bias")


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_in_float32_are_named(number):
    message = rf"w has {re.escape(str(np.float64(number)))} at \[1, 0\], expected finite numbers"
    with pytest.raises(UserError, match=message):
        file_of(w=np.array([[0.0], [number]])).take("w", (2, 1), "head/kernel")


def test_another_shape_names_both_and_reads_no_numbers():
    file = file_of(w=np.full((3, 2), np.nan))
    message = r"w has the shape \[3, 2\], expected \[2, 3\] for head/kernel; hint"
    with pytest.raises(UserError, match=message):
        file.take("w", (2, 3), "head/kernel", "; hint")
    assert file.taken == set()
    assert (file.shape("w"), file.shape("v")) == ((3, 2), None)


def test_a_missing_tensor_shows_the_most_similar_ones():
    file = file_of(**{"head.bias": np.zeros(2)}, **{f"z{k}.w": np.zeros(1) for k in range(9)})
    message = r"has no haed.bias \[2\] for head/bias; it has head\.bias \[2\], "
    with pytest.raises(UserError, match=message):
        file.take("haed.bias", (2,), "head/bias")
    assert not file.take_or_zeros("haed.bias", (2,), "head/bias").any()
    with pytest.raises(UserError, match="has no a .* it has no tensors"):
        file_of().take("a", (2,), "b")


def test_every_tensor_has_a_place_or_is_ignored():
    file = file_of(**{"a.b": np.zeros(1), "a.c.d": np.zeros((2, 3)), "e.f.g": np.zeros(4)})
    file.take("a.b", (1,), "b")
    # The widest module of which nothing was taken.
    with pytest.raises(
        UserError,
        match=r"no place for a\.c\.d \[2, 3\], e\.f\.g \[4\]; --map=ignore=a\.c:e leaves such",
    ):
        file.check_all_taken()
    for name in ("a.c.d", "e.f.g"):
        file.take(name, file.shape(name), "b")
    file.check_all_taken()


def test_a_long_list_is_cut():
    file = file_of(**{f"m{k}.w": np.zeros(1) for k in range(8)})
    with pytest.raises(UserError, match=r"m5\.w \[1\], 2 more; --map=ignore=m0:.*:m5:\.\.\. leav"):
        file.check_all_taken()


def test_the_modules_of_a_name():
    assert modules_with("a.b/c.d") == ["a", "a.b", "a.b/c"]
    assert modules_with("a") == []


@pytest.mark.parametrize(
    ("patterns", "ignored"),
    [
        ("layers/lstm", ["layers/lstm/cell/vars/0"]),
        ("layers/lstm*", ["layers/lstm/cell/vars/0", "layers/lstm_1/cell/vars/0"]),
        ("none:layers/lstm_1/cell", ["layers/lstm_1/cell/vars/0"]),
        ("layers/lstm_1/cell/vars/0", ["layers/lstm_1/cell/vars/0"]),
        ("LAYERS:vars", []),
        ("", []),
    ],
)
def test_a_pattern_names_a_tensor_or_a_module_that_holds_it(patterns, ignored):
    names = ["layers/lstm/cell/vars/0", "layers/lstm_1/cell/vars/0"]
    assert [name for name in names if is_ignored(name, {"ignore": patterns})] == ignored
    assert not any(is_ignored(name, {}) for name in names)


def test_a_name_is_there_once():
    check_unique(Path("f"), ["a", "b"])
    with pytest.raises(UserError, match="import: f: b is there twice, expected once"):
        check_unique(Path("f"), ["a", "b", "b"])


def test_a_file_of_another_framework_is_named(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(UserError, match=r"no safetensors file: .*one of Keras: --from=keras"):
        read_safetensors_file("torch", path, lambda name: False)

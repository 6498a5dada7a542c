"""The readers of PyTorch, Keras and Flax answer the same faults, each in one line."""

import pickle
import zipfile
from functools import cache
from typing import NamedTuple

import h5py
import ml_dtypes
import numpy as np
import pytest
from flax import serialization
from flax.traverse_util import unflatten_dict
from safetensors.numpy import save_file

from lstm_lab.interop import imported
from lstm_lab.interop.sources import SOURCES, import_weights
from lstm_lab.utils.errors import UserError
from tests.helpers.training import small_spec

parameter_shapes = cache(imported.parameter_shapes)
D, H = 2, 5
SPEC = small_spec()  # one layer of five units over two inputs, and one output


class Names(NamedTuple):
    """How a framework calls the tensors of an LSTM with a head, and their shapes.

    Attributes:
      file: the name of its files.
      kernel, head, bias: tensors of the layer, and of the head.
      module: the layer of the file.
      extra: a layer without a place in the model.
    """

    file: str
    kernel: str
    head: str
    bias: str
    module: str
    extra: str


NAMES = {
    "torch": Names(
        "model.safetensors", "lstm.weight_ih_l0", "head.weight", "head.bias", "lstm", "norm.weight"
    ),
    "keras": Names(
        "model.weights.h5",
        *("layers/lstm/cell/vars/0", "layers/dense/vars/0", "layers/dense/vars/1"),
        *("layers/lstm", "layers/norm/vars/0"),
    ),
    "flax": Names(
        "params.msgpack",
        *("LSTMCell_0/ii/kernel", "Dense_0/kernel", "Dense_0/bias", "LSTMCell_0", "norm/scale"),
    ),
}


def tensors_of(framework):
    """Returns the tensors of a good file."""
    match framework:
        case "torch":
            shapes = {"lstm.weight_ih_l0": (4 * H, D), "lstm.weight_hh_l0": (4 * H, H)}
            shapes |= {"lstm.bias_ih_l0": (4 * H,), "lstm.bias_hh_l0": (4 * H,)}
            shapes |= {"head.weight": (1, H), "head.bias": (1,)}
        case "keras":
            cell = [(D, 4 * H), (H, 4 * H), (4 * H,)]
            shapes = {f"layers/lstm/cell/vars/{k}": shape for k, shape in enumerate(cell)}
            shapes |= {"layers/dense/vars/0": (H, 1), "layers/dense/vars/1": (1,)}
        case _:
            shapes = {f"LSTMCell_0/i{gate}/kernel": (D, H) for gate in "ifgo"}
            shapes |= {f"LSTMCell_0/h{gate}/kernel": (H, H) for gate in "ifgo"}
            shapes |= {f"LSTMCell_0/h{gate}/bias": (H,) for gate in "ifgo"}
            shapes |= {"Dense_0/kernel": (H, 1), "Dense_0/bias": (1,)}
    numbers = np.random.default_rng(0)
    # Multiples of 1/8: float16 and bfloat16 hold them exactly.
    return {k: np.float32(numbers.integers(-9, 9, s)) / np.float32(8) for k, s in shapes.items()}


def write(framework, tensors, path):
    """Writes a file as the framework does."""
    match framework:
        case "torch":
            save_file({name: np.asarray(a, order="C") for name, a in tensors.items()}, path)
        case "keras":
            with h5py.File(path, "w") as file:
                for name, array in tensors.items():
                    dataset = file.create_dataset(name, data=array)
                    if array.dtype == ml_dtypes.bfloat16:
                        dataset.attrs["dtype"] = "bfloat16"
        case _:
            tree = unflatten_dict(tensors, sep="/")
            path.write_bytes(serialization.msgpack_serialize(tree))
    return path


@pytest.fixture(autouse=True)
def shapes_once(monkeypatch):
    """All tests import for one model: its shapes are computed once."""
    monkeypatch.setattr(imported, "parameter_shapes", parameter_shapes)


@pytest.fixture
def read(tmp_path):
    """Returns a function that writes tensors and imports the file, for the same model."""

    def read_tensors(framework, tensors, mapping=None):
        path = write(framework, tensors, tmp_path / NAMES[framework].file)
        return import_weights(path, framework, SPEC, mapping)

    return read_tensors


def refused(call, *parts):
    """Asserts that a call ends in one line that has certain parts."""
    with pytest.raises(UserError) as error:
        call()
    line = str(error.value)
    assert line.startswith("import: "), line
    assert "\n" not in line
    for part in parts:
        assert part in line, (part, line)


everywhere = pytest.mark.parametrize("framework", SOURCES)


@everywhere
@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16])
def test_numbers_of_another_precision_are_the_same_in_float32(framework, dtype, read):
    tensors = tensors_of(framework)
    expected = read(framework, tensors)
    assert expected.keys() == {"lstm/layer_0/wx", "lstm/layer_0/wh", "lstm/layer_0/b"} | {
        "head/kernel",
        "head/bias",
    }
    weights = read(framework, {name: array.astype(dtype) for name, array in tensors.items()})
    for name, array in expected.items():
        assert weights[name].dtype == np.float32
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


@everywhere
@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", ml_dtypes.float8_e4m3fn])
@pytest.mark.parametrize("part", ["kernel", "head", "bias"])
def test_other_numbers_are_refused_by_tensor_and_dtype(framework, dtype, part, read):
    tensors, name = tensors_of(framework), getattr(NAMES[framework], part)
    tensors[name] = tensors[name].astype(dtype)
    with pytest.raises(UserError) as error:
        read(framework, tensors)
    line = str(error.value).lower()
    assert "\n" not in line
    assert name.lower() in line
    words = {"int32": "i32", "complex64": "c64", "bool": "bool"}
    float8 = ("f8_e4m3", "float8_e4m3fn", "bytes (1 each) without a dtype")
    assert any(w in line for w in ((dtype, words[dtype]) if dtype in words else float8)), line
    assert "expected one of" in line
    # What is ignored may hold anything.
    other = tensors_of(framework) | {NAMES[framework].extra: tensors[name]}
    read(framework, other, {"ignore": "norm:layers/norm"})


@everywhere
@pytest.mark.parametrize("part", ["kernel", "head", "bias"])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: a[None],
        lambda a: a.reshape(-1, 1, 1),
        lambda a: np.concatenate([a, a]),
        lambda a: a[:0],
        lambda a: a.sum(),
    ],
    ids=["rank + 1", "rank 3", "longer", "empty", "scalar"],
)
def test_another_shape_is_refused_by_tensor_and_both_shapes(framework, part, change, read):
    tensors, name = tensors_of(framework), getattr(NAMES[framework], part)
    shape = list(tensors[name].shape)
    tensors[name] = np.asarray(change(tensors[name]))
    refused(lambda: read(framework, tensors), name, str(list(tensors[name].shape)), f"{shape}")


@everywhere
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_named(framework, number, read):
    tensors, name = tensors_of(framework), NAMES[framework].kernel
    tensors[name][1, 1] = number
    refused(lambda: read(framework, tensors), f"{name} has {np.float32(number)} at [1, 1]")


@everywhere
def test_what_has_no_place_is_refused_until_it_is_ignored(framework, read):
    names = NAMES[framework]
    tensors = tensors_of(framework) | {names.extra: np.ones(3, np.float32)}
    module = names.extra.removesuffix("/vars/0").removesuffix("/scale").removesuffix(".weight")
    refused(
        lambda: read(framework, tensors),
        f"the model has no place for {names.extra} [3]; --map=ignore={module} leaves",
    )
    weights = read(framework, tensors, {"ignore": module})
    for name, array in read(framework, tensors_of(framework)).items():
        np.testing.assert_array_equal(weights[name], array)


@everywhere
def test_what_the_file_lacks_is_refused_until_it_is_left_out(framework, read):
    names, tensors = NAMES[framework], tensors_of(framework)
    no_head = {name: a for name, a in tensors.items() if name not in (names.head, names.bias)}
    refused(lambda: read(framework, no_head), "--map=head= leaves the part out")
    assert "head/kernel" not in read(framework, no_head, {"head": ""})
    no_layer = {name: tensors[name] for name in (names.head, names.bias)}
    refused(lambda: read(framework, no_layer), "has no recurrent layer", names.head)
    for left_out in ({"lstm": ""}, {"lstm/layer_0": ""}):
        assert set(read(framework, no_layer, left_out)) == {"head/kernel", "head/bias"}
    no_kernel = {name: array for name, array in tensors.items() if name != names.kernel}
    refused(lambda: read(framework, no_kernel))
    # A layer without a bias computes the same with zeros.
    no_bias = {name: array for name, array in tensors.items() if name != names.bias}
    assert not read(framework, no_bias)["head/bias"].any()


@everywhere
def test_the_user_names_a_part_in_the_same_way(framework, read):
    names, tensors = NAMES[framework], tensors_of(framework)
    expected = read(framework, tensors)
    for layer in (names.module, "lstm.l0" if framework == "torch" else names.module):
        part = "lstm" if layer == names.module else "lstm/layer_0"
        head = names.head.removesuffix(".weight").removesuffix("/kernel").removesuffix("/vars/0")
        weights = read(framework, tensors, {part: layer, "head": head})
        assert weights.keys() == expected.keys()
    for part in ("lstm", "lstm/layer_0", "head"):
        with pytest.raises(UserError, match=f"--map={part}: got 'nowhere'"):
            read(framework, tensors, {part: "nowhere"})
    with pytest.raises(UserError, match="--map: got 'haed'; did you mean 'head'"):
        read(framework, tensors, {"haed": "x"})
    everything = {"lstm": "", "head": "", "ignore": "*"}
    refused(lambda: read(framework, tensors, everything), "leaves out every part of the model")


@everywhere
def test_a_second_layer_of_the_file_is_counted(framework, read):
    names, tensors = NAMES[framework], tensors_of(framework)
    second = names.module.replace("LSTMCell_0", "LSTMCell_1")
    second = second if second != names.module else f"{names.module}_1"
    tensors |= {
        name.replace(names.module, second): array
        for name, array in tensors.items()
        if name.startswith(names.module)
    }
    refused(lambda: read(framework, tensors), second)
    assert read(framework, tensors, {"ignore": second}).keys()


@everywhere
def test_a_damaged_file_is_one_line(framework, tmp_path):
    path = write(framework, tensors_of(framework), tmp_path / NAMES[framework].file)
    content, name = path.read_bytes(), str(path)
    for length in (0, 1, 8, 50, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        refused(lambda: import_weights(path, framework, SPEC), name)
    for other in (b"text\n", bytes(100), content + b"more", b"\x93NUMPY" + bytes(80)):
        path.write_bytes(other)
        # HDF5 allows bytes after its end.
        if not (framework == "keras" and other.endswith(b"more")):
            refused(lambda: import_weights(path, framework, SPEC), name)


@everywhere
@pytest.mark.parametrize("other", SOURCES)
def test_the_file_of_another_framework_is_named(framework, other, tmp_path):
    if framework == other:
        return
    path = write(other, tensors_of(other), tmp_path / NAMES[other].file)
    call = lambda: import_weights(path, framework, SPEC)  # noqa: E731
    refused(call, f"--from={other}")


@everywhere
def test_pickles_archives_and_folders_are_no_weights(framework, tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"a": 1}))
    refused(lambda: import_weights(tmp_path / "model.pkl", framework, SPEC), "is never read")
    (tmp_path / NAMES[framework].file).write_bytes(pickle.dumps({"a": [1.0] * 99}))
    refused(lambda: import_weights(tmp_path / NAMES[framework].file, framework, SPEC))
    np.savez(tmp_path / "model.npz", a=np.zeros(2))
    refused(lambda: import_weights(tmp_path / "model.npz", framework, SPEC), "model.npz")
    refused(lambda: import_weights(tmp_path, framework, SPEC), "is not a file")
    refused(lambda: read_empty(framework, tmp_path), "has no recurrent layer", "no tensors")


def read_empty(framework, folder):
    """Imports a file without tensors."""
    return import_weights(write(framework, {}, folder / NAMES[framework].file), framework, SPEC)


# ---- faults of one format


def test_two_paths_of_one_array_are_refused(tmp_path):
    tensors = tensors_of("flax")
    path = tmp_path / "params.safetensors"
    save_file(tensors | {"Dense_0.bias": tensors["Dense_0/bias"]}, path)
    refused(lambda: import_weights(path, "flax", SPEC), "Dense_0/bias is there twice")
    tree = unflatten_dict(tensors, sep="/")
    path = tmp_path / "params.msgpack"
    path.write_bytes(serialization.msgpack_serialize({"params": tree, **tree}))
    refused(lambda: import_weights(path, "flax", SPEC), "is there twice")


@pytest.mark.parametrize("leaf", [[1.0], 1.0, "text", np.float32(1), None])
def test_what_is_no_array_is_named(leaf, tmp_path):
    tree = unflatten_dict(tensors_of("flax"), sep="/")
    path = tmp_path / "params.msgpack"
    path.write_bytes(serialization.msgpack_serialize(tree | {"scale": leaf}))
    kind = type(leaf).__name__
    refused(lambda: import_weights(path, "flax", SPEC), f"scale is of the type {kind}")
    assert import_weights(path, "flax", SPEC, {"ignore": "scale"})


def test_a_train_state_of_flax_is_read_without_its_optimizer(tmp_path):
    tree = unflatten_dict(tensors_of("flax"), sep="/")
    path = tmp_path / "state.msgpack"
    state = {"params": tree, "opt_state": {"0": {"mu": tree, "nu": tree}}, "step": 3}
    path.write_bytes(serialization.msgpack_serialize(state))
    assert len(import_weights(path, "flax", SPEC)) == 5
    statistics = {"batch_stats": {"norm": {"mean": np.zeros(H, np.float32)}}}
    path.write_bytes(serialization.msgpack_serialize(state | statistics))
    refused(
        lambda: import_weights(path, "flax", SPEC),
        "no place for batch_stats/norm/mean [5]; --map=ignore=batch_stats leaves",
    )


def test_one_bias_alone_is_no_file_of_pytorch(read):
    tensors = tensors_of("torch")
    del tensors["lstm.bias_hh_l0"]
    refused(lambda: read("torch", tensors), "has no lstm.bias_hh_l0 [20] for lstm/layer_0/b")


def test_an_archive_of_keras_with_two_members_of_one_name_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", "")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("config.json", "{}")
    refused(lambda: import_weights(path, "keras", SPEC), "config.json is there twic")


def test_a_file_in_the_format_of_keras_2_is_named(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file["model_weights/lstm/lstm/lstm_cell/kernel:0"] = np.zeros((2, 20), np.float32)
    refused(lambda: import_weights(path, "keras", SPEC), "has the format of Keras 2")


def test_an_array_of_keras_that_lies_in_other_files_is_refused(tmp_path):
    write("keras", tensors_of("keras"), tmp_path / "source.h5")
    layout = h5py.VirtualLayout((D, 4 * H), np.float32)
    layout[...] = h5py.VirtualSource(
        tmp_path / "source.h5", "layers/lstm/cell/vars/0", layout.shape
    )
    with h5py.File(tmp_path / "model.weights.h5", "w") as file:
        file.create_virtual_dataset("layers/lstm/cell/vars/0", layout)
    path = tmp_path / "model.weights.h5"
    refused(lambda: import_weights(path, "keras", SPEC), "is in another file")


def test_a_huge_array_without_numbers_is_refused_by_its_shape(tmp_path):
    path = write("keras", tensors_of("keras"), tmp_path / "model.weights.h5")
    with h5py.File(path, "r+") as file:
        del file["layers/lstm/cell/vars/0"]
        # 4 TB of zeros, of which the file has none.
        file.create_dataset("layers/lstm/cell/vars/0", (1 << 20, 1 << 20), np.float32, chunks=True)
    refused(lambda: import_weights(path, "keras", SPEC), "[1048576, 1048576]")


def test_bytes_of_keras_without_a_dtype_are_no_numbers(tmp_path):
    path = write("keras", tensors_of("keras"), tmp_path / "model.weights.h5")
    with h5py.File(path, "r+") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.zeros(1, "V2")
    refused(
        lambda: import_weights(path, "keras", SPEC),
        "layers/dense/vars/1 is bytes (2 each) without a dtype, expected one of float32",
    )


def test_the_optimizer_of_keras_is_not_read(tmp_path):
    tensors = tensors_of("keras")
    state = {f"optimizer/vars/{k}": np.zeros((2, 20), np.float32) for k in range(3)}
    state["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    path = write("keras", tensors | state, tmp_path / "model.weights.h5")
    assert len(import_weights(path, "keras", SPEC)) == 5

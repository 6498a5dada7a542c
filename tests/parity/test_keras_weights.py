"""Weights of Keras: round trips are exact, models of users give the same numbers here."""

import zipfile

import h5py
import jax
import keras
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from lstm_lab.interop import keras_weights
from lstm_lab.interop.keras_models import keras_model
from lstm_lab.interop.keras_weights import from_keras, import_weights
from lstm_lab.interop.portable import portable_model
from lstm_lab.utils.errors import UserError
from tests.helpers.frameworks import (
    MODELS,
    SYMBOLS,
    assert_equal_outputs,
    inputs_of,
    reference,
    run_of,
)

# Keras 3.15 converts its own variables in a way that NumPy 2 warns about, when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def with_weights(run, weights):
    """Returns a run with other weights, given by name."""
    return type(run)(run.spec, unflatten_dict(weights, sep="/"), {})


def layers_of_a_user(path, rows=3):
    """Saves a model as a user of Keras writes one, and returns it: two LSTMs and two Dense."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(rows, 4),
            layers.LSTM(5, return_sequences=True),
            layers.LSTM(5, return_sequences=True, use_bias=False),
            layers.Lambda(lambda h: h),  # a file with it holds code
            layers.Dense(3),
        ]
    )
    model.save(path)
    return model


@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
@pytest.mark.parametrize(("cell", "name"), [("lstm", "concat"), ("gru", "tied"), ("rnn", "sizes")])
def test_a_round_trip_is_exact(cell, name, suffix, tmp_path):
    task, settings = MODELS[name]
    run = run_of(cell, task, **settings)
    model = keras_model(portable_model(run), None, with_states=False)
    path = tmp_path / f"model.{suffix}"
    (model.save if suffix == "keras" else model.save_weights)(path)
    weights, expected = import_weights(path, run.spec), flatten_dict(run.params, sep="/")
    assert weights.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(weights[key], array, err_msg=key)


def test_a_model_of_a_user_gives_the_same_numbers_and_none_of_its_code_runs(tmp_path):
    network = layers_of_a_user(tmp_path / "model.keras")
    run = run_of("lstm", SYMBOLS, layers=2, embedding=4)
    run = with_weights(run, import_weights(tmp_path / "model.keras", run.spec))
    assert not run.params["lstm"]["layer_1"]["b"].any()
    x = inputs_of(run)
    assert_equal_outputs(reference(run, x)[0], network(x))


def test_a_tied_head_without_a_layer_has_no_bias(tmp_path):
    task, settings = MODELS["tied"]
    run, path = run_of("gru", task, **settings), tmp_path / "model.weights.h5"
    keras_model(portable_model(run), None, with_states=False).save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["layers/dense"]
    weights = import_weights(path, run.spec)
    np.testing.assert_array_equal(
        weights["embed/embedding"], run.params["embed"]["embedding"], strict=True
    )
    assert not weights["bias"].any()
    assert "bias" not in import_weights(path, run.spec, {"head": ""})


def test_biases_of_a_gru_are_added():
    run = run_of("gru")
    network = keras_model(portable_model(run), None, with_states=False)
    kernel, recurrent, bias = network.get_layer("layer_0").cell.get_weights()
    bias = np.random.default_rng(0).normal(size=bias.shape).astype(np.float32)
    network.get_layer("layer_0").cell.set_weights([kernel, recurrent, bias])
    run.params["lstm"]["layer_0"] = from_keras("gru", [kernel, recurrent, bias])
    x = inputs_of(run)
    assert_equal_outputs(reference(run, x)[0], network({"x": x, "mask": None}))


# The head of the model is not read, and nor are those of the file.
NO_HEAD = {"head": "", "ignore": "layers/dense*"}


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Returns the weights of a layer of five units over two inputs, and of two heads."""
    path = tmp_path_factory.mktemp("weights") / "model.weights.h5"
    with h5py.File(path, "w") as file:
        cell = {"lstm/cell": [(2, 20), (5, 20), (20,)]}
        for group, shapes in {**cell, "dense": [(5, 1), (1,)], "dense_1": [(5, 2), (2,)]}.items():
            for number, shape in enumerate(shapes):
                file[f"layers/{group}/vars/{number}"] = np.ones(shape, np.float32)
    return path


def test_a_part_is_named_where_the_file_has_several(weights_file):
    spec = run_of("lstm").spec
    message = "has layers/dense, layers/dense_1 for head; --map=head=layers/dense_1 chooses one"
    with pytest.raises(UserError, match=message):
        import_weights(weights_file, spec)
    assert "head/kernel" not in import_weights(weights_file, spec, NO_HEAD)
    with pytest.raises(
        UserError, match=r"no place for layers/dense_1/vars/0 \[5, 2\], layers/dens"
    ):
        import_weights(weights_file, spec, {"head": "layers/dense"})
    ignored = {"ignore": "layers/dense_*"}
    for mapping in ({"head": "layers/dense", **ignored}, ignored):
        assert import_weights(weights_file, spec, mapping)["head/kernel"].shape == (5, 1)
    only_head = {"lstm/layer_0": "", "ignore": "layers/dense_1:layers/lstm"}
    assert set(import_weights(weights_file, spec, only_head)) == {"head/kernel", "head/bias"}


def test_of_several_layers_one_can_be_chosen_or_left_out(weights_file, tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(weights_file) as old, h5py.File(path, "w") as file:
        old.copy("layers", file)
        file.copy("layers/lstm", "layers/lstm_1")
        file["layers/lstm_1/cell/vars/2"][...] = 7
    spec = run_of("lstm").spec
    message = (
        r"layers is 2 \(layers/lstm, layers/lstm_1\), expected 1 .*--map=lstm/layer_0=layers/l"
    )
    with pytest.raises(UserError, match=message):
        import_weights(path, spec, NO_HEAD)
    ignored = {"head": "", "ignore": "layers/dense*:layers/lstm"}
    for mapping in (ignored, {"lstm/layer_0": "layers/lstm_1", **ignored}):
        assert import_weights(path, spec, mapping)["lstm/layer_0/b"].min() == 7


def test_a_layer_whose_name_ends_in_vars_can_be_named(weights_file, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(weights_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file.move("layers/dense", "layers/my_vars")
    mapping = {"head": "layers/my_vars", "ignore": "layers/dense_1"}
    assert import_weights(path, run_of("lstm").spec, mapping)["head/kernel"].shape == (5, 1)
    # What holds the arrays of a layer is none.
    with pytest.raises(UserError, match="--map=head: got 'layers/my_vars/vars'; did you mean"):
        import_weights(path, run_of("lstm").spec, mapping | {"head": "layers/my_vars/vars"})


def test_an_error_of_the_reader_itself_is_not_said_to_be_one_of_the_file(weights_file, monkeypatch):
    def broken(*_args, **_kwargs):
        raise KeyError("bug")

    monkeypatch.setattr(keras_weights, "_find_parts", broken)
    with pytest.raises(KeyError, match="bug"):
        import_weights(weights_file, run_of("lstm").spec)


def test_a_file_of_another_framework_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"lstm.weight_ih_l0": np.ones((2, 2), np.float32)}, path)
    with pytest.raises(UserError, match="look like those of PyTorch: --from=torch"):
        import_weights(path, run_of("lstm").spec)


@pytest.mark.parametrize(
    ("model", "mapping", "message"),
    [
        ({"cell": "gru"}, {"head": ""}, r"an LSTM \(4 gates\), .* a GRU \(3 gates\)"),
        ({"hidden": 6}, {"head": ""}, "--config.model.hidden=5 fits"),
        (
            {"hidden": 6},
            {"head": ""},
            r"layers/lstm/cell/vars/0 has .* \[2, 20\], expected \[2, 24\] for kernel of ",
        ),
        (
            {},
            {"head": "layers/dense_1"},
            r"dense_1/vars/0 .*\[5, 2\], expected \[5, 1\]",
        ),
        ({"layers": 2}, {}, r"layers is 1 \(layers/lstm\), expected 2 because of model"),
        ({}, {"heads": "layers/dense"}, "--map: got 'heads'; did you mean 'head'"),
        (
            {},
            {"head": "layers/dense_2"},
            "--map=head: got 'layers/dense_2'; did you mean 'layers/dense_1'",
        ),
        ({"bidirectional": True}, {"head": ""}, "has no layers/lstm/forward_layer/cell/vars"),
    ],
)
def test_weights_that_do_not_fit_are_refused(model, mapping, message, weights_file):
    with pytest.raises(UserError, match=message):
        import_weights(weights_file, run_of(**{"cell": "lstm", **model}).spec, mapping)


def test_a_cell_that_keras_lacks_is_refused_by_name(weights_file):
    with pytest.raises(UserError, match="no cell with the equations of peephole"):
        import_weights(weights_file, run_of("peephole").spec)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04" + b"\0" * 40])
def test_another_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"model.keras cannot be read, expected a .keras") as error:
        import_weights(path, run_of("lstm").spec)
    assert "\n" not in str(error.value)


def zipped(path, config=b"null", weights=b""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", weights)
    return path


def encrypted(path):
    """Sets the flag of encryption in every header."""
    content = bytearray(zipped(path).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(mark, at + 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: zipped(path, config=b"[" * 200_000), "recursion"),
        (lambda path: zipped(path, weights=b"\0" * (1 << 26)), "expands to 67,108,864 bytes"),
        (encrypted, "encrypted"),
    ],
)
def test_a_harmful_or_damaged_archive_is_refused_in_one_line(write, reason, tmp_path):
    with pytest.raises(UserError, match=f"cannot be read.*{reason}") as error:
        import_weights(write(tmp_path / "model.keras"), run_of("lstm").spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["layers/lstm/cell/vars", "layers/lstm/cell/vars/0"])
def test_a_group_and_an_array_are_not_confused(name, weights_file, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes(weights_file.read_bytes())
    with h5py.File(path, "r+") as file:
        del file[name]
        if name.endswith("0"):
            file.create_group(name)
        else:
            file[name] = np.zeros(3)
    with pytest.raises(
        UserError, match=r"has no layers/lstm/cell/vars/0 \[2, 20\] for kernel of ls"
    ):
        import_weights(path, run_of("lstm").spec, NO_HEAD)


def test_a_file_that_leads_to_other_files_is_refused(weights_file, tmp_path):
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/lstm"] = h5py.ExternalLink(str(weights_file), "/layers/lstm")
    with pytest.raises(UserError, match="layers/lstm is a link"):
        import_weights(path, run_of("lstm").spec)
    with h5py.File(path, "w") as file:
        kernel = [("/etc/hostname", 0, 160)]
        file.create_dataset("layers/lstm/cell/vars/0", (2, 20), np.float32, external=kernel)
    with pytest.raises(UserError, match="is in another file, expected numbers in this file"):
        import_weights(path, run_of("lstm").spec)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda lstm: lstm(5, activation="relu"), "activation of .* is 'relu', expected 'tanh'"),
        (lambda lstm: lstm(5, go_backwards=True), "go_backwards of .* is True, expected False"),
        (
            lambda lstm: keras.layers.Bidirectional(lstm(5), merge_mode="sum"),
            "merge_mode of .* is 'sum', expected 'concat'",
        ),
    ],
)
def test_a_layer_that_computes_something_else_is_refused(layer, message, tmp_path):
    model = keras.Sequential([keras.Input((None, 2)), layer(keras.layers.LSTM)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=message):
        import_weights(tmp_path / "model.keras", run_of("lstm").spec)


@pytest.fixture(scope="module")
def three_layers(tmp_path_factory):
    """Returns a model with an LSTM that computes as ours, and two layers that do not."""
    x = keras.Input((None, 2))
    lstm = keras.layers.LSTM
    relu, ours = lstm(5, activation="relu", name="encoder"), lstm(5, name="ours")
    both = keras.layers.Bidirectional(lstm(5), merge_mode="sum", name="both")
    path = tmp_path_factory.mktemp("layers") / "model.keras"
    with jax.numpy_rank_promotion("allow"):
        keras.Model(x, [relu(x), ours(x), both(x)]).save(path)
    return path


@pytest.mark.parametrize(
    ("ignored", "message"),
    [
        ("layers/lstm:layers/bidirectional", None),
        ("layers/lstm/*:layers/bidirectional", None),
        ("layers/bidirectional", "activation of encoder .* is 'relu', expected 'tanh'"),
        ("layers/lstm", "merge_mode of both in .* is 'sum', expected 'concat'"),
        # A tensor of the layer is still read.
        ("layers/lstm/cell/vars/0:layers/bidirectional", "activation of encoder .* is 'relu'"),
    ],
)
def test_a_layer_that_is_not_read_may_compute_something_else(ignored, message, three_layers):
    mapping, spec = {"head": "", "ignore": ignored}, run_of("lstm").spec
    if message is None:
        assert import_weights(three_layers, spec, mapping)["lstm/layer_0/wx"].shape == (2, 4, 5)
        return
    with pytest.raises(UserError, match=message):
        import_weights(three_layers, spec, mapping)

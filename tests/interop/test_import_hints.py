"""What the errors of an import suggest."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lstm_lab.config.load import load_spec
from lstm_lab.interop.import_hints import (
    check_gates,
    check_has_layers,
    check_no_pickle,
    format_hint,
    safetensors_names,
    shape_hint,
)
from lstm_lab.utils.errors import UserError

PATH = Path("mine.safetensors")
TEXT = {
    "train": {"steps": 1},
    "task": {"name": "language", "train": "a.txt", "unit": "character", "vocabulary": 66},
}
AXES = ("4 x hidden", "inputs")


@pytest.mark.parametrize(
    ("framework", "names", "hint"),
    [
        ("flax", ["rnn.weight_ih_l0_reverse"], "those of PyTorch: --from=torch"),
        ("keras", ["fc/weight"], "those of PyTorch: --from=torch"),
        ("torch", ["cell/ii/kernel"], "those of Flax: --from=flax"),
        ("flax", ["layers/lstm/cell/vars/0", "head/kernel"], "those of Keras: --from=keras"),
        ("flax", ["head/kernel", "lstm/layer_1_reverse/wx"], "--config.model.init_from=mine.sa"),
        ("torch", ["lstm.weight_hh_l0"], ""),
        ("flax", ["cell/ii/kernel", "cell/hi/bias"], ""),
        ("keras", ["something/else"], ""),
    ],
)
def test_names_show_the_framework(framework, names, hint):
    got = format_hint(framework, PATH, names)
    assert hint in got
    assert bool(hint) == bool(got)


def test_without_names_the_ending_shows_it():
    assert "one of Keras: --from=keras" in format_hint("torch", Path("m.weights.h5"))
    assert "one of Flax: --from=flax" in format_hint("keras", Path("m.msgpack"))
    assert format_hint("keras", Path("m.keras")) == ""
    assert safetensors_names(Path("none.safetensors")) == []


@pytest.mark.parametrize("framework", ["torch", "keras", "flax"])
def test_a_file_without_layers_shows_what_it_has(framework):
    check_has_layers(framework, PATH, ["a"], ["a.weight"], "a.weight [2]")
    with pytest.raises(UserError, match=r"it has b \[2\]; --map=lstm/layer_0=NAME says where"):
        check_has_layers(framework, PATH, [], ["b"], "b [2]")
    with pytest.raises(UserError, match="it has no tensors; --map="):
        check_has_layers(framework, PATH, [], [], "")
    with pytest.raises(UserError, match="names are ours and need no import"):
        check_has_layers(framework, PATH, [], ["lstm/layer_0/wx"], "lstm/layer_0/wx [2]")


@pytest.mark.parametrize(
    ("framework", "name", "advice"),
    [
        ("torch", "a.pt", "`save_file(torch.load('a.pt', weights_only=True), 'a.safetensors')`"),
        ("torch", "a.BIN", "torch.load('a.BIN'"),
        ("keras", "a.pickle", "`model.save('a.keras')`"),
        ("flax", "a.pkl", "`flax.serialization.msgpack_serialize(params)` into 'a.msgpack'"),
    ],
)
def test_a_pickle_is_refused_with_a_way_to_convert_it(framework, name, advice):
    with pytest.raises(UserError, match=re.escape(advice)) as error:
        check_no_pickle(framework, Path(name))
    assert "\n" not in str(error.value)


def test_other_endings_are_no_pickles():
    check_no_pickle("torch", Path("a.safetensors"))
    check_no_pickle("flax", Path("params.bin"))


def test_the_names_in_a_file(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    numpy_files.save_file({"a.b": np.zeros(2)}, tmp_path / "a")
    assert safetensors_names(tmp_path / "a") == ["a.b"]
    (tmp_path / "a").write_bytes(b"text")
    assert safetensors_names(tmp_path / "a") == []


def test_another_number_of_gates_is_named_with_the_cell_that_fits():
    for shape in ((8, 2), (2, 8), (10, 3), (0, 0)):  # the last two say nothing
        check_gates(PATH, "w", shape, 4)
    with pytest.raises(UserError, match=r"an LSTM \(4 gates\), .* a GRU \(3 gates\): .*cell=lstm"):
        check_gates(PATH, "w", (8, 2), 3)
    with pytest.raises(UserError, match=r"a simple RNN \(no gates\), .*cell=rnn fits"):
        check_gates(PATH, "w", (2, 2), 4)


def test_the_hidden_size_that_fits_is_named_if_the_shape_says_it():
    spec = load_spec(TEXT)
    assert shape_hint(spec, AXES, (512, 66), (256, 66)) == (
        "; the axes are [4 x hidden, inputs]: --config.model.hidden=128 fits"
    )
    assert "fits" not in shape_hint(spec, AXES, (510, 66), (256, 66))
    assert shape_hint(spec, AXES, (512,), (256, 66)) == ""
    sizes = replace(spec, model=replace(spec.model, hidden_sizes=(64, 32)))
    assert "fits" not in shape_hint(sizes, AXES, (512, 66), (256, 66))


def test_another_number_of_symbols_says_what_symbol_0_is():
    text = shape_hint(load_spec(TEXT), AXES, (256, 65), (256, 66))
    assert (
        "the file has 65 symbols, the task 66 in the order of an export's preprocessing.json"
        in text
    )
    assert "symbol 0 stands for unknown ones" in text
    # The symbols of this task are not those of a text.
    text = shape_hint(load_spec("dyck"), ("symbols", "embedding"), (9, 3), (5, 3))
    assert text.endswith("the file has 9 symbols, the task 5")

"""What the errors of an import suggest."""

from dataclasses import replace
from pathlib import Path

import pytest

from lstm_lab.config.load import load_spec
from lstm_lab.interop.import_hints import (
    check_gates,
    check_something_read,
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


def test_something_must_be_read():
    check_something_read("flax", PATH, ["lstm/layer_0"], ["a.weight"])
    check_something_read("flax", PATH, ["head"], ["head/kernel"])
    with pytest.raises(UserError, match=r"it has a, b, c, \.\.\.; --map=lstm/layer_0="):
        check_something_read("keras", PATH, [], list("abcd"))


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

"""Exports to Keras: its models give the same numbers, also in a process without lstm_lab."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec
from lstm_lab.cells.catalogue import Variant
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.interop.export import export_run, read_usage
from lstm_lab.interop.keras_models import cell_source, form, keras_model
from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.standalone.export_text import module_of
from lstm_lab.utils.errors import UserError
from tests.helpers.frameworks import (
    LENGTHS,
    MASK,
    MODELS,
    PLAIN,
    VARIANTS,
    assert_equal_outputs,
    in_another_process,
    inputs_of,
    reference,
    run_of,
    state_arrays,
    states_of,
)
from tests.helpers.pages import blocks_of

# Keras 3.15 converts its own variables in a way that NumPy 2 warns about, when it saves a model.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def model_of(run, *, with_states):
    """Returns the model of Keras, without a file."""
    model = portable_model(run)
    is_plain = form(model.spec) == "layer"
    cells = None if is_plain else module_of(cell_source(model.layers[0][0]))
    return keras_model(model, cells, with_states=with_states)


def call(run, network, x, mask, states=None):
    """Returns logits and final states of a model of Keras."""
    if states is None:
        return network({"x": x, "mask": mask}), []
    names = [name.replace(".", "_") for name in portable_model(run).state_names]
    initial = dict(zip(names, state_arrays(states), strict=True))
    outputs = network({"x": x, "mask": mask, **initial})
    return outputs["logits"], [outputs[name] for name in names]


def check(run, network, lengths, states=None):
    """Asserts that a model of Keras equals ours."""
    x, mask = inputs_of(run), None if lengths is None else MASK
    logits, finals = call(run, network, x, mask, states)
    expected, expected_finals = reference(run, x, lengths, states)
    assert_equal_outputs(logits, expected, "logits")
    for got, want in zip(finals, state_arrays(expected_finals) if states else [], strict=True):
        assert_equal_outputs(got, want, "final state")


@pytest.mark.parametrize("cell", VARIANTS)
def test_a_cell_equals_that_of_keras_or_its_equations(cell):
    run = run_of(cell, layers=2)
    assert form(portable_model(run).spec) == ("layer" if cell in PLAIN else "equations")
    check(run, model_of(run, with_states=True), LENGTHS, states_of(run))


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_equal_ours(name):
    task, settings = MODELS[name]
    run = run_of("lstm", task, **settings)
    check(run, model_of(run, with_states=False), LENGTHS)
    if name != "subtract_last":  # its model needs the mask
        check(run, model_of(run, with_states=True), None, states_of(run))


def test_chunks_give_the_same_as_the_whole_sequence():
    run = run_of("gru", MODELS["residual"][0], layers=2, embedding=3)
    # Keras takes arrays of NumPy or tensors, but not both in one call.
    network, x = model_of(run, with_states=True), keras.ops.convert_to_tensor(inputs_of(run))
    states = [keras.ops.zeros((3, 5))] * 2
    names = ["layer_0_h", "layer_1_h"]
    pieces = []
    for chunk in (x[:, :1], x[:, 1:3], x[:, 3:]):
        outputs = network({"x": chunk, "mask": None, **dict(zip(names, states, strict=True))})
        pieces.append(outputs["logits"])
        states = [outputs[name] for name in names]
    assert_equal_outputs(np.concatenate(pieces, 1), reference(run, inputs_of(run))[0])


def test_a_gru_with_the_reset_before_the_product_is_a_layer_of_keras(monkeypatch):
    monkeypatch.setitem(CATALOGUE, "before", Variant(GRUSpec(reset="before"), "", ""))
    run = run_of("before")
    network = model_of(run, with_states=True)
    assert network.get_layer("layer_0").cell.reset_after is False
    check(run, network, LENGTHS, states_of(run))


# PyTorch is no dependency; without it, Keras' own NumPy computes.
OTHER_BACKEND = "torch" if find_spec("torch") else "numpy"


@pytest.mark.parametrize(("cell", "backend"), [("lstm", OTHER_BACKEND), ("layernorm", "jax")])
def test_an_export_runs_without_lstm_lab(cell, backend, tmp_path, monkeypatch):
    run = run_of(cell, layers=2, bidirectional=True)
    export_run(run, "keras", tmp_path / "out")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    program = """
        import keras
        if __import__("pathlib").Path("cell.py").exists():
            import cell
        model = keras.saving.load_model("model.keras")
        logits = keras.ops.convert_to_numpy(model({"x": x, "mask": mask}))
        with_states = keras.saving.load_model("with_states.keras")
        names = with_states.input.keys() - {"x", "mask"}
        zeros = {name: np.zeros((3, 5), "float32") for name in names}
        outputs = with_states({"x": x, "mask": mask, **zeros})
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(outputs["logits"]), logits)
    """
    logits = in_another_process(program, tmp_path / "out", x=inputs_of(run), mask=MASK)
    assert_equal_outputs(logits, reference(run, inputs_of(run), LENGTHS)[0])


def test_the_lines_of_the_usage_run_without_tensorflow(tmp_path, monkeypatch):
    run = run_of("lstm")
    folder = export_run(run, "keras", tmp_path / "out")
    # On a new installation nothing names a backend, and Keras takes TensorFlow.
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    ((_, program),) = blocks_of(read_usage(folder))
    logits = in_another_process(program, folder, x=inputs_of(run), mask=MASK)
    assert_equal_outputs(logits, reference(run, inputs_of(run), LENGTHS)[0])


def test_a_cell_of_a_user_is_refused_by_name_and_nothing_is_written(tmp_path, monkeypatch):
    emit = replace(GATED_LSTM, emit=lambda spec, params, state: state)
    monkeypatch.setitem(CATALOGUE, "own", Variant(CellSpec(cell=emit), "", ""))
    with pytest.raises(UserError, match="own has functions of its own"):
        export_run(run_of("own"), "keras", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_without_keras_one_line_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(UserError, match=r"lstm-lab\[peers\]"):
        export_run(run_of("lstm"), "keras", tmp_path / "out")

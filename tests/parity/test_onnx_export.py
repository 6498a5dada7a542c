"""Exported models give the same numbers in ONNX Runtime."""

import re

import numpy as np
import onnx
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec, MinLSTMSpec, SLSTMSpec
from lstm_lab.inference.generate import Sampling, generate
from lstm_lab.interop import ExportOptions, export_run
from lstm_lab.interop.onnx.export import OPSETS
from lstm_lab.interop.onnx.model import model_graph
from lstm_lab.interop.onnx.proto import model_proto
from lstm_lab.interop.portable import portable_model
from lstm_lab.tasks.readers.text import Vocabulary
from lstm_lab.utils.files import read_json
from tests.helpers.explain import SCAN, trained
from tests.helpers.onnx_runs import (
    LENGTHS,
    assert_same_sequences,
    assert_same_stream,
    random_inputs,
    random_states,
    reference,
    run_graph,
    session,
)
from tests.helpers.pages import blocks_of
from tests.helpers.paths import ROOT
from tests.helpers.training import assert_close, language_spec, small_spec

SYMBOLS = Vocabulary(["<unk>", *"abcdefghijklmnopqrstuvwxyz .,!\n"])

# What the catalogue does not have.
SPECS = {
    "gru with the reset before the product": GRUSpec(reset="before"),
    "minlstm with a positive candidate": MinLSTMSpec(candidate="positive"),
    "slstm with heads": SLSTMSpec(heads=2, forget="exponential"),
    "many options": CellSpec(
        layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True, weight_drop=True
    ),
    "norms of untied gates": CellSpec(layer_norm=True, recurrent_dropout="variational_untied"),
    "i = 1 - f": CellSpec(gates="fo", coupled=True, peephole="f"),
    "f = 1 - i with one peephole": CellSpec(gates="io", coupled=True, peephole="o"),
    "other activations": CellSpec(candidate="relu", output="sigmoid", peephole="f"),
    "projection of a multiplicative cell": CellSpec(projection=0.5, multiplicative=True),
}


@pytest.mark.parametrize("cell", CATALOGUE)
def test_whole_sequences_equal_the_model(cell):
    """Two layers of different sizes, both directions, ragged rows, initial and final states."""
    model = {"cell": cell, "hidden_sizes": (3, 4), "bidirectional": True}
    assert_same_sequences(trained(small_spec(model=model, **SCAN)))


@pytest.mark.parametrize("cell", CATALOGUE)
def test_streaming_equals_the_model(cell):
    assert_same_stream(trained(small_spec(model={"cell": cell, "hidden_sizes": (3, 4)}, **SCAN)))


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_outside_the_catalogue_equals_the_model(name, tmp_path):
    """A file of a user with a spec whose functions are the package's own."""
    path = tmp_path / "cells.py"
    path.write_text(f"from lstm_lab.cells import *\nMINE = {SPECS[name]!r}\n")
    model = {"cell": f"{path}:MINE", "hidden": 4, "bidirectional": True}
    assert_same_sequences(trained(small_spec(model=model, **SCAN)))
    assert_same_stream(trained(small_spec(model=model | {"bidirectional": False}, **SCAN)))


TOKENS = {"name": "dyck", "length": 8, "valid_size": 4, "test_size": 4}
MODELS = {
    "one-hot symbols": {"task": TOKENS, "model": {"cell": "peephole"}},
    "embedded symbols": {"task": TOKENS, "model": {"cell": "mgu", "embedding": 3}},
    "residual": {"model": {"layers": 3, "residual": True}},
    "residual in both directions": {
        "task": TOKENS,
        "model": {"layers": 3, "residual": True, "bidirectional": True, "merge": "sum"},
    },
    "mean of directions": {"model": {"layers": 2, "bidirectional": True, "merge": "mean"}},
    "product of directions": {"model": {"layers": 2, "bidirectional": True, "merge": "product"}},
    "last vector subtracted": {"model": {"subtract_last": True}},
    "rates of zoneout": {"model": {"cell": "zoneout", "zoneout_c": 0.3, "zoneout_h": 0.2}},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_whole_model_equals_the_model(name):
    assert_same_sequences(trained(small_spec(**MODELS[name], **SCAN)))


def test_tied_weights_are_stored_once():
    model = {"hidden": 5, "embedding": 5, "tied": True}
    run = trained(language_spec("text.txt", model=model, **SCAN))
    assert_same_sequences(run)
    assert_same_stream(run)
    shapes = [a.shape for a in model_graph(portable_model(run)).constants.values()]
    assert shapes.count((40, 5)) == 1
    assert (5, 40) not in shapes


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "mgu", "slstm"])
def test_padding_is_never_read(cell):
    model = {"cell": cell, "layers": 2, "bidirectional": True}
    assert_same_sequences(trained(small_spec(model=model, **SCAN)), padding=np.nan)


@pytest.mark.parametrize("name", ["one-hot symbols", "embedded symbols"])
def test_padding_may_hold_no_symbol(name):
    assert_same_sequences(trained(small_spec(**MODELS[name], **SCAN)), padding=-1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "mgu"])
def test_a_batch_without_any_steps_keeps_its_states(cell):
    model = portable_model(trained(small_spec(model={"cell": cell}, **SCAN)))
    states = random_states(model)
    feeds = {"x": random_inputs(model), "lengths": np.zeros_like(LENGTHS)}
    _, *finals = run_graph(model_graph(model), 17, **feeds, **states)
    for final, initial in zip(finals, states.values(), strict=True):
        np.testing.assert_array_equal(final, initial)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gives_the_same_numbers(opset):
    task = {"task": TOKENS, "model": {"cell": "layernorm", "bidirectional": True}}
    assert_same_sequences(trained(small_spec(**task, **SCAN)), opset)
    assert_same_sequences(trained(small_spec(model={"subtract_last": True}, **SCAN)), opset)


def test_slstm_ignores_an_empty_state_however_small_the_input_gate():
    """exp(f + m' - m) would be infinite, and infinity times the empty state NaN."""
    run = trained(small_spec(model={"cell": "slstm"}, **SCAN))
    run.params["lstm"]["layer_0"]["b"][0] = -200.0
    model = portable_model(run)
    x, states = random_inputs(model), {k: np.zeros_like(v) for k, v in random_states(model).items()}
    outputs = run_graph(model_graph(model), 17, x=x, lengths=LENGTHS, **states)
    assert_close(outputs, reference(run, model, x, states, LENGTHS))


def test_minlstm_does_not_divide_zero_by_zero():
    """Both gates are 0 in float32; their quotient is not."""
    run = trained(small_spec(model={"cell": "minlstm"}, **SCAN))
    run.params["lstm"]["layer_0"]["b"][:2] = -200.0
    assert_same_sequences(run)


def test_an_export_holds_models_that_say_what_they_are(tmp_path):
    cells = tmp_path / "folders of the author" / "cells.py"
    cells.parent.mkdir()
    cells.write_text("from lstm_lab.cells import *\nMINE = get_variant('janet').spec\n")
    run = trained(small_spec(model={"cell": f"{cells}:MINE"}, **SCAN))
    out = export_run(run, "onnx", tmp_path / "out", ExportOptions(opset=18))
    for name in ("model.onnx", "streaming.onnx"):
        proto = onnx.load(out / name)
        onnx.checker.check_model(proto, full_check=True)
        assert (proto.producer_name, proto.opset_import[0].version) == ("lstm_lab", 18)
        notes = {p.key: p.value for p in proto.metadata_props}
        assert notes == {"task": "adding", "cell": "cells.py:MINE"}
    assert "layer_0.U_f_g" in {tensor.name for tensor in proto.graph.initializer}
    logits = proto.graph.output[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in logits] == ["batch", 1]


@pytest.mark.parametrize("model", [{"bidirectional": True}, {"subtract_last": True}])
def test_a_model_that_needs_the_end_has_no_streaming_file(model, tmp_path):
    out = export_run(trained(small_spec(model=model, **SCAN)), "onnx", tmp_path / "out")
    assert not (out / "streaming.onnx").exists()
    assert "There is no `streaming.onnx`" in (out / "export.json").read_text()


@pytest.mark.parametrize("cell", ["gru", "mgu"])
def test_the_example_of_an_export_runs(cell, tmp_path, monkeypatch):
    run = trained(small_spec(task=TOKENS, model={"cell": cell}, **SCAN))
    out = export_run(run, "onnx", tmp_path / "out")
    monkeypatch.chdir(out)
    usage = read_json(out / "export.json")["usage"]
    values = {}
    for block in re.findall(r"^```python\n(.*?)^```", usage, re.S | re.M):
        exec(block, values)
    assert values["logits"].shape[:2] == (1, 1)
    assert set(values["states"]) == set(portable_model(run).state_names)


@pytest.mark.parametrize("cell", ["lstm", "layernorm"])
def test_a_language_model_generates_the_same_text(cell):
    run = trained(language_spec("text.txt", model={"cell": cell, "layers": 2}, **SCAN))
    run.preprocessing["inputs"] = SYMBOLS
    streaming = session(
        model_proto(model_graph(portable_model(run), one_step=True), "test", 17, {})
    )
    assert greedy_text(streaming, "to be", 200) == "".join(
        generate(run, "to be", 200, Sampling(temperature=0.0))
    )


def test_the_code_of_the_guide_generates_the_same_text(tmp_path, monkeypatch, capsys):
    run = trained(language_spec("text.txt", **SCAN))
    run.preprocessing["inputs"] = Vocabulary([*SYMBOLS, *"ROME:"])
    export_run(run, "onnx", tmp_path / "shakespeare_onnx")
    monkeypatch.chdir(tmp_path)
    guide = (ROOT / "docs" / "how_to" / "onnx_and_web.md").read_text()
    (block,) = [block for kind, block in blocks_of(guide) if kind == "python"]
    exec(block, {})
    text = "".join(generate(run, "ROMEO:", 200, Sampling(temperature=0.0)))
    assert capsys.readouterr().out == text + "\n"


def greedy_text(streaming, prompt, length):
    """Returns the most probable continuation, by ONNX Runtime alone."""
    states = {i.name: np.zeros((1, i.shape[1]), "f") for i in streaming.get_inputs()[1:]}
    numbers, text = [SYMBOLS.index(symbol) for symbol in prompt], ""
    while len(text) < length:
        for number in numbers:
            logits, *finals = streaming.run(None, {"tokens": np.array([[number]]), **states})
            states = dict(zip(states, finals, strict=True))
        numbers = [1 + int(logits[0, 0, 1 : len(SYMBOLS)].argmax())]
        text += SYMBOLS[numbers[0]]
    return text

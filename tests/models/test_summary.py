"""Layer summaries add up to the totals of the model, for every variant of the catalogue."""

import pytest

from lstm_lab.cells import CATALOGUE, CellSpec
from lstm_lab.cells.cell import zero_state_shapes
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models import summary as counting
from lstm_lab.models.summary import (
    summarize,
    summarize_layers,
    summarize_program,
    training_flops,
)
from tests.helpers.training import small_spec
from tests.helpers.translation import translation_spec


@pytest.mark.parametrize("cell", sorted(CATALOGUE))
def test_layers_add_up_to_the_total(cell):
    spec = small_spec(model={"cell": cell, "hidden": 8, "layers": 2, "bidirectional": True})
    layers, summary = summarize_layers(spec, T=16), summarize(spec, T=16)
    assert sum(layer.total for layer in layers) == summary.total
    assert sum(layer.flops_per_token for layer in layers) == pytest.approx(summary.flops_per_token)
    assert [layer.name for layer in layers[-1:]] == ["head"]
    assert len(layers) == 5
    variant = resolve_cell(spec.model)
    for layer in layers[:-1]:
        assert layer.output == f"[B,T,{zero_state_shapes(variant, 8).h.shape[-1]}]"
        for name, shape, _, purpose in layer.arrays:
            assert purpose
            if name == "b" and isinstance(variant, CellSpec):
                assert purpose.count(",") + 1 == int(shape.strip("()").split(",")[0])


@pytest.mark.parametrize(
    ("attention", "attending"),
    [
        ("luong", {"mix": ("[B,T,3]", 2 * (6 + 3) * 3)}),
        ("bahdanau", {"query": ("[B,T,3]", 2 * 3 * 3), "score": ("[B,T,S]", 2 * 3 * 16)}),
    ],
)
def test_the_layers_of_a_translation_stand_as_data_passes(tmp_path, attention, attending):
    """With their shapes, and the products of a step: a bridge has 1 of T = 16 steps."""
    model = {"cell": "lstmp", "layers": 11, "attention": attention}
    layers = summarize_layers(translation_spec(tmp_path, model=model), T=16)
    names = [layer.name for layer in layers]
    directions = [f"encoder/layer_{k}{end}" for k in range(11) for end in ("", "_reverse")]
    bridges = [f"bridge_{k}_{part}" for k in range(11) for part in "hc"]
    decoder = [f"decoder/layer_{k}" for k in range(11)]
    before = [name for name in attending if name != "mix"]
    after = [name for name in attending if name == "mix"]
    source = ["embed_source", *directions, "keys", *bridges]
    assert names == [*source, "embed", *before, *decoder, *after, "head"]
    found = {layer.name: (layer.output, layer.flops_per_token) for layer in layers}
    assert found["encoder/layer_10_reverse"][0] == "[B,S,3]"
    assert found["embed_source"] == ("[B,S,5]", 0.0)
    assert found["keys"][0] == "[B,S,3]"
    assert found["bridge_10_h"] == ("[B,3]", 2 * 6 * 3 / 16)
    assert found["bridge_10_c"] == ("[B,6]", 2 * 12 * 6 / 16)
    assert found["decoder/layer_10"][0] == "[B,T,3]"
    assert {name: found[name] for name in attending} == attending


@pytest.mark.parametrize("tied", [False, True])
def test_tied_and_frozen_parameters_are_counted_once(tied):
    spec = build_spec(
        {
            "task": {"name": "language", "train": "a.txt", "vocabulary": 30},
            "model": {"hidden": 8, "embedding": 8, "tied": tied},
            "optim": {"freeze": ("embed",)},
            "train": {"steps": 1},
        }
    )
    layers, summary = summarize_layers(spec, T=16), summarize(spec, T=16)
    assert [layer.name for layer in layers] == ["embed", "lstm/layer_0", "head"]
    assert sum(layer.total for layer in layers) == summary.total
    assert sum(layer.flops_per_token for layer in layers) == pytest.approx(summary.flops_per_token)
    assert [layer.frozen for layer in layers] == [240, 0, 0]
    assert layers[2].total == (30 if tied else 30 + 240)


def test_runs_that_differ_in_dropout_are_counted_once(monkeypatch):
    counted = []
    monkeypatch.setattr(counting, "summarize", lambda *a: counted.append(1) or summarize(*a))
    counting._summarize.cache_clear()
    rates = (0.0, 0.1, 0.4)
    model = {"layers": 2, "locked": True}
    specs = [small_spec(model={**model, "dropout": rate, "dropout_out": rate}) for rate in rates]
    found = [summarize_program(spec) for spec in specs]
    assert len(counted) == 2  # with and without
    assert found == [summarize(spec) for spec in specs]


def test_training_leaves_out_gradients_that_nothing_needs():
    spec = small_spec()
    # The products of two inputs with the weights of four gates, whose inputs need no gradient.
    expected = summarize(spec, 10).training_flops_per_token - 2 * 2 * 4 * spec.model.hidden
    assert training_flops(spec, 10) == pytest.approx(expected)
    # All weights are frozen but the head, which reads the last of ten steps.
    frozen = small_spec(optim={"freeze": ("lstm",)})
    head = 2 * spec.model.hidden / 10
    assert training_flops(frozen, 10) == pytest.approx(summarize(spec, 10).flops_per_token + head)

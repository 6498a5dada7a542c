"""Which variants are layers of PyTorch: the equations decide, not the names."""

import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec, get_variant
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.pytorch.layers import torch_layer

PLAIN = {"np", "lstm", "chrono", "variational", "variational_untied", "semeniuta", "weightdrop"}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_variant_is_a_layer_of_pytorch_or_none(name):
    spec = get_variant(name).spec
    expected = "LSTM" if name in PLAIN else {"gru": "GRU", "rnn": "RNN"}.get(name)
    assert torch_layer(spec, default_rates(spec)) == expected


def test_a_projection_without_peepholes_is_one():
    assert torch_layer(CellSpec(projection=0.3), {}) == "LSTM"


def test_a_gru_with_another_reset_is_none():
    assert torch_layer(GRUSpec(reset="before"), {}) is None

"""Which variants are cells of other frameworks."""

from dataclasses import replace

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec
from lstm_lab.interop import flax_weights, keras_weights
from lstm_lab.interop.framework_cells import framework_cell, importable_cell, reorder_gates
from lstm_lab.interop.pytorch.layers import TORCH_LAYERS
from lstm_lab.utils.errors import UserError
from tests.helpers.frameworks import PLAIN


def test_the_equations_of_a_trained_model_decide():
    found = {name: framework_cell(variant.spec) for name, variant in CATALOGUE.items()}
    assert {name for name, cell in found.items() if cell} == set(PLAIN)
    assert {found[name] for name in PLAIN} == {"lstm", "gru", "rnn"}
    assert framework_cell(GRUSpec(reset="before")) == "gru_reset_before"


@pytest.mark.parametrize(
    "spec", [CellSpec(candidate="relu"), CellSpec(gates="if"), CellSpec(zoneout=True)]
)
def test_a_variant_with_other_equations_is_none_of_them(spec):
    assert framework_cell(spec) is None


# What the three readers can read.
READERS = {"PyTorch": TORCH_LAYERS, "Keras": keras_weights._ORDERS, "Flax": flax_weights._GATES}


@pytest.mark.parametrize("framework", READERS)
@pytest.mark.parametrize("name", CATALOGUE)
def test_all_readers_accept_the_same_variants(framework, name):
    spec, cells = CATALOGUE[name].spec, READERS[framework]
    if name in PLAIN:
        assert importable_cell(spec, framework, cells) == framework_cell(spec)
    else:
        message = f"{framework} has no cell with the equations of {name}, expected model.cell=lstm"
        with pytest.raises(UserError, match=message) as error:
            importable_cell(spec, framework, cells)
        assert ("import with --config.model.cell=lstm" in str(error.value)) == (name == "zoneout")


def test_the_variants_of_one_framework_alone():
    projected, before = CellSpec(projection=0.5), GRUSpec(reset="before")
    assert importable_cell(projected, "PyTorch", TORCH_LAYERS) == "projected_lstm"
    assert importable_cell(before, "Keras", READERS["Keras"]) == "gru_reset_before"
    for spec, framework in ((projected, "Keras"), (before, "PyTorch"), (before, "Flax")):
        with pytest.raises(UserError, match=f"{framework} has no cell with the equations of"):
            importable_cell(spec, framework, READERS[framework])


def test_the_equations_of_a_users_cell_are_not_known():
    cell = replace(CellSpec().cell, emit=lambda *arguments: None)
    spec = replace(CellSpec(), cell=cell)
    with pytest.raises(UserError, match=r"^import: the equations of the cell .* are not known"):
        importable_cell(spec, "Keras", READERS["Keras"])


def test_gates_are_reordered_along_the_axis_before_the_last():
    array = np.arange(24.0).reshape(2, 4, 3)
    there = reorder_gates(array, "ifog", "ifgo")
    np.testing.assert_array_equal(there[:, 2], array[:, 3])
    np.testing.assert_array_equal(reorder_gates(there, "ifgo", "ifog"), array)

"""Which variants are cells of other frameworks."""

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec
from lstm_lab.interop.framework_cells import framework_cell, importable_cell, reorder_gates
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


def test_a_cell_that_cannot_be_imported_is_named():
    assert importable_cell(CATALOGUE["chrono"].spec, "Keras") == "lstm"
    with pytest.raises(UserError, match="Keras has no cell with the equations of slstm"):
        importable_cell(CATALOGUE["slstm"].spec, "Keras")


def test_gates_are_reordered_along_the_axis_before_the_last():
    array = np.arange(24.0).reshape(2, 4, 3)
    there = reorder_gates(array, "ifog", "ifgo")
    np.testing.assert_array_equal(there[:, 2], array[:, 3])
    np.testing.assert_array_equal(reorder_gates(there, "ifgo", "ifog"), array)

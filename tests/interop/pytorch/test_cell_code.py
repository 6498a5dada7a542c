"""The Python code of a cell's step."""

import ast

import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE, CellSpec, GRUSpec, MGUSpec, SLSTMSpec, get_variant
from lstm_lab.cells.masks import default_rates
from lstm_lab.interop.pytorch.cell_code import cell_code
from lstm_lab.interop.pytorch.layers import torch_layer
from lstm_lab.interop.trained_equations import equation_weights
from tests.helpers.layers import layer_of_spec

# Layers of PyTorch itself need no code.
SPECS = {
    name: variant.spec
    for name, variant in CATALOGUE.items()
    if torch_layer(variant.spec, default_rates(variant.spec)) is None
} | {
    "norm of all gates": CellSpec(layer_norm=True, recurrent_dropout="variational_untied"),
    "everything": CellSpec(
        layer_norm=True, gate_recurrence=True, peephole="io", zoneout=True, projection=0.0
    ),
    "slstm with heads": SLSTMSpec(heads=2, forget="exponential"),
}


def code_of(spec):
    return cell_code(spec, default_rates(spec))


def test_one_line_per_equation_and_one_product_for_all_gates():
    assert code_of(get_variant("peephole").spec).lines == (
        "z_i, z_f, z_o, z_g = torch.chunk(self.W(x) + self.U(h_old), 4, dim=-1)",
        "i = torch.sigmoid(z_i + self.p_i * c_old)",
        "f = torch.sigmoid(z_f + self.p_f * c_old)",
        "g = torch.tanh(z_g)",
        "c = f * c_old + i * g",
        "o = torch.sigmoid(z_o + self.p_o * c)",
        "h = o * torch.tanh(c)",
    )


def test_a_product_that_needs_a_gate_comes_after_it():
    assert code_of(MGUSpec()).lines == (
        "x_f, x_n = torch.chunk(self.W(x), 2, dim=-1)",
        "f = torch.sigmoid(x_f + self.U_f(h_old))",
        "n = torch.tanh(x_n + self.U_n(f * h_old))",
        "h = (1 - f) * h_old + f * n",
    )
    lines = code_of(GRUSpec(reset="before")).lines
    assert "h_r, h_z = torch.chunk(self.U_rz(h_old), 2, dim=-1)" in lines


def test_functions_that_need_care_are_those_of_pytorch():
    assert "log_f = nn.functional.logsigmoid(f_tilde)" in code_of(SLSTMSpec()).lines
    assert "f_tilde = nn.functional.logsigmoid(x_f)" in code_of(get_variant("minlstm").spec).lines


@pytest.mark.parametrize("name", SPECS)
def test_every_name_is_defined_before_it_is_read(name):
    code = code_of(SPECS[name])
    known = {"torch", "nn", "self", "x"}
    attributes = {attribute.name for attribute in code.attributes}
    for line in code.lines:
        (assignment,) = ast.parse(line).body
        for node in ast.walk(assignment.value):
            if isinstance(node, ast.Name):
                assert node.id in known or node.id.endswith("_old"), line
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                assert node.attr in attributes, line
        known |= {node.id for node in ast.walk(assignment.targets[0]) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("name", SPECS)
def test_the_tensors_hold_every_weight_once(name):
    layer = layer_of_spec(SPECS[name], inputs=3, units=4)
    weights, tensors = equation_weights(layer), code_of(SPECS[name]).tensors(layer)
    numbers = [
        np.sort(np.concatenate([a.ravel() for a in arrays.values()]))
        for arrays in (tensors, weights)
    ]
    np.testing.assert_array_equal(*numbers)

"""The mathematics of one time step: specs, parameters, equations."""

from lstm_lab.cells.baselines import GRUSpec, RNNSpec
from lstm_lab.cells.cell import Cell, Params, Spec, State, step
from lstm_lab.cells.gates import ALGEBRA, CellSpec
from lstm_lab.cells.variants import CATALOGUE, Variant, find

__all__ = [
    "ALGEBRA",
    "CATALOGUE",
    "Cell",
    "CellSpec",
    "GRUSpec",
    "Params",
    "RNNSpec",
    "Spec",
    "State",
    "Variant",
    "find",
    "step",
]

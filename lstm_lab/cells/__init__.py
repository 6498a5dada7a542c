"""The mathematics of one time step: specs, parameters, equations."""

from lstm_lab.cells.baselines import GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.cells.cell import Cell, Params, Spec, State, advance, read, step
from lstm_lab.cells.gates import ALGEBRA, CellSpec
from lstm_lab.cells.noise import Noise
from lstm_lab.cells.variants import CATALOGUE, Variant, find

__all__ = [
    "ALGEBRA",
    "CATALOGUE",
    "Cell",
    "CellSpec",
    "GRUSpec",
    "MinLSTMSpec",
    "Noise",
    "Params",
    "RNNSpec",
    "SLSTMSpec",
    "Spec",
    "State",
    "Variant",
    "advance",
    "find",
    "read",
    "step",
]

"""The mathematics of one time step: specs, parameters, equations."""

from lstm_lab.cells.baselines import GRUSpec, MinLSTMSpec, RNNSpec, SLSTMSpec
from lstm_lab.cells.catalogue import CATALOGUE, Variant, find
from lstm_lab.cells.cell import Cell, Params, Spec, State, advance, read, step
from lstm_lab.cells.gated import ALGEBRA, CellSpec
from lstm_lab.cells.masks import Noise

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

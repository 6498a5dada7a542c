"""The mathematics of one time step: specs, parameters, equations."""

from lstm_lab.cells.baselines import GRUSpec, MGUSpec, RNNSpec
from lstm_lab.cells.catalogue import CATALOGUE, Variant, get_variant
from lstm_lab.cells.cell import Cell, Params, Spec, State, advance, recurrent_product, step
from lstm_lab.cells.contract import contract_problem
from lstm_lab.cells.gated import GATED_LSTM
from lstm_lab.cells.masks import Noise
from lstm_lab.cells.minlstm import MinLSTMSpec
from lstm_lab.cells.slstm import SLSTMSpec
from lstm_lab.cells.spec import CellSpec

__all__ = [
    "CATALOGUE",
    "GATED_LSTM",
    "Cell",
    "CellSpec",
    "GRUSpec",
    "MGUSpec",
    "MinLSTMSpec",
    "Noise",
    "Params",
    "RNNSpec",
    "SLSTMSpec",
    "Spec",
    "State",
    "Variant",
    "advance",
    "contract_problem",
    "get_variant",
    "recurrent_product",
    "step",
]

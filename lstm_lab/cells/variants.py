"""The catalogue: each variant's name, data and source."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from lstm_lab.cells.baselines import GRUSpec, RNNSpec
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.gates import CellSpec


@dataclass(frozen=True)
class Variant:
    """A row of the catalogue.

    Attributes:
      spec: the variant as data.
      change: what distinguishes it, in a few words.
      source: the paper it is from.
    """

    spec: Spec
    change: str
    source: str


_GREFF = "Greff et al. 2017, LSTM: A Search Space Odyssey"

# The Odyssey initialises every weight and bias from N(0, 0.1), without a forget bias.
_VANILLA = CellSpec(peephole="ifo", init="normal(0.1)")
_LSTM = CellSpec(forget_bias=1.0)

CATALOGUE: dict[str, Variant] = {
    "vanilla": Variant(_VANILLA, "peepholes on i, f and o", _GREFF),
    "nig": Variant(replace(_VANILLA, gates="fo", peephole="fo"), "no input gate", _GREFF),
    "nfg": Variant(replace(_VANILLA, gates="io", peephole="io"), "no forget gate", _GREFF),
    "nog": Variant(replace(_VANILLA, gates="if", peephole="if"), "no output gate", _GREFF),
    "niaf": Variant(replace(_VANILLA, candidate="identity"), "no input activation", _GREFF),
    "noaf": Variant(replace(_VANILLA, output="identity"), "no output activation", _GREFF),
    "cifg": Variant(
        replace(_VANILLA, gates="io", coupled=True, peephole="io"),
        "coupled gates f = 1 - i",
        _GREFF,
    ),
    "np": Variant(replace(_VANILLA, peephole=""), "no peepholes", _GREFF),
    "fgr": Variant(replace(_VANILLA, gate_recurrence=True), "full gate recurrence", _GREFF),
    "lstm": Variant(
        _LSTM,
        "np with forget bias 1, as in PyTorch, Keras and the tutorials",
        "Gers et al. 2000, Learning to Forget; Jozefowicz et al. 2015 for the bias",
    ),
    "peephole": Variant(
        replace(_LSTM, peephole="ifo"),
        "vanilla with forget bias 1",
        "Gers and Schmidhuber 2000, Recurrent Nets that Time and Count",
    ),
    "rnn": Variant(RNNSpec(), "h = tanh(x W + h' U + b)", "Elman 1990"),
    "gru": Variant(GRUSpec(), "reset after the product", "Cho et al. 2014"),
}


def find(name: str) -> Variant:
    """Returns the variant of that name.

    Raises:
      ValueError: for a name not in the catalogue, with the nearest one.
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"found {name!r}, allowed {', '.join(CATALOGUE)} or FILE.py:NAME{hint}")
    return CATALOGUE[name]

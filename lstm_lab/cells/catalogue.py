"""The catalogue: each variant's name, data and source."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace

from lstm_lab.cells.baselines import GRUSpec, MGUSpec, RNNSpec
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.minlstm import MinLSTMSpec
from lstm_lab.cells.slstm import SLSTMSpec
from lstm_lab.cells.spec import CellSpec


@dataclass(frozen=True)
class Variant:
    """A row of the catalogue.

    Attributes:
      spec: the variant as data.
      change: what distinguishes it, in a few words.
      source: the paper it is from.
      version: raised when a name comes to mean another cell or other initial weights; part of the
        ids of runs, so that runs of both meanings are told apart.

    Example:
      Variant(CellSpec(peephole="o"), "one peephole, on o", "not published").spec.peephole  # "o"
    """

    spec: Spec
    change: str
    source: str
    version: int = 1


_GREFF = "Greff et al. 2017, LSTM: A Search Space Odyssey"

# The Odyssey initializes every weight and bias from N(0, 0.1), without a forget bias.
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
        "no peepholes, forget bias 1 as in Keras",
        "Gers et al. 2000, Learning to Forget; Jozefowicz et al. 2015 for the bias",
    ),
    "peephole": Variant(
        replace(_LSTM, peephole="ifo"),
        "lstm with peepholes on i, f and o",
        "Gers and Schmidhuber 2000, Recurrent Nets that Time and Count",
    ),
    "layernorm": Variant(
        replace(_LSTM, layer_norm=True),
        "x W, h' U and c normalized",
        "Ba, Kiros and Hinton 2016, Layer Normalization, eqs. 20-22",
    ),
    "lstmp": Variant(
        replace(_LSTM, projection=0.5, peephole="ifo"),
        "h projected to half its width, with peepholes",
        "Sak, Senior and Beaufays 2014, section 2.1",
    ),
    "multiplicative": Variant(
        replace(_LSTM, multiplicative=True),
        "gates read (x Wm) * (h' Um)",
        "Krause et al. 2016, Multiplicative LSTM for Sequence Modelling, eqs. 18-22",
    ),
    "janet": Variant(
        CellSpec(gates="f", coupled=True, coupled_offset=1.0, output="identity", init="janet(784)"),
        "a forget gate alone, h = c; random biases for lags up to T_max = 784",
        "van der Westhuizen and Lasenby 2018, The Unreasonable Effectiveness of the Forget Gate",
        version=2,  # initial weights as in the authors' code
    ),
    "chrono": Variant(
        CellSpec(init="chrono(784)"),
        "lstm with random biases for lags up to T_max = 784; init chrono(T) sets it",
        "Tallec and Ollivier 2018, Can Recurrent Neural Networks Warp Time?",
    ),
    "zoneout": Variant(
        replace(_LSTM, zoneout=True),
        "units of c and h keep their old value at random",
        "Krueger et al. 2017, Zoneout, eqs. 5-6",
    ),
    "variational": Variant(
        replace(_LSTM, recurrent_dropout="variational"),
        "one mask a sequence on h' and on x",
        "Gal and Ghahramani 2016, section 4",
        version=2,  # rate of the inputs 0.5, before 0.3
    ),
    "variational_untied": Variant(
        replace(_LSTM, recurrent_dropout="variational_untied"),
        "masks a sequence for each gate, on h' and on x",
        "Gal and Ghahramani 2016, section 4, as in the authors' code",
    ),
    "semeniuta": Variant(
        replace(_LSTM, recurrent_dropout="semeniuta"),
        "dropout of the candidate",
        "Semeniuta, Severyn and Barth 2016, Recurrent Dropout without Memory Loss, eq. 14",
    ),
    "weightdrop": Variant(
        replace(_LSTM, weight_drop=True),
        "DropConnect on the recurrent matrix",
        "Merity, Keskar and Socher 2017, section 2",
    ),
    "rnn": Variant(RNNSpec(), "h = tanh(x W + h' U + b)", "Elman 1990"),
    "gru": Variant(GRUSpec(), "reset after the product", "Cho et al. 2014"),
    "mgu": Variant(
        MGUSpec(), "a GRU with one gate", "Zhou et al. 2016, Minimal Gated Unit, section 3"
    ),
    "slstm": Variant(
        SLSTMSpec(), "exponential gates with a normalizer", "Beck et al. 2024, eqs. 8-17"
    ),
    "minlstm": Variant(
        MinLSTMSpec(), "gates of the input alone", "Feng et al. 2024, Were RNNs All We Needed?"
    ),
}


def get_variant(name: str) -> Variant:
    """Returns the variant of that name.

    Raises:
      ValueError: for a name not in the catalogue, with the nearest one.

    Example:
      get_variant("peephole").change  # "lstm with peepholes on i, f and o"
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ","
        raise ValueError(f"got {name!r}{hint} expected {', '.join(CATALOGUE)} or FILE.py:NAME")
    return CATALOGUE[name]

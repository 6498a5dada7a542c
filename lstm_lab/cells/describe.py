"""Everything about a variant on one page: for `lstm-lab show` and for the documentation site.

In: the name of a variant. Out: `describe` gives the data, `show_text` the page for a terminal. All
of it is read from the variant's spec, from the cell and from docstrings; only the differences from
the papers are written down here.
"""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from lstm_lab.cells.baselines import RNNSpec
from lstm_lab.cells.catalogue import get_variant
from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import equations, gate_names, named_parameters, symbols
from lstm_lab.cells.expressions import Equation
from lstm_lab.cells.masks import default_rates
from lstm_lab.cells.slstm import SLSTMSpec
from lstm_lab.cells.spec import CellSpec
from lstm_lab.utils.docstrings import attribute_docs
from lstm_lab.utils.tables import aligned

# What the arrays of the cells are for; `{gates}` stands for the gates of the variant.
PURPOSES = {
    "wx": "input to {gates}",
    "wh": "hidden state to {gates}",
    "b": "biases of {gates}",
    "wg": "gates of the previous step to i, f, o",
    "peephole": "cell state to gates",
    "wm_x": "input to the intermediate state",
    "wm_h": "hidden state to the intermediate state",
    "proj": "projection of the hidden state",
    "ln_x": "layer norm of the input product",
    "ln_h": "layer norm of the recurrent product",
    "ln_c": "layer norm of the cell state",
    "bn": "bias of the candidate, inside the reset gate",
}

# Where a variant differs from its paper, or settles what the paper leaves open. Each sentence is
# about something that the code shows.
DEVIATIONS = {
    "layernorm": (
        "The norms of the two products have gains and no biases: the bias of the gates serves "
        "both.",
        "The norm adds 1e-5 to the variance, as PyTorch does.",
    ),
    "lstmp": (
        "The projection is recurrent only. The paper's optional non-recurrent projection is left "
        "out.",
    ),
    "janet": (
        "The initial biases are for lags up to 784 steps; set model.init=janet(T_MAX) for others.",
        "Matrices and biases are drawn as in the authors' code: Glorot's bound is that of both "
        "gates' matrices as one.",
    ),
    "chrono": (
        "The initial biases are for lags up to 784 steps; set model.init=chrono(T_MAX) for others.",
    ),
    "variational": (
        "One mask of h', and one of x, serve all gates; variational_untied draws one for each "
        "gate, as the authors' code does for its best results.",
    ),
    "semeniuta": (
        "Each step has a mask of its own; CellSpec(recurrent_dropout='semeniuta_sequence') draws "
        "one per sequence.",
    ),
    "gru": (
        "The reset gate multiplies the recurrent product of the candidate and its bias b_hn, as in "
        "PyTorch, Keras and cuDNN. In the paper it multiplies h' before the product: "
        "GRUSpec(reset='before').",
    ),
    "slstm": (
        "This is the cell alone. The authors' block has more: a causal convolution before i and f, "
        "input matrices for each head, group normalization of h, and a gated projection.",
        "The authors' code starts from zero recurrent matrices and forget biases that fall by a "
        "power law: SLSTMSpec(recurrent='zero', forget_bias='power_law').",
        "The stabilizer m starts at the first i~, while nothing is stored.",
    ),
    "minlstm": (
        "The candidate g is linear. MinLSTMSpec(candidate='positive') has that of the paper's form "
        "in log space.",
    ),
}
_FORGET_BIAS = "The forget bias is 1, as in lstm, so that only the named change differs from lstm."


@dataclass(frozen=True)
class ArrayDescription:
    """An array of parameters of a cell.

    Attributes:
      name: its name in the parameters, such as wx.
      shape: its axes as letters: D inputs, H hidden units, R the width of h, N heads.
      symbols: the names of its parts in the equations.
      purpose: what it is for.
    """

    name: str
    shape: str
    symbols: tuple[str, ...]
    purpose: str


@dataclass(frozen=True)
class OptionDescription:
    """A field of a variant's spec.

    Attributes:
      name: the field.
      value: its value in this variant.
      in_lstm: its value in `lstm`, if the two differ; None if they agree or cannot be compared.
      text: what the field means.
    """

    name: str
    value: str
    in_lstm: str | None
    text: str


@dataclass(frozen=True)
class VariantDescription:
    """A variant of the catalogue with all that the package knows about it.

    Attributes:
      name: its name in a config.
      change: what distinguishes it, in a few words.
      source: the paper it is from.
      spec: the variant as data.
      equations: one time step.
      symbols: the meaning of names in the equations that are no parameters.
      letters: the meaning of letters in the shapes.
      arrays: its parameters.
      options: the fields of its spec.
      rates: rates of its regularization, from the papers.
      deviations: differences from the paper, one sentence each.
    """

    name: str
    change: str
    source: str
    spec: Spec
    equations: tuple[Equation, ...]
    symbols: dict[str, str]
    letters: dict[str, str]
    arrays: tuple[ArrayDescription, ...]
    options: tuple[OptionDescription, ...]
    rates: dict[str, float]
    deviations: tuple[str, ...]


def describe(name: str) -> VariantDescription:
    """Returns everything about a variant.

    Args:
      name: a name of the catalogue.

    Raises:
      ValueError: for a name not in the catalogue, with the nearest one.
    """
    variant = get_variant(name)
    spec = variant.spec
    deviations = DEVIATIONS.get(name, ())
    if isinstance(spec, CellSpec) and spec.forget_bias == 1.0 and name != "lstm":
        deviations = (*deviations, _FORGET_BIAS)
    return VariantDescription(
        name,
        variant.change,
        variant.source,
        spec,
        equations(spec),
        symbols(spec),
        _letters(spec),
        _describe_arrays(spec),
        _describe_options(spec),
        default_rates(spec),
        deviations,
    )


def purpose(spec: Spec, array: str) -> str:
    """Returns what an array of a cell is for; "" for an array that the package does not know."""
    names = [gate for gate in gate_names(spec) if gate]
    gates = f"gates {', '.join(names)}" if names else "gates"
    gates = "the hidden state" if isinstance(spec, RNNSpec) else gates
    return PURPOSES.get(array, "").format(gates=gates)


def _letters(spec: Spec) -> dict[str, str]:
    letters = {"D": "input features", "H": "hidden units"}
    if isinstance(spec, CellSpec) and spec.projection:
        letters["R"] = f"width of h: {spec.projection:g} H, rounded"
    if isinstance(spec, SLSTMSpec):
        letters["N"] = f"heads: {spec.heads}"
    return letters


def _describe_arrays(spec: Spec) -> tuple[ArrayDescription, ...]:
    shapes = jax.eval_shape(partial(spec.cell.init, spec, D=2, H=4), jax.random.key(0))
    # Each array holds a number of its own, so that the number in a part tells its array.
    filled = {name: np.full(array.shape, k + 1.0) for k, (name, array) in enumerate(shapes.items())}
    parts = named_parameters(spec, filled)
    return tuple(
        ArrayDescription(
            name,
            _shape(spec, name, array.shape),
            tuple(part for part, value in parts.items() if value.max() == filled[name].max()),
            purpose(spec, name),
        )
        for name, array in sorted(shapes.items(), key=lambda item: list(PURPOSES).index(item[0]))
    )


def _shape(spec: Spec, name: str, sizes: tuple[int, ...]) -> str:
    """Writes the shape of an array with letters; the numbers of gates stay numbers."""
    R = "R" if isinstance(spec, CellSpec) and spec.projection else "H"
    axes: tuple[str | int, ...]
    match name:
        case "wx":
            axes = ("D", sizes[1], "H")
        case "wh" if isinstance(spec, SLSTMSpec):
            axes = ("N", "H/N", sizes[2], "H/N")
        case "wh":
            axes = (R, sizes[1], "H")
        case "wg":
            axes = ("3H", 3, "H")
        case "proj" | "wm_x" | "wm_h":
            axes = ({"proj": "H", "wm_x": "D", "wm_h": R}[name], R)
        case "bn":
            axes = ("H",)
        case _:
            axes = (sizes[0], "H")
    return f"[{', '.join(map(str, axes))}]"


def _describe_options(spec: Spec) -> tuple[OptionDescription, ...]:
    assert dataclasses.is_dataclass(spec)
    texts, lstm = attribute_docs(type(spec)), get_variant("lstm").spec
    comparable = isinstance(spec, CellSpec)
    options = []
    for field in dataclasses.fields(spec):
        if field.name == "cell":
            continue
        value = repr(getattr(spec, field.name))
        in_lstm = repr(getattr(lstm, field.name)) if comparable else value
        text = texts.get(field.name, "")
        options.append(
            OptionDescription(field.name, value, None if value == in_lstm else in_lstm, text)
        )
    return tuple(options)


def _listed(names: tuple[str, ...]) -> str:
    """Lists names; the ones in the middle of a long list are left out."""
    return ", ".join(names if len(names) <= 4 else (names[0], "...", names[-1]))


def show_text(name: str) -> str:
    """Returns the page of a variant for a terminal.

    Args:
      name: a name of the catalogue.

    Raises:
      ValueError: for a name not in the catalogue, with the nearest one.
    """
    page = describe(name)
    sizes = [[letter, meaning] for letter, meaning in page.letters.items()]
    arrays = [[a.name, a.shape, a.purpose, _listed(a.symbols)] for a in page.arrays]
    options = [
        [option.name, option.value, f"lstm has {option.in_lstm}" if option.in_lstm else ""]
        for option in page.options
    ]
    rates = [[f"model.{rate}", f"{value:g}"] for rate, value in page.rates.items()]
    deviations = [textwrap.fill(text, 96, subsequent_indent="  ") for text in page.deviations]
    sections = [
        (
            "Equations (h' is h of the step before; * is elementwise)",
            "\n".join(equation.text for equation in page.equations),
        ),
        ("Symbols", aligned([[key, text] for key, text in page.symbols.items()])),
        ("Parameters", "\n".join([aligned(arrays), "", aligned(sizes)])),
        (f"Defaults ({type(page.spec).__name__})", aligned(options)),
        ("Rates of regularization, from the paper", aligned(rates) if rates else ""),
        ("Differences from the paper, and choices", "\n".join(deviations)),
    ]
    parts = [f"{page.name}: {page.change}\nPaper: {page.source}"]
    for title, body in sections:
        if body:
            lines = [f"  {line}".rstrip() for line in body.split("\n")]
            parts.append("\n".join([title, *lines]))
    return "\n\n".join(parts)

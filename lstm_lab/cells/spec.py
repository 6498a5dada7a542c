"""The spec of the gated LSTM family: a variant as data, and which combinations have a meaning.

In: the fields that a configuration or a program sets. Out: a hashable `CellSpec`. The equations
that read it are in cells/gated.py; the named variants are in cells/catalogue.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from lstm_lab.cells.cell import Cell
from lstm_lab.cells.gated import GATED_LSTM, SIGMOID_GATES, Activation
from lstm_lab.cells.initializers import check_init, sets_memory_bias
from lstm_lab.cells.masks import RecurrentDropout


@dataclass(frozen=True)
class CellSpec:
    """A member of the LSTM family, as data.

    With h' and c' of the step before, the logistic function s, the activations a and b, and *
    elementwise, each step computes

        i = s(x Wi + h' Ui + pi * c' + bi)      f = s(x Wf + h' Uf + pf * c' + bf)
        g = a(x Wg + h' Ug + bg)                c = f * c' + i * g
        o = s(x Wo + h' Uo + po * c + bo)       h = o * b(c)

    where p is 0 without a peephole. The fields below remove, couple or add terms.

    Attributes:
      gates: the sigmoid gates of i, f, o that have weights; an absent one is the constant 1.
      coupled: one of i and f has weights, and the other is 1 minus it.
      coupled_offset: b in the coupled gate 1 - s(z - b), for the pre-activation z of its partner.
      peephole: the gates that read the cell state (i, f the old one, o the new one).
      gate_recurrence: each sigmoid gate also reads i, f, o of the previous step.
      candidate: activation a of the candidate g.
      output: activation b of the cell state.
      forget_bias: added to the initial bias of the forget gate. If f is 1 - i, it is subtracted
        from the bias of the input gate. It must be 0 if the variant has no forget gate.
      init: initializer of every matrix, gate by gate: see `init_matrix`.
      layer_norm: normalizes x W and h' U over all gates, and the c that h reads.
      projection: width of h as a fraction of H; 0 means no projection.
      multiplicative: the recurrent product reads (x Wm) * (h' Um) in place of h'.
      zoneout: units of c and h keep their old value with rates `zoneout_c` and `zoneout_h`.
      recurrent_dropout: `variational` drops h' with one mask per sequence, `variational_untied`
        with one per gate; `semeniuta` drops the candidate with a mask per step,
        `semeniuta_sequence` with one per sequence.
      weight_drop: DropConnect on the recurrent matrix, with one mask per batch.
      cell: the functions of the cell; replace one to write your own variant.

    Raises:
      ValueError: for a value that a field does not have, and for fields that have no meaning
        together: `coupled` without exactly one of i and f; `coupled_offset` without `coupled`;
        `gate_recurrence` without all three gates; `forget_bias`, or an `init` that draws it,
        without a forget gate, or both at once; `zoneout` with `projection`; `multiplicative` with
        `variational_untied`.

    Example:
      CellSpec(gates="io", coupled=True, peephole="io", forget_bias=1.0)

    Source: Greff et al. 2017, LSTM: A Search Space Odyssey, section II; cells/catalogue.py names
    the paper of each named variant.
    """

    gates: str = SIGMOID_GATES
    coupled: bool = False
    coupled_offset: float = 0.0
    peephole: str = ""
    gate_recurrence: bool = False
    candidate: Activation = "tanh"
    output: Activation = "tanh"
    forget_bias: float = 0.0
    init: str = "orthogonal"
    layer_norm: bool = False
    projection: float = 0.0
    multiplicative: bool = False
    zoneout: bool = False
    recurrent_dropout: RecurrentDropout | None = None
    weight_drop: bool = False
    cell: Cell = field(default_factory=lambda: GATED_LSTM, repr=False)

    def __post_init__(self) -> None:
        for name, value, letters in (
            ("gates", self.gates, SIGMOID_GATES),
            ("peephole", self.peephole, self.gates),
        ):
            if value != "".join(gate for gate in letters if gate in value):
                expected = f"a subset of {letters!r} in order"
                raise ValueError(f"{name}: got {value!r}, expected {expected}")
        fields: tuple[tuple[str, str | None, tuple[str | None, ...]], ...] = (
            ("candidate", self.candidate, get_args(Activation)),
            ("output", self.output, get_args(Activation)),
            ("recurrent_dropout", self.recurrent_dropout, (None, *get_args(RecurrentDropout))),
        )
        for name, choice, choices in fields:
            if choice not in choices:
                raise ValueError(f"{name}: got {choice!r}, expected {', '.join(map(str, choices))}")
        if not 0.0 <= self.projection < 1.0:
            raise ValueError(f"projection: got {self.projection}, expected 0 or more and below 1")
        check_init(self.init, memory_bias=True)
        for is_meaningless, message in self._conflicts():
            if is_meaningless:
                raise ValueError(message)

    def _conflicts(self) -> tuple[tuple[bool, str], ...]:
        """Returns the combinations of fields that have no meaning, each with its message."""
        both = "f" in self.gates and "i" in self.gates
        neither = "f" not in self.gates and "i" not in self.gates
        return (
            (
                self.coupled and (both or neither),
                f"coupled: needs gates with one of i and f, got {self.gates!r}",
            ),
            (
                self.coupled_offset != 0.0 and not self.coupled,
                f"coupled_offset: got {self.coupled_offset}, and no gate is coupled",
            ),
            (
                self.gate_recurrence and self.gates != SIGMOID_GATES,
                f"gate_recurrence: needs gates 'ifo', got {self.gates!r}",
            ),
            (
                bool(self.forget_bias) and not (self.coupled or "f" in self.gates),
                f"forget_bias: got {self.forget_bias} without a forget gate",
            ),
            (
                # i alone does not do: without a coupled gate, f is 1 and forgets nothing.
                sets_memory_bias(self.init) and not (self.coupled or "f" in self.gates),
                f"init: {self.init} sets the biases of i and f, got gates {self.gates!r} without a "
                "forget gate",
            ),
            (
                sets_memory_bias(self.init) and bool(self.forget_bias),
                f"forget_bias: {self.init} sets the forget bias, got {self.forget_bias} as well",
            ),
            (
                self.zoneout and bool(self.projection),
                "zoneout: keeps units of h, and with a projection h is no longer made of units",
            ),
            (
                self.multiplicative and self.recurrent_dropout == "variational_untied",
                "recurrent_dropout: variational_untied needs a product for each gate, and the "
                "multiplicative cell makes its intermediate state for all of them at once",
            ),
        )

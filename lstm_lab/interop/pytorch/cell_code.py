"""The class of a cell for PyTorch: the lines of its step, its modules and vectors, their tensors.

In: a variant and its rates. Out: `CellCode`. Its matrices are `nn.Linear`, its norms
`nn.LayerNorm`; both own the bias that is added to them. `W`, `U` and `b` hold all gates that one
product computes. python_step.py writes the lines. Read module.py next, which puts all of it into a
file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.equations import gate_names
from lstm_lab.interop.fused_step import FusedStep, fused_step, step_weights
from lstm_lab.interop.portable import FloatArray, PortableLayer
from lstm_lab.interop.products import addends_of
from lstm_lab.interop.python_step import TORCH, module_biases, norm_name
from lstm_lab.interop.trained_equations import parts

# Inputs and outputs of the matrices of one gate, by letter.
_SIZES = {
    "W": ("input_size", "hidden_size"),
    "U": ("output_size", "hidden_size"),
    "R": ("hidden_size", "hidden_size"),
    "W_m": ("input_size", "output_size"),
    "U_m": ("output_size", "output_size"),
    "P": ("hidden_size", "output_size"),
}


@dataclass(frozen=True)
class Attribute:
    """A module or a vector of the written cell.

    Attributes:
      name: its name, such as `W`.
      code: the code that makes it, such as `nn.Linear(input_size, 4 * hidden_size)`.
      tensors: its tensors in a state dict -> the names of the weights in `FusedStep.weights`.

    Example:
      Attribute("P", "nn.Linear(hidden_size, output_size, bias=False)", {"P.weight": "P"})
    """

    name: str
    code: str
    tensors: Mapping[str, str]


@dataclass(frozen=True)
class CellCode:
    """The code of one variant.

    Attributes:
      spec: the variant.
      step: one time step.

    Example:
      code = cell_code(get_variant("peephole").spec, {})
      code.lines[1]  # "i = torch.sigmoid(z_i + self.p_i * c_old)"
    """

    spec: Spec
    step: FusedStep

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of `step`: each equation, after the products of all gates that it reads."""
        return tuple(TORCH.line(line) for line in self.step.lines)

    @cached_property
    def attributes(self) -> tuple[Attribute, ...]:
        """The modules and vectors of the cell, in the order of their use."""
        return tuple(
            self._attribute(name) for name in self.step.weights if name not in self._biases.values()
        )

    def tensors(self, layer: PortableLayer) -> dict[str, FloatArray]:
        """Returns the weights of a layer by their names in the state dict of the written cell."""
        weights = step_weights(layer)
        return {
            # A matrix of nn.Linear is transposed; a vector stays as it is.
            tensor: np.ascontiguousarray(weights[name].T)
            for attribute in self.attributes
            for tensor, name in attribute.tensors.items()
        }

    @cached_property
    def _biases(self) -> dict[str, str]:
        """The biases that modules add, by the weight of the module."""
        return {
            weight: bias.name
            for line in self.step.lines
            for part in parts(line.expression)
            for weight, bias in module_biases(addends_of(part)).items()
        }

    def _attribute(self, name: str) -> Attribute:
        letter, _, index = name.partition("_")
        letter = name if name in _SIZES else letter
        number = len(self.step.weights[name])
        # Those of a norm over all gates have one name in the equations, too.
        if name in ("W", "U", "gain_x", "gain_h") and number == 1:
            number = len(gate_names(self.spec))
        if letter not in (*_SIZES, "gain"):
            code = f"nn.Parameter(torch.zeros({_times(number, 'hidden_size')}))"
            return Attribute(name, code, {name: name})
        bias = self._biases.get(name)
        end = "" if bias else ", bias=False"
        if letter == "gain":
            module, code = norm_name(index), f"nn.LayerNorm({_times(number, 'hidden_size')}{end})"
        else:
            fan_in, fan_out = self._sizes(letter)
            module, code = name, f"nn.Linear({fan_in}, {_times(number, fan_out)}{end})"
        tensors = {f"{module}.weight": name} | ({f"{module}.bias": bias} if bias else {})
        return Attribute(module, code, tensors)

    def _sizes(self, letter: str) -> tuple[str, str]:
        fan_in, fan_out = _SIZES[letter]
        if "P" in self.step.weights:
            return fan_in, fan_out
        # Without a projection, h has all units.
        return fan_in.replace("output", "hidden"), fan_out.replace("output", "hidden")


def cell_code(spec: Spec, rates: Mapping[str, float]) -> CellCode:
    """Returns the code of a variant.

    Args:
      spec: the variant.
      rates: the rates of its regularization, by name.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      print("\\n".join(cell_code(MGUSpec(), {}).lines))
    """
    return CellCode(spec, fused_step(spec, rates))


def _times(number: int, size: str) -> str:
    return size if number == 1 else f"{number} * {size}"

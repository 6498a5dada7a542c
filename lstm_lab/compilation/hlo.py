"""Reads the text of a compiled program (HLO) as computations and instructions.

In: what `jax.stages.Compiled.as_text()` returns for CPU, GPU or TPU. Out: `Module`, which has the
instructions of every computation. It knows the form of the text, and not what an operation costs.
Read next: kernels.py, which counts what such a program launches.

Source: the HLO text format, https://openxla.org/xla/hlo_dumps.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.*)")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_NAME = re.compile(r"%([\w.\-]+)")
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# The attributes that name other computations which the instruction executes as they stand.
_CALLED = re.compile(
    r"\b(?:calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
    r"|\bbranch_computations=\{([^}]*)\}"
)


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
      name: unique in its module.
      shape: the text of the type of its result, such as `f32[8,64]{1,0}`, or a tuple of them.
      opcode: such as `fusion`, `while` or `all-reduce-start`.
      arguments: the text between the parentheses: operands, or the value of a constant.
      attributes: the text after them.

    Example:
      module.instructions(module.entry)[0].opcode  # "parameter"
    """

    name: str
    shape: str
    opcode: str
    arguments: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        """The names of the instructions whose results it reads."""
        return _NAME.findall(self.arguments)

    @property
    def op_name(self) -> str:
        """The path of the operation in the JAX program, or "" if the compiler made it."""
        match = _OP_NAME.search(self.attributes)
        return match[1] if match else ""

    @property
    def called(self) -> list[str]:
        """The computations that it names, except the two of a `while`."""
        names = []
        for one, several in _CALLED.findall(self.attributes):
            names += [one] if one else [name.strip(" %") for name in several.split(",")]
        return names

    def attribute(self, name: str) -> str:
        """Returns the text of an attribute that is a name, a number or a quoted word; else ""."""
        match = re.search(rf'\b{name}="?%?([\w.\-$]+)', self.attributes)
        return match[1] if match else ""


class Module:
    """A compiled program: the instructions of each computation, in the order of the text.

    Args:
      text: of a compiled module.

    Attributes:
      entry: the name of the computation with which the program begins.

    Raises:
      ValueError: if the text has no entry computation.

    Example:
      module = Module(jax.jit(jnp.sin).lower(1.0).compile().as_text())
      [i.opcode for i in module.instructions(module.entry)]  # ["parameter", "sine"] or the like
    """

    def __init__(self, text: str) -> None:
        self.entry = ""
        self._lines: dict[str, list[str]] = {}
        self._parsed: dict[str, list[Instruction]] = {}
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith(" "):
                lines.append(line)
            elif header := _COMPUTATION.match(line):
                lines = self._lines[header[2]] = []
                if header[1]:
                    self.entry = header[2]
        if not self.entry:
            raise ValueError("text: got no ENTRY computation, expected a compiled HLO module")

    def instructions(self, computation: str) -> list[Instruction]:
        """Returns the instructions of a computation; the last one is its result.

        Example:
          module.instructions(module.entry)[-1].opcode  # "tuple"
        """
        if computation not in self._parsed:
            matches = map(_INSTRUCTION.match, self._lines[computation])
            pairs = [(bool(m[1]), _instruction(m[2], m[3])) for m in matches if m]
            pairs.sort(key=lambda pair: pair[0])  # ROOT need not be the last line
            self._parsed[computation] = [instruction for _, instruction in pairs]
        return self._parsed[computation]

    def by_name(self, computation: str) -> dict[str, Instruction]:
        """Returns the instructions of a computation by name.

        Example:
          module.by_name(module.entry)["copy.3"].opcode  # "copy"
        """
        return {i.name: i for i in self.instructions(computation)}


def _instruction(name: str, text: str) -> Instruction:
    """Splits the right side of an assignment."""
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    shape = text[:end]
    match = _OPCODE.match(text, end)
    if match is None:
        raise ValueError(f"text: got {text[end : end + 40]!r}, expected an operation")
    end = _closing(text, match.end() - 1)
    return Instruction(name, shape, match[1], text[match.end() : end - 1], text[end:])


def _closing(text: str, start: int) -> int:
    """Returns the position after the parenthesis that closes the one at `start`."""
    depth = 0
    for match in re.finditer(r"[()]", text[start:]):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return start + match.end()
    return len(text)

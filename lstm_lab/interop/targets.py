"""The targets of an export: what each can express, and the function that writes it.

In: the name of a target. Out: its `ExportTarget`. A target is a file or a folder of this package
with two functions: `form(spec)` says how it expresses a variant, `write(trained, folder, options)`
writes a run. They are imported at their first use, because each needs the package of its framework.
Read export.py next.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from lstm_lab.cells.cell import Spec
from lstm_lab.inference.load import Trained
from lstm_lab.utils.errors import unknown

TARGETS = ("safetensors", "torch", "keras", "flax", "equinox", "onnx", "web", "stablehlo")

# How a target expresses a cell: by its own layer or operator, by the equations of the cell written
# in its language, as the compiled program, or as arrays without a program.
Form = Literal["layer", "equations", "program", "weights"]


class ExportOptions(NamedTuple):
    """What a user may choose of an export.

    Attributes:
      opset: version of ONNX' operators; None takes the target's default.
      runtime: the folder of onnxruntime-web's files, for `web`.

    Example:
      ExportOptions(opset=17)
    """

    opset: int | None = None
    runtime: Path | None = None


NO_OPTIONS = ExportOptions()


class ExportTarget(NamedTuple):
    """A target of an export.

    Attributes:
      form: spec -> how the target expresses the variant; raises UserError with the reason if it
        cannot.
      write: (trained, folder, options) -> how to load the files, as Markdown. It writes the files
        into an empty folder; it raises UserError for a model that the target cannot express.

    Example:
      find_target("onnx").form(get_variant("peephole").spec)  # "layer"
    """

    form: Callable[[Spec], Form]
    write: Callable[[Trained, Path, ExportOptions], str]


def find_target(name: str) -> ExportTarget:
    """Returns a target.

    Args:
      name: one of `TARGETS`.

    Raises:
      UserError: for another name.
    """
    match name:
        case _:
            raise unknown("--to", name, TARGETS)

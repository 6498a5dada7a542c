"""The targets of an export: what each can express, and the function that writes it.

In: the name of a target. Out: its `ExportTarget`. A target is a file or a folder of this package
with two functions: `form(spec)` says how it expresses a variant, `write(trained, folder, options)`
writes a run. They are imported at their first use, because each needs the package of its framework;
this file needs nothing, so that the command line can list the targets. Read export.py next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lstm_lab.utils.errors import UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.cells.cell import Spec
    from lstm_lab.inference.load import Trained

TARGETS = ("safetensors", "torch", "keras", "flax", "equinox", "onnx", "web", "stablehlo")

# How a target expresses a cell: by its own layer or operator, by the equations of the cell written
# in its language, as the compiled program, or as arrays without a program.
Form = Literal["layer", "equations", "program", "weights"]


class ExportOptions(NamedTuple):
    """Options of an export.

    Attributes:
      opset: version of ONNX' operators; None takes the target's default.
      runtime: the folder of onnxruntime-web's files, for `web`.

    Example:
      ExportOptions(opset=17)
    """

    opset: int | None = None
    runtime: Path | None = None


NO_OPTIONS = ExportOptions()
# The targets that read each option.
_READERS = {"opset": ("onnx", "web"), "runtime": ("web",)}


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
        case "safetensors":
            from lstm_lab.interop import safetensors_file

            return ExportTarget(safetensors_file.form, safetensors_file.write)
        case "torch":
            from lstm_lab.interop import pytorch

            return ExportTarget(pytorch.form, pytorch.write)
        case "keras":
            from lstm_lab.interop import keras_models

            return ExportTarget(keras_models.form, keras_models.write)
        case "flax":
            from lstm_lab.interop import flax_models

            return ExportTarget(flax_models.form, flax_models.write)
        case "equinox":
            from lstm_lab.interop import equinox_models

            return ExportTarget(equinox_models.form, equinox_models.write)
        case "onnx":
            from lstm_lab.interop import onnx

            return ExportTarget(onnx.form, onnx.write)
        case "web":
            from lstm_lab.interop import web

            return ExportTarget(web.form, web.write)
        case "stablehlo":
            from lstm_lab.interop import stablehlo

            return ExportTarget(stablehlo.form, stablehlo.write)
        case _:
            raise unknown("--to", name, TARGETS)


def export_options(options: Mapping[str, Any]) -> ExportOptions:
    """Returns the options of an export by name.

    Args:
      options: values by name, as a notebook gives them.

    Raises:
      UserError: for an unknown name.

    Example:
      export_options({"opset": 17}).opset  # 17
    """
    for name in options:
        if name not in ExportOptions._fields:
            raise unknown("export: option", name, ExportOptions._fields)
    runtime = options.get("runtime")
    return ExportOptions(options.get("opset"), None if runtime is None else Path(runtime))


def check_options(to: str, options: ExportOptions) -> None:
    """Raises UserError for an option that has no effect.

    Args:
      to: the target.
      options: what the user chose.

    Example:
      check_options("torch", ExportOptions(opset=17))  # raises
    """
    for name, value in options._asdict().items():
        if value is not None and to not in _READERS[name]:
            raise UserError(f"--{name}: it has no effect with --to={to}; leave it out")


def forms(spec: Spec) -> dict[str, str]:
    """Returns how each target expresses a variant: its form, or `refused: ` and the reason.

    Args:
      spec: the variant.

    Example:
      forms(get_variant("layernorm").spec)["torch"]  # "equations"
    """
    return {name: _form(find_target(name), spec) for name in TARGETS}


def _form(target: ExportTarget, spec: Spec) -> str:
    try:
        return target.form(spec)
    except UserError as reason:
        return f"refused: {reason}"

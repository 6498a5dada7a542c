"""Writes a run as `model.onnx` and `streaming.onnx`.

In: a trained run and an empty folder. Out: two files that ONNX Runtime loads, and how to use them.
`model.onnx` reads whole sequences of any length, `streaming.onnx` one step with its state. Read
model.py for the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.cells.cell import Spec
from lstm_lab.config.user_code import without_folder
from lstm_lab.inference.load import Trained
from lstm_lab.interop.onnx.graph import OnnxGraph
from lstm_lab.interop.onnx.model import FINAL, model_graph
from lstm_lab.interop.onnx.operators import has_operator
from lstm_lab.interop.onnx.proto import model_proto
from lstm_lab.interop.portable import PortableModel, portable_model
from lstm_lab.interop.trained_equations import trained_equations
from lstm_lab.utils.errors import UserError

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form

# 17 is the first with LayerNormalization. ONNX Runtime 1.20, the oldest that the extra `interop`
# allows, ends at 21.
OPSETS = range(17, 22)
DEFAULT_OPSET = 17

# Protocol buffers, the format of the file, end at 2 GB.
LARGEST = 2**31 - 2**20


def form(spec: Spec) -> Form:
    """Returns how ONNX expresses a variant: by an operator, or by a Scan of its equations.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations are not known.

    Example:
      form(get_variant("lstm").spec), form(get_variant("slstm").spec)  # ("layer", "equations")
    """
    trained_equations(spec, dict.fromkeys(("zoneout_c", "zoneout_h"), 0.0))
    return "layer" if has_operator(spec) else "equations"


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes the models of a run.

    Args:
      trained: the run.
      folder: an empty folder.
      options: `opset`, one of `OPSETS`.

    Returns:
      How to load them, as Markdown.

    Raises:
      UserError: for another opset, a model that is too large, or one that ONNX cannot express.

    Example:
      write(run.trained, Path("exported"), ExportOptions(opset=18))
    """
    opset = check_opset(options.opset)
    model = portable_model(trained)
    form(model.spec)
    write_graph(trained, model_graph(model), folder / "model.onnx", opset)
    if model.streaming_problem is None:
        write_graph(trained, model_graph(model, one_step=True), folder / "streaming.onnx", opset)
    return _usage(model)


def check_opset(opset: int | None) -> int:
    """Returns the version of the operators.

    Args:
      opset: a version, or None for the default.

    Raises:
      UserError: for a version that is not tested.

    Example:
      check_opset(None)  # 17
    """
    if opset is None:
        return DEFAULT_OPSET
    if opset not in OPSETS:
        raise UserError(f"--opset: got {opset}, expected {OPSETS[0]} to {OPSETS[-1]}")
    return opset


def write_graph(trained: Trained, graph: OnnxGraph, path: Path, opset: int) -> None:
    """Writes one graph to a file.

    Args:
      trained: the run, for the names of its task and cell.
      graph: the graph.
      path: the file.
      opset: version of the operators.

    Raises:
      UserError: for weights of more than 2 GB, or without the package onnx.

    Example:
      write_graph(trained, model_graph(portable_model(trained)), Path("model.onnx"), 17)
    """
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise UserError(
            f"--to=onnx: the weights have {size / 2**30:.1f} GB, expected at most 2 GB, the limit "
            "of the format; --to=safetensors has none"
        )
    # The names alone: an export is passed on, and the folders of its author say nothing to others.
    names = {"task": trained.spec.task.name, "cell": trained.spec.model.cell}
    notes = {key: without_folder(name) for key, name in names.items()}
    path.write_bytes(model_proto(graph, path.stem, opset, notes).SerializeToString())


def _usage(model: PortableModel) -> str:
    """Returns how to run the files, as Markdown."""
    name, example = "tokens", "np.array([[1, 1, 1]], np.int64)  # [batch,time]"
    if model.vocabulary is None:
        name, example = "x", f"np.zeros((1, 3, {model.features}), np.float32)"
    shape = "[batch,outputs], those of the last real step"
    if model.every_step:
        shape = "[batch,time,outputs]"
    streaming = f"There is no `streaming.onnx`: {model.streaming_problem}.\n"
    if model.streaming_problem is None:
        streaming = _STREAMING.format(name=name)
    final = FINAL + model.state_names[0]
    usage = _USAGE.format(
        sizes=model.state_sizes, name=name, example=example, shape=shape, final=final
    )
    return f"{usage}\n{streaming}"


_USAGE = """`model.onnx` reads whole sequences; batch and time may have any size.

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
sizes = {sizes}
{name} = {example}
lengths = np.array([3], np.int32)  # the real steps of each row
states = {{name: np.zeros((1, size), np.float32) for name, size in sizes.items()}}
logits, *final = session.run(None, {{"{name}": {name}, "lengths": lengths, **states}})
```

`logits` are {shape}. The other outputs are the final states, `{final}` and so on.
`preprocessing.json` has the symbols, labels and scales.
"""

_STREAMING = """`streaming.onnx` reads one step. It has no `lengths`; its final states are the
states of the next step.

```python
step = onnxruntime.InferenceSession("streaming.onnx")
for t in range({name}.shape[1]):
    logits, *final = step.run(None, {{"{name}": {name}[:, t : t + 1], **states}})
    states = dict(zip(sizes, final))
```
"""

"""Export to Flax: a Linen module with its parameters, and our own module as one of NNX.

In: a run. Out: `model.py` (the module), `model.json` (its settings) and `params.msgpack` (its
parameters); you need only Flax to load them. A cell that Flax lacks becomes `cell.py`, written from
its equations. `to_nnx` works differently: it wraps the module of lstm_lab, so it serves every
model. Read flax_weights.py next: the weights by the names of Flax, and back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx, serialization, traverse_util

from lstm_lab.cells.cell import Spec
from lstm_lab.inference.load import Trained
from lstm_lab.interop.exported_model import cell_settings, inputs_text, shared_settings
from lstm_lab.interop.flax_weights import to_flax
from lstm_lab.interop.framework_cells import FrameworkCell, framework_cell
from lstm_lab.interop.fused_step import step_weights
from lstm_lab.interop.portable import FloatArray, PortableModel, portable_model
from lstm_lab.interop.python_step import JAX, step_source
from lstm_lab.interop.standalone.export_text import cell_text, model_text
from lstm_lab.models.build import build_model
from lstm_lab.utils.files import write_bytes, write_json, write_text
from lstm_lab.utils.types import JSON

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form


def form(spec: Spec) -> Form:
    """Returns how Flax expresses a variant: by a cell of its own, or by the equations.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      form(get_variant("gru").spec)  # "layer"
    """
    return "equations" if flax_cell(spec) is None else "layer"


def flax_cell(spec: Spec) -> FrameworkCell | None:
    """Returns the cell of Flax that a trained variant equals, or None.

    Args:
      spec: the variant.

    Example:
      flax_cell(GRUSpec(reset="before"))  # None: Flax has the reset after the product
    """
    cell = framework_cell(spec)
    return None if cell == "gru_reset_before" else cell


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes a run as a module of Flax Linen.

    Args:
      trained: the run.
      folder: an empty folder.
      options: not read.

    Returns:
      How to load the files, as Markdown.

    Raises:
      UserError: for a translation, or a cell of a user.

    Example:
      write(run.trained, Path("adding_flax"), NO_OPTIONS)
    """
    del options
    model = portable_model(trained)
    layer = model.layers[0][0]
    if form(model.spec) == "equations":
        write_text(folder / "cell.py", cell_text("flax_cell.py", step_source(layer, JAX)))
    write_text(folder / "model.py", model_text("flax_model.py"))
    write_json(folder / "model.json", model_settings(model))
    write_bytes(folder / "params.msgpack", serialization.msgpack_serialize(linen_params(model)))
    return _usage(model)


def model_settings(model: PortableModel) -> dict[str, JSON]:
    """Returns the settings of the module of `standalone/flax_model.py` for a trained model.

    Args:
      model: the model.

    Example:
      LinenModel(**model_settings(portable_model(run.trained)))
    """
    cell = flax_cell(model.spec)
    layers = [layer for directions in model.layers for layer in directions]
    return {
        "cell": cell or "equations",
        "hidden_sizes": [directions[0].units for directions in model.layers],
        "bidirectional": model.bidirectional,
        "tied": model.tied,
        "cells": {} if cell else {layer.name: cell_settings(layer) for layer in layers},
        **shared_settings(model),
    }


def linen_params(model: PortableModel) -> dict[str, Any]:
    """Returns the parameters of that module.

    Args:
      model: the model.

    Example:
      linen_params(portable_model(run.trained))["layer_0"]["ii"]["kernel"].shape  # (D, H)
    """
    cell = flax_cell(model.spec)
    named: dict[str, FloatArray] = {}
    for layer in (layer for directions in model.layers for layer in directions):
        weights: dict[str, FloatArray] = (
            step_weights(layer) if cell is None else to_flax(cell, layer.params)
        )
        named |= {f"{layer.name}/{name}": array for name, array in weights.items()}
    if model.embedding_VE is not None:
        named["embed/embedding"] = model.embedding_VE
    if model.tied:
        named["bias"] = model.bias_C
    else:
        named |= {"head/kernel": model.kernel_KC, "head/bias": model.bias_C}
    return traverse_util.unflatten_dict(named, sep="/")


def to_nnx(trained: Trained) -> nnx.Module:
    """Returns the model of a run as a module of Flax NNX, with its weights.

    It is the module of lstm_lab behind Flax' bridge, so every cell and every model is possible, and
    it needs lstm_lab. Call it with tokens [B,T] or vectors [B,T,D], and with `lengths` [B] for
    ragged batches; it returns logits.

    Args:
      trained: the run.

    Example:
      model = to_nnx(ll.load_run("runs/adding").trained)
      optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
      grads = nnx.grad(lambda model: ((model(x) - y) ** 2).mean())(model)
      optimizer.update(model, grads)
    """
    module = nnx.bridge.ToNNX(build_model(trained.spec))
    for name, weights in trained.params.items():
        # `data` marks nested dicts as parts of the module. Without it they would be static.
        setattr(module, name, nnx.data(jax.tree.map(_parameter, weights)))
    return module


def _parameter(weight: jax.typing.ArrayLike) -> nnx.Param[jax.Array]:
    return nnx.Param(jnp.asarray(weight))


def _usage(model: PortableModel) -> str:
    carries = {
        "lstm": "(c, h)",
        "gru": "h",
        "rnn": "h",
    }.get(flax_cell(model.spec) or "", f"({', '.join(model.layers[0][0].state_sizes)})")
    return f"""```python
from model import load  # with this folder as the working directory

model, params = load()
logits, states = model.apply({{"params": params}}, x, lengths)
logits, states = model.apply({{"params": params}}, x, None, states)
```

`x` are {inputs_text(model)}; `lengths` [B] are the real steps of each row, or None. `states` are
the carries {carries} by layer and direction after the last real step; a call may start from them.
`params.msgpack` is what `flax.serialization.msgpack_restore` reads. You need only Flax to load the
files.
"""

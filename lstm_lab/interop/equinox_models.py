"""Export to Equinox: a module whose cells are Equinox' own, or written from their equations.

In: a run. Out: `model.py` (the module), `model.json` (its settings) and `model.eqx` (its weights);
you need only Equinox to load them. `to_equinox` returns the module in Python. The gates of Equinox
have the order i f g o. Read standalone/equinox_model.py next: the module.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from lstm_lab.cells.cell import Spec
from lstm_lab.inference.load import Trained
from lstm_lab.interop.exported_model import cell_settings, inputs_text, shared_settings
from lstm_lab.interop.framework_cells import FrameworkCell, framework_cell, reorder_gates
from lstm_lab.interop.fused_step import step_weights
from lstm_lab.interop.portable import FloatArray, PortableLayer, PortableModel, portable_model
from lstm_lab.interop.python_step import JAX, step_source
from lstm_lab.interop.standalone.export_text import cell_text, model_text, module_of
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json, write_text
from lstm_lab.utils.types import JSON, PyTree

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form


def form(spec: Spec) -> Form:
    """Returns how Equinox expresses a variant: by a cell of its own, or by the equations.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      form(get_variant("rnn").spec)  # "equations": Equinox has no simple RNN
    """
    return "equations" if equinox_cell(spec) is None else "layer"


def equinox_cell(spec: Spec) -> FrameworkCell | None:
    """Returns the cell of Equinox that a trained variant equals, or None.

    Args:
      spec: the variant.

    Example:
      equinox_cell(get_variant("gru").spec)  # "gru"
    """
    cell = framework_cell(spec)
    return cell if cell == "lstm" or cell == "gru" else None


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes a run as a module of Equinox.

    Args:
      trained: the run.
      folder: an empty folder.
      options: not read.

    Returns:
      How to load the files, as Markdown.

    Raises:
      UserError: for a translation, a cell of a user, or if Equinox is missing.

    Example:
      write(run.trained, Path("adding_equinox"), NO_OPTIONS)
    """
    del options
    equinox = _import_equinox()
    model = portable_model(trained)
    module = _module(model)
    if form(model.spec) == "equations":
        write_text(folder / "cell.py", _cell_source(model))
    write_text(folder / "model.py", model_text("equinox_model.py"))
    write_json(folder / "model.json", _settings(model))
    equinox.tree_serialise_leaves(folder / "model.eqx", module)
    return _usage(model)


def to_equinox(trained: Trained) -> Any:
    """Returns the model of a run as a module of Equinox, with its weights.

    Call it with tokens [T] or vectors [T,D] of one sequence, its number of real steps, and initial
    states; it returns logits and final states. `jax.vmap` makes it a batch.

    Args:
      trained: the run.

    Raises:
      UserError: for a translation, a cell of a user, or if Equinox is missing.

    Example:
      model = to_equinox(ll.load_run("runs/adding").trained)
      logits, states = jax.vmap(model)(x, lengths)
    """
    _import_equinox()
    return _module(portable_model(trained))


def _import_equinox() -> Any:
    try:
        import equinox
    except ImportError:
        raise UserError("--to=equinox needs Equinox: pip install 'lstm-lab[peers]'") from None
    return equinox


def _module(model: PortableModel) -> PyTree:
    """Returns the module with the weights of a model."""
    equinox = _import_equinox()
    from lstm_lab.interop.standalone.equinox_model import build

    cell_class = None
    if form(model.spec) == "equations":
        cell_class = module_of(_cell_source(model)).EquinoxEquationCell
    weights = [jnp.asarray(array) for array in _weights_of(model)]
    return equinox.tree_at(_weights, build(_settings(model), cell_class), weights)


def _weights(module: Any) -> list[PyTree]:
    """Returns the weights of a module, in the order of `_weights_of`."""
    embed = [] if module.embed is None else [module.embed.weight]
    cells = [_cell_fields(cell) for directions in module.cells for cell in directions]
    return [*embed, module.head.weight, module.head.bias, *(w for fields in cells for w in fields)]


def _cell_fields(cell: Any) -> list[PyTree]:
    if hasattr(cell, "weights"):
        return [cell.weights[name] for name in sorted(cell.weights)]
    fields = [cell.weight_ih, cell.weight_hh, cell.bias]
    return [*fields, cell.bias_n] if hasattr(cell, "bias_n") else fields


def _weights_of(model: PortableModel) -> list[FloatArray]:
    """Returns the trained weights in the layouts of Equinox."""
    embed = [] if model.embedding_VE is None else [model.embedding_VE]
    cells = [_cell_weights(layer) for directions in model.layers for layer in directions]
    head = [model.kernel_KC.T, model.bias_C]
    return [*embed, *head, *(array for arrays in cells for array in arrays)]


def _cell_weights(layer: PortableLayer) -> list[FloatArray]:
    params = layer.params
    cell = equinox_cell(layer.spec)
    if cell is None:
        # JAX sorts the names of a dict.
        return [array for _, array in sorted(step_weights(layer).items())]
    if cell == "lstm":
        params = {name: reorder_gates(a, "ifog", "ifgo") for name, a in params.items()}
    matrices = [params[name].reshape(len(params[name]), -1).T for name in ("wx", "wh")]
    biases = [params["b"].reshape(-1), *([params["bn"]] if "bn" in params else [])]
    return [*matrices, *biases]


def _cell_source(model: PortableModel) -> str:
    return cell_text("equinox_cell.py", step_source(model.layers[0][0], JAX))


def _settings(model: PortableModel) -> dict[str, JSON]:
    """Returns the settings of the module, as model.json holds them."""
    return {
        "cell": equinox_cell(model.spec) or "equations",
        "layers": [[_layer_settings(layer) for layer in row] for row in model.layers],
        "features": model.kernel_KC.shape[0],
        **shared_settings(model),
    }


def _layer_settings(layer: PortableLayer) -> dict[str, JSON]:
    if form(layer.spec) == "layer":
        return {"inputs": layer.inputs, "units": layer.units}
    return cell_settings(layer)


def _usage(model: PortableModel) -> str:
    fields = list(model.layers[0][0].state_sizes)
    is_one = form(model.spec) == "layer" and len(fields) == 1
    state = fields[0] if is_one else f"({', '.join(fields)})"
    return f"""```python
import jax
from model import load  # with this folder as the working directory

model = load()
logits, states = jax.vmap(model)(x, lengths)
logits, states = jax.vmap(lambda x, states: model(x, None, states))(x, states)
```

`x` are {inputs_text(model)}; `lengths` [B] are the real steps of each row. `states` are {state} by
layer and direction after the last real step; a call may start from them. You need only Equinox to
load the files.
"""

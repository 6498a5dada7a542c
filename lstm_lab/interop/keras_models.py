"""Export to Keras 3: a functional model in the `.keras` format, and its weights.

In: a run. Out: `model.keras`, `model.weights.h5`, and `with_states.keras`, the same model with
initial states as inputs and final states as outputs. A cell that Keras lacks becomes `cell.py`, a
layer that is written from its equations. Keras has its own order of gates: i f c o, and z r h for a
GRU. Read keras_weights.py next: the weights in that order, and back.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lstm_lab.cells.cell import Spec
from lstm_lab.config.sections import Merge
from lstm_lab.inference.load import Trained
from lstm_lab.interop.exported_model import cell_settings, inputs_text
from lstm_lab.interop.framework_cells import FrameworkCell, framework_cell
from lstm_lab.interop.fused_step import step_weights
from lstm_lab.interop.keras_weights import to_keras
from lstm_lab.interop.portable import (
    FloatArray,
    PortableLayer,
    PortableModel,
    portable_model,
    variant_name,
)
from lstm_lab.interop.python_step import KERAS, step_source
from lstm_lab.interop.standalone.export_text import cell_text, module_of
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_text

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form

_MERGE_MODES: dict[Merge, str] = {
    "concat": "concat",
    "sum": "sum",
    "mean": "ave",
    "product": "mul",
}


def form(spec: Spec) -> Form:
    """Returns how Keras expresses a variant: by a layer of its own, or by the equations.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      form(get_variant("peephole").spec)  # "equations"
    """
    return "equations" if framework_cell(spec) is None else "layer"


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes a run as models of Keras.

    Args:
      trained: the run.
      folder: an empty folder.
      options: not read.

    Returns:
      How to load the files, as Markdown.

    Raises:
      UserError: for a translation, a cell of a user, or if Keras is missing.

    Example:
      write(run.trained, Path("adding_keras"), NO_OPTIONS)
    """
    del options
    model = portable_model(trained)
    cells = None
    if form(model.spec) == "equations":
        source = cell_source(model.layers[0][0])
        import_keras()
        cells = module_of(source)
        write_text(folder / "cell.py", source)
    whole = keras_model(model, cells, with_states=False)
    whole.save(folder / "model.keras")
    whole.save_weights(folder / "model.weights.h5")
    keras_model(model, cells, with_states=True).save(folder / "with_states.keras")
    return _usage(model)


def import_keras() -> Any:
    """Returns Keras, which computes with JAX unless the user chose another backend.

    Raises:
      UserError: if it is missing.

    Example:
      import_keras().layers.LSTM(16)
    """
    # Keras reads it once, at its import, and would take TensorFlow. The files are the same for all.
    os.environ.setdefault("KERAS_BACKEND", "jax")
    try:
        import keras
    except ImportError:
        raise UserError("--to=keras needs Keras: pip install 'lstm-lab[peers]'") from None
    return keras


def keras_model(model: PortableModel, cells: ModuleType | None, *, with_states: bool) -> Any:
    """Builds a trained model in Keras, with its weights.

    Args:
      model: the model.
      cells: the module with the cell that Keras lacks; None if it has the cell.
      with_states: whether initial states are inputs and final states are outputs.

    Returns:
      A `keras.Model` of {x, mask} and perhaps the initial states.

    Example:
      keras_model(portable_model(run.trained), None, with_states=False).summary()
    """
    keras = import_keras()
    layers = keras.layers
    inputs = _inputs(keras, model)
    h, last = _stack_inputs(keras, model, **inputs), None
    outputs: dict[str, Any] = {}
    for number, directions in enumerate(model.layers):
        sizes = _state_widths(directions)
        initial = {name: keras.Input((size,), name=name) for name, size in sizes.items()}
        inputs |= initial if with_states else {}
        output, *finals = _recurrent(layers, directions, model.merge, cells)(
            h, mask=inputs["mask"], initial_state=list(initial.values()) if with_states else None
        )
        outputs |= dict(zip(sizes, finals, strict=True))
        # The first vector of the state of each direction is h.
        merged = _merge(layers, finals[:: len(finals) // len(directions)], model.merge)
        is_residual = model.residual and number > 0
        h = layers.Add()([output, h]) if is_residual else output
        last = layers.Add()([merged, last]) if is_residual else merged
    logits = layers.Dense(model.bias_C.size, name="head")(h if model.every_step else last)
    network = keras.Model(inputs, {"logits": logits, **outputs} if with_states else logits)
    _set_weights(network, model)
    return network


def _inputs(keras: Any, model: PortableModel) -> dict[str, Any]:
    """Returns the inputs of every model."""
    tokens = model.vocabulary is not None
    shape, dtype = ((None,), "int32") if tokens else ((None, model.features), "float32")
    # None stands for sequences without padding. The last real vector is found by the mask.
    optional = not model.subtract_last
    return {
        "x": keras.Input(shape, dtype=dtype, name="x"),
        "mask": keras.Input((None,), dtype="bool", name="mask", optional=optional),
    }


def _stack_inputs(keras: Any, model: PortableModel, x: Any, mask: Any) -> Any:
    """Returns what the first layer reads."""
    if model.embedding_VE is not None:
        return keras.layers.Embedding(*model.embedding_VE.shape, name="embed")(x)
    if model.vocabulary is not None:
        return keras.ops.one_hot(x, model.vocabulary)
    return _subtract_last(keras.ops, x, mask) if model.subtract_last else x


def _state_widths(directions: tuple[PortableLayer, ...]) -> dict[str, int]:
    """Returns the widths of a layer's states by their names in Keras, without dots."""
    return {
        f"{layer.name}_{field}": size
        for layer in directions
        for field, size in layer.state_sizes.items()
    }


def _recurrent(
    layers: Any, directions: tuple[PortableLayer, ...], merge: Merge, cells: ModuleType | None
) -> Any:
    """Returns a layer of Keras for one or two directions, without the trained weights."""
    both = [_one_direction(layers, layer, cells) for layer in directions]
    if len(both) == 1:
        return both[0]
    return layers.Bidirectional(
        both[0],
        merge_mode=_MERGE_MODES[merge],
        backward_layer=both[1],
        name=directions[0].name,
    )


def _one_direction(layers: Any, layer: PortableLayer, cells: ModuleType | None) -> Any:
    # Zeros at padding, as in lstm_lab; Keras' default repeats the last output.
    settings = {
        "return_sequences": True,
        "return_state": True,
        "zero_output_for_mask": True,
        "go_backwards": layer.reverse,
        "name": layer.name,
    }
    match framework_cell(layer.spec):
        case "lstm":
            return layers.LSTM(layer.units, **settings)
        case "gru":
            return layers.GRU(layer.units, reset_after=True, **settings)
        case "gru_reset_before":
            return layers.GRU(layer.units, reset_after=False, **settings)
        case "rnn":
            return layers.SimpleRNN(layer.units, **settings)
    assert cells is not None
    equations = cell_settings(layer)
    cell = cells.KerasEquationCell(equations["shapes"], equations["state_sizes"])
    return layers.RNN(cell, **settings)


def _set_weights(network: Any, model: PortableModel) -> None:
    """Gives all layers their weights."""
    if model.embedding_VE is not None:
        network.get_layer("embed").set_weights([model.embedding_VE])
    network.get_layer("head").set_weights([model.kernel_KC, model.bias_C])
    for directions in model.layers:
        found = network.get_layer(directions[0].name)
        parts = [found.forward_layer, found.backward_layer] if model.bidirectional else [found]
        for part, layer in zip(parts, directions, strict=True):
            part.cell.set_weights(_cell_weights(layer, framework_cell(layer.spec)))


def _cell_weights(layer: PortableLayer, cell: FrameworkCell | None) -> list[FloatArray]:
    return list(step_weights(layer).values()) if cell is None else to_keras(cell, layer.params)


def _merge(layers: Any, outputs: list[Any], merge: Merge) -> Any:
    """Joins the final h of one or two directions."""
    if len(outputs) == 1:
        return outputs[0]
    match merge:
        case "concat":
            return layers.Concatenate()(outputs)
        case "sum":
            return layers.Add()(outputs)
        case "mean":
            return layers.Average()(outputs)
        case "product":
            return layers.Multiply()(outputs)


def _subtract_last(ops: Any, x: Any, mask: Any) -> Any:
    """Subtracts the last real vector of each row; padding is not read, whatever it holds."""
    real = ops.cast(mask, "int32")
    # The last real step is the only one whose next step is not real.
    after = ops.pad(real[:, 1:], ((0, 0), (0, 1)))
    is_last = ops.expand_dims(ops.equal(real - after, 1), -1)
    return x - ops.sum(ops.where(is_last, x, 0.0), axis=1, keepdims=True)


def cell_source(layer: PortableLayer) -> str:
    """Returns the text of a file with a cell that Keras lacks.

    Args:
      layer: a layer with the cell.

    Example:
      print(cell_source(portable_model(run.trained).layers[0][0]))
    """
    step = step_source(layer, KERAS)
    # Rates are numbers in the equations, so the name of the variant alone would not be unique.
    name = f"{variant_name(layer.spec)}_{hashlib.sha256(step.encode()).hexdigest()[:8]}"
    return cell_text("keras_cell.py", step).replace('NAME = "cell"', f'NAME = "{name}"')


def _usage(model: PortableModel) -> str:
    cell = "import cell  # the cell that Keras lacks\n" if form(model.spec) == "equations" else ""
    states = ", ".join(f"`{name}`" for row in model.layers for name in _state_widths(row))
    streaming = "" if model.streaming_problem else ": pass them to the call for the next steps"
    optional = "" if model.subtract_last else ", or None without padding"
    return f"""```python
import os

os.environ["KERAS_BACKEND"] = "jax"  # or "torch"; the default is TensorFlow

import keras
{cell}
model = keras.saving.load_model("model.keras")
logits = model({{"x": x, "mask": mask}})
```

`x` are {inputs_text(model)}; `mask` [B,T] is true at real steps{optional}, and padding comes last.
`with_states.keras` also takes the states {states}, and returns `logits`
together with the states after the last real step{streaming}. Keras takes NumPy arrays or its own
tensors, but not both in one call. `model.weights.h5` holds the weights alone.
"""

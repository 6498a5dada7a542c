"""Writes model.py: the module of one trained model for PyTorch, from the templates of this folder.

In: a portable model and its run. Out: the text of the file and the tensors of its state dict. Three
forms exist: one layer of PyTorch for the whole stack; several of them, if layers differ in size,
have residual connections or merge their directions; and cells whose steps are the equations. Read
model.py.j2 next.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader

from lstm_lab.cells.slstm import SLSTMSpec
from lstm_lab.config.sections import Merge, ModelSpec
from lstm_lab.interop.portable import FloatArray, PortableLayer, PortableModel
from lstm_lab.interop.python_step import value_name
from lstm_lab.interop.pytorch.cell_code import cell_code
from lstm_lab.interop.pytorch.layers import TorchLayer, torch_layer
from lstm_lab.interop.pytorch.weights import to_torch
from lstm_lab.interop.trained_equations import state_vectors
from lstm_lab.tasks import Real, Target
from lstm_lab.utils.types import JSON

ModuleForm = Literal["stack", "layers", "cells"]


def module_form(model: PortableModel) -> ModuleForm:
    """Returns how the module expresses the stack.

    Args:
      model: the model.

    Example:
      module_form(portable_model(run.trained))  # "stack": one nn.LSTM
    """
    if _kind(model) is None:
        return "cells"
    same_size = len({directions[0].units for directions in model.layers}) == 1
    merged = model.bidirectional and model.merge != "concat"
    residual = model.residual and len(model.layers) > 1
    return "stack" if same_size and not merged and not residual else "layers"


def state_dict(model: PortableModel) -> dict[str, FloatArray]:
    """Returns the weights by their names in the module of `module_text`.

    Args:
      model: the model.

    Example:
      state_dict(model).keys()  # embedding.weight, lstm.weight_ih_l0, ..., head.weight, head.bias
    """
    tensors: dict[str, FloatArray] = {}
    if model.embedding_VE is not None:
        tensors["embedding.weight"] = model.embedding_VE
    for number, directions in enumerate(model.layers):
        for layer in directions:
            tensors |= _layer_tensors(model, number, layer)
    if model.tied:
        return tensors | {"head_bias": model.bias_C}
    return tensors | {"head.weight": model.kernel_KC.T, "head.bias": model.bias_C}


def _layer_tensors(
    model: PortableModel, number: int, layer: PortableLayer
) -> dict[str, FloatArray]:
    kind, form = _kind(model), module_form(model)
    if kind is None:
        layers = "backward_layers" if layer.reverse else "forward_layers"
        layers = layers if model.bidirectional else "layers"
        tensors = cell_code(layer.spec, layer.rates).tensors(layer)
        return {f"{layers}.{number}.{name}": array for name, array in tensors.items()}
    path, index = (kind.lower(), number) if form == "stack" else (f"layers.{number}", 0)
    suffix = f"_l{index}{'_reverse' if layer.reverse else ''}"
    tensors = to_torch(kind, layer.params)
    return {f"{path}.{name}{suffix}": array for name, array in tensors.items()}


def module_text(model: PortableModel, settings: ModelSpec, target: Target) -> str:
    """Returns the text of model.py.

    Args:
      model: the model.
      settings: the settings of the run's model.
      target: what it predicts.

    Example:
      module_text(portable_model(trained), trained.spec.model, trained.spec.task.target)
    """
    form, kind = module_form(model), _kind(model)
    first, residual = model.layers[0][0], model.residual and len(model.layers) > 1
    cell = settings.cell.rpartition(":")[-1]  # without the file of a user's cell
    if model.vocabulary is None:
        inputs = "vectors"
    else:
        inputs = "one-hot" if model.embedding_VE is None else "embedding"
    result = "values" if isinstance(target, Real) else "logits"
    context: dict[str, JSON] = {
        "form": form,
        "kind": kind,
        "inputs": inputs,
        "x": "x" if inputs == "vectors" else "tokens",
        "result": result,
        "result_words": f"the {result} {'at every step' if model.every_step else 'of each row'}",
        "title": f"The trained model: {cell} in PyTorch.",
        "summary": _summary(model, cell, inputs),
        "streams": model.streaming_problem is None,
        "vocabulary": model.vocabulary,
        "features": model.features,
        "layers": [directions[0] for directions in model.layers],
        "layer_sizes": _layer_sizes(model),
        "projected": first.outputs != first.units,
        "bidirectional": model.bidirectional,
        "merge": model.merge,
        "residual": residual,
        # Without residual connections, the outputs of a layer are at once the inputs of the next.
        "h": "h" if residual else "x",
        "last_h": "last_h" if residual else "last",
        "subtract_last": model.subtract_last,
        "every_step": model.every_step,
        "tied": model.tied,
        "head_inputs": model.kernel_KC.shape[0],
        "outputs": model.kernel_KC.shape[1],
        "merged": lambda a, b: _merged(model.merge, a, b),
        "head": lambda h: (
            f"nn.functional.linear({h}, self.embedding.weight, self.head_bias)"
            if model.tied
            else f"self.head({h})"
        ),
    }
    if form == "cells":
        context |= _cell_context(first, cell)
    return _templates().get_template("model.py.j2").render(context)


def _cell_context(layer: PortableLayer, cell: str) -> dict[str, JSON]:
    code = cell_code(layer.spec, layer.rates)
    state = [value_name(name) for name in state_vectors(layer)]
    projected = layer.outputs != layer.units
    words = f"One layer of the cell {cell}, in one direction."
    if isinstance(layer.spec, SLSTMSpec) and layer.spec.heads > 1:
        words += " The blocks of its heads lie on the diagonal of U."
    return {
        "attributes": code.attributes,
        "lines": code.lines,
        "state": state,
        "state_words": " and ".join(filter(None, [", ".join(state[:-1]), state[-1]])),
        "state_sizes": [
            "output_size" if projected and name == "h" else "hidden_size" for name in state
        ],
        "layer_words": words,
    }


def _kind(model: PortableModel) -> TorchLayer | None:
    first = model.layers[0][0]
    return torch_layer(first.spec, first.rates)


def _layer_sizes(model: PortableModel) -> str:
    rows = []
    for first, *_ in model.layers:
        sizes = [first.inputs, first.units]
        rows.append(tuple(sizes if first.outputs == first.units else [*sizes, first.outputs]))
    return repr(tuple(rows))


def _summary(model: PortableModel, cell: str, inputs: str) -> str:
    number = len(model.layers)
    words = ["bidirectional"] if model.bidirectional else []
    words += ["residual"] if model.residual and number > 1 else []
    words += ["layer" if number == 1 else "layers"]
    layers = f"{number} {' '.join(words)} of {cell}"
    first = {"vectors": "", "one-hot": "One-hot inputs, ", "embedding": "Embedding, "}[inputs]
    head = "a head with the weights of the embedding" if model.tied else "a dense head"
    return f"{first}{layers} and {head}."


def _merged(merge: Merge, forward: str, backward: str) -> str:
    """Returns the code that joins the outputs of two directions."""
    match merge:
        case "concat":
            return f"torch.cat([{forward}, {backward}], dim=-1)"
        case "sum":
            return f"{forward} + {backward}"
        case "mean":
            return f"({forward} + {backward}) / 2"
        case "product":
            return f"{forward} * {backward}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

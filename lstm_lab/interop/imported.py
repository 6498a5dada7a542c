"""Which part of a file of another framework belongs to which part of a model.

In: the spec of the model that takes the weights, what a file has, and what the user says with
`--map`. Out: names of the file by part. A part is `embed`, `head`, or a layer of the stack such as
`lstm/layer_0`. All three readers use it. Read import_hints.py next: what an error suggests.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.interop.foreign_file import IGNORE, ForeignFile, modules_with
from lstm_lab.interop.import_hints import check_has_layers
from lstm_lab.interop.portable import FloatArray
from lstm_lab.models.recurrent import parameter_name
from lstm_lab.models.weights import weight_name
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.types import PyTree

# A key of a mapping: all layers of the stack.
STACK = "lstm"


def parameter_shapes(spec: RunSpec) -> PyTree:
    """Returns the shapes of a model's parameters; nothing is computed.

    Args:
      spec: the spec of the model.

    Example:
      parameter_shapes(spec)["head"]["bias"].shape  # (C,)
    """
    return jax.eval_shape(TrainStep(spec, 1).init, member_of(spec, 1)).params


def shapes_by_name(spec: RunSpec) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's parameters by our names, such as `lstm/layer_0/wx`.

    Args:
      spec: the spec of the model.

    Example:
      shapes_by_name(load_spec("adding:lstm"))["head/bias"]  # (1,)
    """
    leaves = jax.tree_util.tree_leaves_with_path(parameter_shapes(spec))
    return {weight_name(path): leaf.shape for path, leaf in leaves}


def zero_weights(spec: RunSpec) -> dict[str, dict[str, FloatArray]]:
    """Returns zeros with the shapes of a model's weights, by part and name.

    Args:
      spec: the spec of a model with one stack.

    Raises:
      UserError: for a translation, which has two stacks and an attention.

    Example:
      zero_weights(spec)["lstm/layer_0"]["wx"].shape  # (D, 4, H)
    """
    check_one_stack(spec)
    params: dict[str, Any] = jax.tree.map(
        lambda a: np.zeros(a.shape, np.float32), parameter_shapes(spec)
    )
    layers = {f"lstm/{name}": weights for name, weights in params["lstm"].items()}
    tied = (
        {"kernel": params["embed"]["embedding"].T, "bias": params["bias"]}
        if "bias" in params
        else None
    )
    parts = {"embed": params.get("embed"), "head": tied or params["head"]}
    return layers | {name: weights for name, weights in parts.items() if weights is not None}


def check_one_stack(spec: RunSpec) -> None:
    """Raises UserError for a translation, which has two stacks.

    Args:
      spec: the spec of the model.

    Example:
      check_one_stack(load_spec("adding:lstm"))
    """
    if spec.task.source_vocabulary is not None:
        raise UserError(
            "import: a translation model has an encoder, a decoder and an attention, expected a "
            "model with one stack"
        )


def layer_parts(spec: RunSpec) -> list[list[str]]:
    """Returns the parts of the stack, by layer and direction.

    Args:
      spec: the spec of the model.

    Example:
      layer_parts(spec)  # [["lstm/layer_0", "lstm/layer_0_reverse"]]
    """
    directions = (False, True)[: 1 + spec.model.bidirectional]
    return [
        [f"lstm/{parameter_name(number, reverse)}" for reverse in directions]
        for number in range(len(spec.model.layer_widths))
    ]


def choose_layers(
    framework: str,
    file: ForeignFile,
    layers: Sequence[str],
    cells: Sequence[str],
    mapping: Mapping[str, str],
) -> dict[str, str]:
    """Returns what a file has for each layer of the stack: by the user's words, else in order.

    Args:
      framework: the framework of the reader, for errors.
      file: the file.
      layers: the parts of the stack.
      cells: the recurrent layers of the file, in their order.
      mapping: what the user says; `lstm` has a module whose layers alone count.

    Returns:
      Names of the file by part, without parts that the user leaves out.

    Raises:
      UserError: if the file has no layer, or another number of layers.

    Example:
      choose_layers("keras", file, ["lstm/layer_0"], ["layers/lstm"], {})
    """
    chosen = {layer: mapping[layer] for layer in layers if layer in mapping}
    open_layers = [layer for layer in layers if layer not in chosen]
    if mapping.get(STACK) == "":
        open_layers = []
    if open_layers:
        names = list(file.tensors)
        check_has_layers(framework, file.path, cells, names, file.shapes_text(names))
    rest = [cell for cell in cells_in(cells, mapping) if cell not in chosen.values()]
    if open_layers and len(rest) != len(open_layers):
        advice = f"--map={open_layers[-1]}= leaves one of the model out"
        if len(rest) > len(open_layers):
            advice = f"--map={open_layers[0]}={rest[0]} chooses one"
        raise UserError(
            f"import: {file.path}: the number of recurrent layers is {len(rest)} "
            f"({', '.join(rest) or 'none'}), expected {len(open_layers)} because "
            f"of model.layers and model.bidirectional; {advice}"
        )
    chosen |= dict(zip(open_layers, rest, strict=False))
    return {layer: name for layer, name in chosen.items() if name}


def cells_in(cells: Sequence[str], mapping: Mapping[str, str]) -> list[str]:
    """Returns the recurrent layers that lie in the module that the user names for the stack.

    Args:
      cells: the recurrent layers of a file.
      mapping: what the user says; `.` is the top level.

    Example:
      cells_in(["a.l0", "b.l0"], {"lstm": "a"})  # ["a.l0"]
    """
    match mapping.get(STACK, ""):
        case "":
            return list(cells)
        case ".":
            return [cell for cell in cells if not modules_with(cell)]
        case module:
            return [cell for cell in cells if module in (cell, *modules_with(cell))]


def choose_one(
    path: Path, part: str, candidates: Sequence[str], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Returns what a file has for the embedding or the head.

    Args:
      path: the file.
      part: the part of the model.
      candidates: what the file has of its kind.
      mapping: what the user says.

    Returns:
      The name of the file by part; empty if the user leaves the part out.

    Raises:
      UserError: if there is none, or if there are several and the user does not say which one.

    Example:
      choose_one(path, "head", ["layers/dense"], {})  # {"head": "layers/dense"}
    """
    if part in mapping:
        return {part: mapping[part]} if mapping[part] else {}
    if len(candidates) == 1:
        return {part: candidates[0]}
    name = candidates[-1] if candidates else "NAME"
    raise UserError(
        f"import: {path} has {', '.join(candidates) or 'nothing'} for {part}; "
        f"--map={part}={name} chooses one, --map={part}= leaves the part out"
    )


def check_mapping(mapping: Mapping[str, str], parts: Iterable[str], names: Iterable[str]) -> None:
    """Raises UserError for a part or a name that does not exist.

    Args:
      mapping: what the user says; an empty name leaves a part out.
      parts: the parts of the model.
      names: the modules of the file.

    Example:
      check_mapping({"head": "layers/dense_1"}, ["lstm/layer_0", "head"], groups)
    """
    known, names = [STACK, *parts, IGNORE], list(names)
    for part, name in mapping.items():
        if part not in known:
            raise unknown("--map", part, known)
        # `lstm=.` is the top level.
        if name and part != IGNORE and name not in names and (part, name) != (STACK, "."):
            raise unknown(f"--map={part}", name, names)


def needs_tied_head(spec: RunSpec, parts: Container[str], mapping: Mapping[str, str]) -> bool:
    """Returns whether a model takes the matrix of its head from the embedding of a file.

    Args:
      spec: the spec of the model.
      parts: the parts that were read.
      mapping: what the user says.

    Example:
      needs_tied_head(spec, {"lstm/layer_0", "embed"}, {"head": ""})  # False
    """
    is_read = "embed" in parts and "head" not in parts
    return spec.model.tied and is_read and mapping.get("head") != ""


def named_result(
    spec: RunSpec, path: Path, parts: Mapping[str, Mapping[str, FloatArray]]
) -> dict[str, FloatArray]:
    """Returns the weights of all parts by their whole names, such as `head/kernel`.

    Args:
      spec: the spec of the model.
      path: the file, for errors.
      parts: weights by part and name, of the shapes of `zero_weights`.

    Raises:
      UserError: if head and embedding differ although the model ties them.

    Example:
      named_result(spec, path, {"head": {"kernel": kernel, "bias": bias}})
    """
    named = {
        f"{part}/{name}": array
        for part, weights in parts.items()
        for name, array in weights.items()
    }
    if spec.model.tied and "head" in parts:
        kernel, bias = named.pop("head/kernel"), named.pop("head/bias")
        embedding = named.get("embed/embedding")
        if embedding is not None and not np.array_equal(kernel.T, embedding):
            raise UserError(
                f"import: the head of {path} differs from its embedding, expected the same matrix "
                "because model.tied is true"
            )
        named["bias"] = bias
    return named


def natural_order(name: str) -> list[int | str]:
    """Returns a key that sorts `lstm_2` before `lstm_10`.

    Args:
      name: a name.

    Example:
      sorted(["lstm_10", "lstm", "lstm_2"], key=natural_order)
    """
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]

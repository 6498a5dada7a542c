"""What the readers of Keras and Flax weights share: the parts of a model, and checks of arrays.

In: the spec of the model that takes the weights, and what a file has. Out: which part of the file
belongs to which part of the model, and arrays of the expected shapes. A part is `embed`, `head`, or
a layer of the stack such as `lstm/layer_0`. Read import_hints.py next: what an error suggests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.interop.portable import FloatArray
from lstm_lab.models.recurrent import parameter_name
from lstm_lab.models.weights import weight_name
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.types import PyTree

# A key of a mapping that is no part of a model: what is not read.
IGNORE = "ignore"


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
    if spec.task.source_vocabulary is not None:
        raise UserError(
            "import: a translation model has an encoder, a decoder and an attention, expected a "
            "model with one stack"
        )
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


def is_ignored(name: str, mapping: Mapping[str, str]) -> bool:
    """Returns whether the user says that a name of a file is not read.

    Args:
      name: the name of a tensor, a group or a module.
      mapping: what the user says; `ignore` has names, separated by colons; `*` is a wildcard.

    Example:
      is_ignored("layers/dense_1", {"ignore": "layers/dense_*:layers/norm"})  # True
    """
    return any(fnmatch(name, pattern) for pattern in mapping.get(IGNORE, "").split(":"))


def choose_layers(
    path: Path, layers: Sequence[str], cells: Sequence[str], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Returns what a file has for each layer of the stack, in their order.

    Args:
      path: the file.
      layers: the parts of the stack.
      cells: the recurrent layers of the file.
      mapping: what the user says; what it names is not chosen again.

    Raises:
      UserError: if the file has another number of layers.

    Example:
      choose_layers(path, ["lstm/layer_0"], ["layers/lstm"], {})
    """
    open_layers = [layer for layer in layers if layer not in mapping]
    rest = [name for name in cells if name not in mapping.values()]
    if open_layers and rest and len(rest) != len(open_layers):
        advice = f"--map=ignore={rest[-1]} leaves one of the file out"
        if len(rest) < len(open_layers):
            advice = f"--map={open_layers[-1]}= leaves one of the model out"
        raise UserError(
            f"import: {path} has the recurrent layers {', '.join(rest)}, expected "
            f"{len(open_layers)} because of model.layers and model.bidirectional; {advice}"
        )
    return dict(zip(open_layers, rest, strict=False))


def choose_one(
    path: Path, part: str, candidates: Sequence[str], mapping: Mapping[str, str]
) -> dict[str, str]:
    """Returns what a file has for the embedding or the head.

    Args:
      path: the file.
      part: the part of the model.
      candidates: what the file has of its kind.
      mapping: what the user says.

    Raises:
      UserError: if there are several, and the user does not say which one it is.

    Example:
      choose_one(path, "head", ["layers/dense"], {})  # {"head": "layers/dense"}
    """
    if part in mapping or not candidates:
        return {}
    if len(candidates) > 1:
        raise UserError(
            f"import: {path} has {', '.join(candidates)} for {part}; "
            f"--map={part}={candidates[-1]} chooses one, --map={part}= leaves the part out"
        )
    return {part: candidates[0]}


def check_mapping(mapping: Mapping[str, str], parts: Iterable[str], names: Iterable[str]) -> None:
    """Raises UserError for a part or a name that does not exist.

    Args:
      mapping: what the user says; an empty name leaves a part out.
      parts: the parts of the model.
      names: the names that the file has.

    Example:
      check_mapping({"head": "layers/dense_1"}, ["lstm/layer_0", "head"], groups)
    """
    parts, names = list(parts), list(names)
    for part, name in mapping.items():
        if part not in (*parts, IGNORE):
            raise unknown("--map", part, [*parts, IGNORE])
        if name and part != IGNORE and name not in names:
            raise unknown(f"--map={part}", name, names)


def assign_parts(found: Mapping[str, str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Returns for each part of a model the name of what a file has for it.

    Args:
      found: what was found without the user's help.
      mapping: what the user says; an empty name leaves a part out.

    Example:
      assign_parts({"head": "layers/dense"}, {"head": "layers/dense_1"})
    """
    assigned = {**found, **mapping}
    return {part: name for part, name in assigned.items() if name and part != IGNORE}


def check_shape(
    path: Path, tensor: str, got: Sequence[int], expected: Sequence[int], hint: str = ""
) -> None:
    """Raises UserError if a tensor of a file has another shape than the model expects.

    Args:
      path: the file.
      tensor: name of the tensor.
      got, expected: the two shapes.
      hint: what the user can do, as `import_hints.shape_hint` returns it.

    Example:
      check_shape(path, "layers/dense/vars/0 (kernel)", (8, 3), (8, 3))
    """
    if tuple(got) != tuple(expected):
        raise UserError(
            f"import: {tensor} of {path} has the shape {list(got)}, expected {list(expected)}{hint}"
        )


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
        if not np.array_equal(kernel.T, named.get("embed/embedding", np.zeros(0))):
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

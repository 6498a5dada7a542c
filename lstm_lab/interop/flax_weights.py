"""Weights of Flax Linen in the names and layouts of lstm_lab, and back.

    lstm_lab                             Flax
    wx [D,4,H], wh, b (i f o g)          ii, if, ig, io {kernel}, hi, hf, hg, ho {kernel, bias}
    wx [D,3,H], wh, b (r z n), bn        ir, iz, in {kernel, bias}, hr, hz {kernel},
                                         hn {kernel, bias}
    wx [D,1,H], wh, b                    i {kernel, bias}, h {kernel}

In: a file of parameters, msgpack or safetensors, and the spec of a model. Out: its weights by our
names, such as `lstm/layer_0/wx`. Neither format holds code. Read imported.py next: what the
readers of Keras and Flax share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization, traverse_util

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.framework_cells import FrameworkCell, importable_cell
from lstm_lab.interop.import_hints import (
    check_gates,
    check_something_read,
    format_hint,
    shape_hint,
)
from lstm_lab.interop.imported import (
    assign_parts,
    check_mapping,
    check_shape,
    choose_layers,
    choose_one,
    is_ignored,
    layer_parts,
    named_result,
    natural_order,
    zero_weights,
)
from lstm_lab.interop.portable import FloatArray
from lstm_lab.utils.errors import UserError

# Our order of gates; Flax names its weights by the same letters.
_GATES: dict[FrameworkCell, tuple[str, ...]] = {
    "lstm": ("i", "f", "o", "g"),
    "gru": ("r", "z", "n"),
    "rnn": ("",),
}
# Where Flax has the biases of our `b`: with the recurrent product, or with that of the input.
_BIAS_SIDE: dict[FrameworkCell, str] = {"lstm": "h", "gru": "i", "rnn": "i"}


def to_flax(cell: FrameworkCell, params: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Returns the weights of a layer as Flax' cell names them: `ii/kernel`, `hi/bias`, ...

    Args:
      cell: lstm, gru or rnn.
      params: our arrays `wx`, `wh`, `b`, and `bn` of a GRU.

    Example:
      to_flax("gru", params)["hn/bias"]
    """
    named = {}
    for k, gate in enumerate(_GATES[cell]):
        named[f"i{gate}/kernel"] = params["wx"][:, k]
        named[f"h{gate}/kernel"] = params["wh"][:, k]
        named[f"{_BIAS_SIDE[cell]}{gate}/bias"] = params["b"][k]
    return named | ({"hn/bias": params["bn"]} if cell == "gru" else {})


def from_flax(cell: FrameworkCell, named: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Returns our arrays for the weights of Flax' cell: the inverse of `to_flax`.

    Args:
      cell: lstm, gru or rnn.
      named: arrays by the names that `to_flax` gives.

    Example:
      from_flax("lstm", named)["wx"].shape  # (D, 4, H)
    """
    gates, side = _GATES[cell], _BIAS_SIDE[cell]
    params = {
        "wx": np.stack([named[f"i{gate}/kernel"] for gate in gates], 1),
        "wh": np.stack([named[f"h{gate}/kernel"] for gate in gates], 1),
        "b": np.stack([named[f"{side}{gate}/bias"] for gate in gates]),
    }
    return params | ({"bn": named["hn/bias"]} if cell == "gru" else {})


def import_weights(
    path: Path, spec: RunSpec, mapping: Mapping[str, str] | None = None
) -> dict[str, FloatArray]:
    """Reads the parameters of a module of Flax Linen.

    The cells of the stack are those modules whose weights have the names of the cell. They are
    matched in the order of their numbers; with both directions, forward and backward alternate. A
    single Embed and a single Dense belong to embedding and head.

    Args:
      path: parameters as `flax.serialization.msgpack_serialize` writes them, or a safetensors file
        whose names are paths with `/` or `.`.
      spec: the spec of the model that takes the weights.
      mapping: modules of the file by part of the model, where the order does not say it:
        `{"lstm/layer_0_reverse": "backward/cell"}`; an empty name leaves a part out, and `ignore`
        has modules that are not read.

    Returns:
      float32 arrays by our names. Parts that the file lacks are missing.

    Raises:
      UserError: for a file of another kind, a cell that Flax lacks, another number of layers,
        several modules for a part, another shape, or if nothing of the model is in the file.

    Example:
      import_weights(Path("params.msgpack"), spec)["lstm/layer_0/wx"].shape
    """
    cell = importable_cell(resolve_cell(spec.model), "Flax")
    if cell == "gru_reset_before":
        raise UserError(
            "import: Flax has no GRU with the reset before the product, expected reset='after'"
        )
    mapping = mapping or {}
    arrays = _read(path)
    zeros = zero_weights(spec)
    parts = {
        name: to_flax(cell, weights) if name.startswith("lstm/") else dict(weights)
        for name, weights in zeros.items()
    }
    layers = [part for directions in layer_parts(spec) for part in directions]
    check_mapping(mapping, parts, _modules(arrays))
    held = _held_names(arrays, mapping)
    kinds = _cells(held)
    cells = sorted((module for module, kind in kinds.items() if kind == cell), key=_forward_first)
    if not cells and any(mapping.get(layer) != "" for layer in layers):
        for module, kind in kinds.items():
            check_gates(path, module, (len(_GATES[kind]), 1), len(_GATES[cell]))
    found = choose_layers(path, layers, cells, mapping)
    for part, names in (("embed", {"embedding"}), ("head", {"kernel", "bias"})):
        if part in parts and not (part == "head" and spec.model.tied and "bias" in arrays):
            same = [m for m in held if held[m] == names and _parent(m) not in kinds]
            found |= choose_one(path, part, same, mapping)
    if spec.model.tied and "bias" in arrays and "embed" in found:
        # The bias of a tied head stands next to the embedding.
        kernel = arrays[f"{found['embed']}/embedding"].T
        arrays |= {"head/kernel": kernel, "head/bias": arrays["bias"]}
        found["head"] = "head"
    assigned = assign_parts(found, mapping)
    read = {}
    for part, module in assigned.items():
        taken = dict(_taken(spec, path, arrays, module, part, parts[part]))
        read[part] = from_flax(cell, taken) if part.startswith("lstm/") else taken
    check_something_read("flax", path, read, list(arrays))
    return named_result(spec, path, read)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their paths."""
    if path.suffix == ".safetensors":
        named = _read_safetensors(path)
    else:
        try:
            tree = serialization.msgpack_restore(path.read_bytes())
            named = traverse_util.flatten_dict(tree, sep="/")
        # msgpack and Flax raise many kinds of errors for data of another kind.
        except Exception as error:
            raise _unreadable(path, error) from None
    # A file may hold all variables of a module; its weights are in the collection `params`.
    inner = {name.removeprefix("params/"): array for name, array in named.items()}
    return {name: array for name, array in inner.items() if isinstance(array, np.ndarray)}


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"import: {path} cannot be read, expected parameters of Flax as msgpack or safetensors: "
        f"{reason}{format_hint('flax', path)}"
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise UserError(
            "import of safetensors needs the package: pip install 'lstm-lab[interop]'"
        ) from None
    try:
        return {name.replace(".", "/"): array for name, array in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def _modules(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the paths of all modules, also of those that hold others."""
    paths = {""}
    for name in arrays:
        names = name.split("/")
        paths |= {"/".join(names[:k]) for k in range(1, len(names))}
    return sorted(paths - {""}, key=natural_order)


def _held_names(
    arrays: Mapping[str, np.ndarray], mapping: Mapping[str, str]
) -> dict[str, set[str]]:
    """Returns the names of the arrays inside of each module, without modules that are ignored."""
    return {
        module: {n.removeprefix(f"{module}/") for n in arrays if n.startswith(f"{module}/")}
        for module in _modules(arrays)
        if not is_ignored(module, mapping)
    }


def _cells(held: Mapping[str, set[str]]) -> dict[str, FrameworkCell]:
    """Returns the modules that are cells, with their kind, by the names of their weights."""
    kinds: dict[frozenset[str], FrameworkCell] = {}
    for kind, gates in _GATES.items():
        zeros = {name: np.zeros((1, len(gates), 1), np.float32) for name in ("wx", "wh")}
        zeros |= {"b": zeros["wx"][0], "bn": zeros["wx"][0, 0]}
        kinds[frozenset(to_flax(kind, zeros))] = kind
    named = ((module, frozenset(names)) for module, names in held.items())
    return {module: kinds[names] for module, names in named if names in kinds}


def _forward_first(module: str) -> tuple[object, int]:
    """Returns a key that sorts modules by number, and forward before backward in each pair."""
    # By the alphabet, backward_rnn would stand before forward_rnn.
    backward = re.search(r"backward|reverse", module)
    return natural_order(re.sub(r"forward|backward|reversed?", "", module)), int(bool(backward))


def _parent(module: str) -> str:
    return module.rpartition("/")[0]


def _taken(
    spec: RunSpec,
    path: Path,
    arrays: Mapping[str, np.ndarray],
    module: str,
    part: str,
    expected: Mapping[str, FloatArray],
) -> Iterator[tuple[str, FloatArray]]:
    """Yields the arrays of a module with the expected names, float32."""
    for name, like in expected.items():
        tensor = f"{module}/{name}"
        if tensor not in arrays:
            raise UserError(f"import: {path} has no {tensor}, expected {list(like.shape)}")
        got = arrays[tensor].shape
        hint = shape_hint(spec, _axes(part, name), got, like.shape)
        check_shape(path, tensor, got, like.shape, hint)
        yield name, np.asarray(arrays[tensor], np.float32)


def _axes(part: str, name: str) -> tuple[str, ...]:
    """Returns what the axes of an array are."""
    match part, name:
        case "embed", _:
            return ("symbols", "embedding")
        case "head", "kernel":
            return ("features", "outputs")
        case "head", _:
            return ("outputs",)
        case _ if name.endswith("bias"):
            return ("hidden",)
    # `ii` multiplies the input, `hi` the old h.
    return ("inputs" if name.startswith("i") else "old hidden", "hidden")

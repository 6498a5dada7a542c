"""Weights of Flax Linen in the names and layouts of lstm_lab, and back.

    lstm_lab                             Flax
    wx [D,4,H], wh, b (i f o g)          ii, if, ig, io {kernel}, hi, hf, hg, ho {kernel, bias}
    wx [D,3,H], wh, b (r z n), bn        ir, iz, in {kernel, bias}, hr, hz {kernel},
                                         hn {kernel, bias}
    wx [D,1,H], wh, b                    i {kernel, bias}, h {kernel}

In: a file of parameters, msgpack or safetensors, and the spec of a model. Out: its weights by our
names, such as `lstm/layer_0/wx`. Neither format holds code. Read imported.py next: what the
three readers share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization, traverse_util

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.foreign_file import (
    ForeignFile,
    check_unique,
    fits_one,
    is_ignored,
    modules_with,
    read_safetensors_file,
    tensors_of,
)
from lstm_lab.interop.framework_cells import FrameworkCell, importable_cell
from lstm_lab.interop.import_hints import check_gates, shape_hint, unreadable
from lstm_lab.interop.imported import (
    STACK,
    check_mapping,
    choose_layers,
    choose_one,
    layer_parts,
    named_result,
    natural_order,
    needs_tied_head,
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

# What a train state holds beside `params`: no output depends on it.
_TRAINING_ONLY = ("opt_state/*", "step")


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
      float32 arrays by our names, without the parts that `mapping` leaves out.

    Raises:
      UserError: for a file of another kind, a cell that Flax lacks, another number of layers,
        no module or several for a part, another shape, or an array without a place in the model.

    Example:
      import_weights(Path("params.msgpack"), spec)["lstm/layer_0/wx"].shape
    """
    cell = importable_cell(resolve_cell(spec.model), "Flax", _GATES)
    mapping, zeros = mapping or {}, zero_weights(spec)
    parts = {
        name: to_flax(cell, weights) if name.startswith("lstm/") else dict(weights)
        for name, weights in zeros.items()
    }
    file = ForeignFile(path, tensors_of(_read(path, mapping)))
    modules = _modules(file)
    check_mapping(mapping, parts, modules)
    assigned = _find_parts(file, modules, cell, spec, mapping)
    read = {part: _take(file, spec, module, part, parts[part]) for part, module in assigned.items()}
    if needs_tied_head(spec, read, mapping):
        # The bias of a tied head stands next to the embedding.
        bias = file.take_or_zeros("bias", parts["head"]["bias"].shape, "bias")
        read["head"] = {"kernel": read["embed"]["embedding"].T, "bias": bias}
    file.check_all_taken()
    layers = {
        part: from_flax(cell, weights) if part.startswith("lstm/") else weights
        for part, weights in read.items()
    }
    return named_result(spec, path, layers)


def _read(path: Path, mapping: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by their paths, without those that are ignored."""

    def is_left_out(name: str) -> bool:
        # With `params/`: a module may have a parameter that is called `step`.
        whole = name.replace(".", "/")
        return fits_one(whole, _TRAINING_ONLY) or is_ignored(_path_of(name), mapping)

    if path.suffix == ".safetensors":
        leaves: list[tuple[str, Any]] = [*read_safetensors_file("flax", path, is_left_out).items()]
    else:
        leaves = [(name, leaf) for name, leaf in _read_msgpack(path) if not is_left_out(name)]
    named = [(_path_of(name), leaf) for name, leaf in leaves]
    check_unique(path, (name for name, _ in named))
    for name, leaf in named:
        if not isinstance(leaf, np.ndarray):
            raise UserError(
                f"import: {path}: {name} is of the type {type(leaf).__name__}, expected an array; "
                f"--map=ignore={name} leaves it out"
            )
    return dict(named)


def _path_of(name: str) -> str:
    """Returns the path of an array in the module: the weights are in the collection `params`."""
    return name.replace(".", "/").removeprefix("params/")


def _read_msgpack(path: Path) -> list[tuple[str, Any]]:
    """Returns the leaves of a file of Flax with their paths."""
    try:
        tree = serialization.msgpack_restore(path.read_bytes())
        return [("/".join(keys), leaf) for keys, leaf in traverse_util.flatten_dict(tree).items()]
    # msgpack and Flax raise many kinds of errors for data of another kind.
    except Exception as error:
        raise unreadable("flax", path, error) from None


def _modules(file: ForeignFile) -> list[str]:
    """Returns the paths of all modules, also of those that hold others."""
    modules = {module for name in file.tensors for module in modules_with(name)}
    return sorted(modules, key=natural_order)


def _find_parts(
    file: ForeignFile,
    modules: Sequence[str],
    cell: FrameworkCell,
    spec: RunSpec,
    mapping: Mapping[str, str],
) -> dict[str, str]:
    """Returns the modules of the parts of a model, by the names of their arrays."""
    held = {
        module: {n.removeprefix(f"{module}/") for n in file.tensors if n.startswith(f"{module}/")}
        for module in modules
    }
    layers = [part for directions in layer_parts(spec) for part in directions]
    kinds = _cells(held)
    cells = sorted((module for module, kind in kinds.items() if kind == cell), key=_forward_first)
    if not cells and mapping.get(STACK) != "" and any(mapping.get(part) != "" for part in layers):
        for module, kind in kinds.items():
            check_gates(file.path, module, (len(_GATES[kind]), 1), len(_GATES[cell]))
    found = choose_layers("flax", file, layers, cells, mapping)
    others = [module for module in modules if module.rpartition("/")[0] not in kinds]
    if spec.model.embedding is not None:
        same = [module for module in others if held[module] == {"embedding"}]
        found |= choose_one(file.path, "embed", same, mapping)
    same = [module for module in others if held[module] in ({"kernel", "bias"}, {"kernel"})]
    has_no_head = spec.model.tied and ("bias" in file.tensors or not same)
    if "head" in mapping or not has_no_head:
        found |= choose_one(file.path, "head", same, mapping)
    return found


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


def _take(
    file: ForeignFile, spec: RunSpec, module: str, part: str, expected: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Returns the arrays of a module with the expected names and shapes."""
    arrays = {}
    for name, like in expected.items():
        tensor = f"{module}/{name}"
        hint = shape_hint(spec, _axes(part, name), file.shape(tensor) or (), like.shape)
        # A Dense may have no bias; a cell always has those that are expected.
        take = file.take_or_zeros if (part, name) == ("head", "bias") else file.take
        arrays[name] = take(tensor, like.shape, part, hint)
    return arrays


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

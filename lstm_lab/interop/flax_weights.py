"""Weights of Flax Linen in the names and layouts of lstm_lab, and back.

    lstm_lab                             Flax
    wx [D,4,H], wh, b (i f o g)          ii, if, ig, io {kernel}, hi, hf, hg, ho {kernel, bias}
    wx [D,3,H], wh, b (r z n), bn        ir, iz, in {kernel, bias}, hr, hz {kernel},
                                         hn {kernel, bias}
    wx [D,1,H], wh, b                    i {kernel, bias}, h {kernel}

In: a file of parameters, msgpack or safetensors, and the spec of a model. Out: its weights by our
names, such as `lstm/layer_0/wx`. Neither format holds code. Read imported.py next: what all readers
share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import serialization, traverse_util

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.framework_cells import FrameworkCell, importable_cell
from lstm_lab.interop.imported import (
    assign_parts,
    check_shape,
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
        `{"lstm/layer_0_reverse": "backward/cell"}`; an empty name leaves a part out.

    Returns:
      float32 arrays by our names. Parts that the file lacks are missing.

    Raises:
      UserError: for a file of another kind, a cell that Flax lacks, another number of layers, or
        another shape.

    Example:
      import_weights(Path("params.msgpack"), spec)["lstm/layer_0/wx"].shape
    """
    cell = importable_cell(resolve_cell(spec.model), "Flax")
    if cell == "gru_reset_before":
        raise UserError(
            "import: Flax has no GRU with the reset before the product, expected reset='after'"
        )
    arrays = _read(path)
    zeros = zero_weights(spec)
    parts = {
        name: to_flax(cell, weights) if name.startswith("lstm/") else dict(weights)
        for name, weights in zeros.items()
    }
    layers = [part for directions in layer_parts(spec) for part in directions]
    found = _find_parts(path, arrays, parts[layers[0]], layers)
    if spec.model.tied and "bias" in arrays and "embed" in found:
        # The bias of a tied head lies beside the embedding.
        kernel = arrays[f"{found['embed']}/embedding"].T
        arrays |= {"head/kernel": kernel, "head/bias": arrays["bias"]}
        found["head"] = "head"
    assigned = assign_parts(found, mapping or {}, parts, _modules(arrays))
    read = {}
    for part, module in assigned.items():
        taken = dict(_taken(path, arrays, module, parts[part]))
        read[part] = from_flax(cell, taken) if part.startswith("lstm/") else taken
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
        f"{reason}"
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


def _find_parts(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    cell: Mapping[str, FloatArray],
    layers: list[str],
) -> dict[str, str]:
    """Returns the modules of the parts of a model, by the names of their weights.

    Args:
      path: the file.
      arrays: its arrays by path.
      cell: the weights that a cell has, by name.
      layers: the parts of the stack, in the order of layers and directions.
    """
    held: dict[str, set[str]] = {module: set() for module in _modules(arrays)}
    for module in held:
        held[module] = {n.removeprefix(f"{module}/") for n in arrays if n.startswith(f"{module}/")}
    cells = [module for module, names in held.items() if names == set(cell)]
    if cells and len(cells) != len(layers):
        raise UserError(
            f"import: {path} has the recurrent cells {', '.join(cells)}, expected {len(layers)}; "
            "name them in the mapping"
        )
    found = dict(zip(layers, cells, strict=False))
    for part, weights in (("embed", {"embedding"}), ("head", {"kernel", "bias"})):
        same = [m for m, names in held.items() if names == weights and _parent(m) not in cells]
        if len(same) == 1:
            found[part] = same[0]
    return found


def _parent(module: str) -> str:
    return module.rpartition("/")[0]


def _taken(
    path: Path, arrays: Mapping[str, np.ndarray], module: str, expected: Mapping[str, FloatArray]
) -> Iterator[tuple[str, FloatArray]]:
    """Yields the arrays of a module with the expected names, float32."""
    for name, like in expected.items():
        tensor = f"{module}/{name}"
        if tensor not in arrays:
            raise UserError(f"import: {path} has no {tensor}, expected {list(like.shape)}")
        check_shape(path, tensor, arrays[tensor].shape, like.shape)
        yield name, np.asarray(arrays[tensor], np.float32)

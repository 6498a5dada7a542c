"""Weights of Keras 3 in the names and layouts of lstm_lab, and back.

    lstm_lab  wx [D,4,H] i f o g          Keras  kernel [D,4H] i f c o
    lstm_lab  wx [D,3,H] r z n, bn [H]    Keras  kernel [D,3H] z r h, bias [2,3H] or [3H]

In: a `.keras` or `.weights.h5` file and the spec of a model. Out: its weights by our names, such as
`lstm/layer_0/wx`. The file is read as arrays: no layer of it is built, so nothing of it runs. Read
imported.py next: what all readers share.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.framework_cells import (
    FrameworkCell,
    framework_cell,
    importable_cell,
    reorder_gates,
)
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
from lstm_lab.utils.types import JSON

# Our order of gates and that of Keras; the letter g stands for Keras' c, n for its h.
_ORDERS: dict[FrameworkCell, tuple[str, str]] = {
    "lstm": ("ifog", "ifgo"),
    "gru": ("rzn", "zrn"),
    "gru_reset_before": ("rzn", "zrn"),
    "rnn": ("h", "h"),
}
_NAMES = ("kernel", "recurrent_kernel", "bias")


def to_keras(cell: FrameworkCell, params: Mapping[str, FloatArray]) -> list[FloatArray]:
    """Returns the weights of a layer as Keras' cell holds them: kernel, recurrent kernel, bias.

    Args:
      cell: the kind of cell.
      params: our arrays `wx`, `wh`, `b`, and `bn` of a GRU.

    Example:
      layers.LSTM(16).cell.set_weights(to_keras("lstm", params))
    """
    arrays = [reorder_gates(params[name], *_ORDERS[cell]) for name in ("wx", "wh", "b")]
    kernel, recurrent, bias = (a.reshape(*a.shape[:-2], -1) for a in arrays)
    if cell == "gru":
        second = np.zeros_like(bias)
        second[-params["bn"].size :] = params["bn"]
        bias = np.stack([bias, second])
    return [kernel, recurrent, bias]


def from_keras(cell: FrameworkCell, arrays: Sequence[FloatArray]) -> dict[str, FloatArray]:
    """Returns our arrays for the weights of Keras' cell: the inverse of `to_keras`.

    Args:
      cell: the kind of cell.
      arrays: kernel, recurrent kernel, bias.

    Example:
      from_keras("lstm", layers.LSTM(16).cell.get_weights())["wx"].shape  # (D, 4, 16)
    """
    ours, theirs = _ORDERS[cell]
    kernel, recurrent, bias = arrays
    params = {}
    if cell == "gru":
        # The biases of z and r are added to those of the input; that of h is inside the reset.
        H = bias.shape[1] // 3
        params["bn"] = bias[1, 2 * H :]
        bias = np.concatenate([bias[0, : 2 * H] + bias[1, : 2 * H], bias[0, 2 * H :]])
    for name, array in (("wx", kernel), ("wh", recurrent), ("b", bias)):
        split = array.reshape(*array.shape[:-1], len(theirs), -1)
        params[name] = reorder_gates(split, theirs, ours)
    return params


def import_weights(
    path: Path, spec: RunSpec, mapping: Mapping[str, str] | None = None
) -> dict[str, FloatArray]:
    """Reads the weights of a model of Keras.

    Layers of the stack are matched in the order of their numbers (`lstm`, `lstm_1`, ...), a single
    Embedding and a single Dense with embedding and head.

    Args:
      path: a `.keras` or `.weights.h5` file of Keras 3.
      spec: the spec of the model that takes the weights.
      mapping: groups of the file by part of the model, where the order does not say it:
        `{"head": "layers/dense_1"}`; an empty name leaves a part out.

    Returns:
      float32 arrays by our names. Parts that the file lacks are missing.

    Raises:
      UserError: for a file of another kind, a cell that Keras lacks, another number of layers, or
        another shape.

    Example:
      import_weights(Path("model.keras"), spec)["lstm/layer_0/wx"].shape
    """
    cell = importable_cell(resolve_cell(spec.model), "Keras")
    zeros, layers = zero_weights(spec), layer_parts(spec)
    # Both directions of a layer are one group of a file.
    parts = [name for name in zeros if not name.endswith("_reverse")]
    with _open(path, spec) as file:
        groups = _groups(path, file)
        found = _find_parts(path, groups, len(layers))
        assigned = assign_parts(found, mapping or {}, parts, groups)
        read: dict[str, dict[str, FloatArray]] = {}
        for directions in layers:
            if directions[0] not in assigned:
                continue
            for part, place in zip(directions, _places(spec), strict=True):
                expected = to_keras(cell, zeros[part])
                group = f"{assigned[directions[0]]}{place}/cell/vars"
                read[part] = from_keras(cell, _arrays(path, file, group, expected, _NAMES))
        for part, names in (("embed", ("embedding",)), ("head", ("kernel", "bias"))):
            if part in assigned and part in zeros:
                expected = [zeros[part][name] for name in names]
                arrays = _arrays(path, file, f"{assigned[part]}/vars", expected, names)
                read[part] = dict(zip(names, arrays, strict=True))
    return named_result(spec, path, read)


def _places(spec: RunSpec) -> tuple[str, ...]:
    """Returns where the cells of a layer's directions lie within its group."""
    return ("/forward_layer", "/backward_layer") if spec.model.bidirectional else ("",)


@contextmanager
def _open(path: Path, spec: RunSpec) -> Iterator[Any]:
    """Opens the HDF5 file of a model; of a `.keras` file also the settings are checked."""
    try:
        import h5py
    except ImportError:
        raise UserError("import from Keras needs h5py: pip install 'lstm-lab[peers]'") from None
    try:
        if not zipfile.is_zipfile(path):
            with h5py.File(path, "r") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            _check_settings(path, json.loads(archive.read("config.json")), spec)
            with archive.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
                yield file
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"import: {path} cannot be read, expected a .keras or .weights.h5 file of Keras 3: "
            f"{reason}"
        ) from None


def _check_settings(path: Path, config: JSON, spec: RunSpec) -> None:
    """Raises UserError for layers that compute something else than ours."""
    expected: dict[str, JSON] = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    expected["reset_after"] = framework_cell(resolve_cell(spec.model)) != "gru_reset_before"
    if not spec.model.bidirectional:
        expected["go_backwards"] = False
    modes = {"concat": "concat", "sum": "sum", "mean": "ave", "product": "mul"}
    for layer in _layers(config):
        kind, settings = layer["class_name"], layer["config"]
        for name, value in expected.items():
            got = settings.get(name, value)
            if kind in ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell") and (
                got != value
            ):
                raise UserError(
                    f"import: {name} of {settings.get('name')} in {path} is {got!r}, "
                    f"expected {value!r}"
                )
        mode = modes[spec.model.merge]
        if kind == "Bidirectional" and settings.get("merge_mode") != mode:
            raise UserError(
                f"import: merge_mode of {settings.get('name')} in {path} is "
                f"{settings.get('merge_mode')!r}, expected {mode!r} because model.merge is "
                f"{spec.model.merge}"
            )


def _layers(config: JSON) -> Iterator[dict[str, JSON]]:
    """Returns all objects of a saved configuration that describe a layer."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            yield config
        for value in config.values():
            yield from _layers(value)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value)


def _groups(path: Path, file: Any) -> list[str]:
    """Returns the names of the layers of a file, also of layers inside of others."""
    names: list[str] = []

    def visit(prefix: str, group: Any) -> None:
        for name in group:
            # A link could lead to a file of the reader's machine.
            if type(group.get(name, getlink=True)).__name__ != "HardLink":
                raise UserError(f"import: {prefix}{name} of {path} is a link, expected an array")
            inner = group.get(name)
            if name != "vars" and hasattr(inner, "keys"):
                names.append(f"{prefix}{name}")
                visit(f"{prefix}{name}/", inner)

    visit("", file)
    return sorted(names, key=natural_order)


def _find_parts(path: Path, groups: Sequence[str], layers: int) -> dict[str, str]:
    """Returns the groups of the parts of a model, by the names that Keras gives to layers."""
    names = [name for name in groups if name.startswith("layers/") and name.count("/") == 1]
    recurrent = [
        name for name in names if {f"{name}/cell", f"{name}/forward_layer/cell"} & set(groups)
    ]
    kinds = {name.rstrip("_0123456789") for name in recurrent}
    found = {}
    if recurrent and (len(recurrent) != layers or len(kinds) > 1):
        raise UserError(
            f"import: {path} has the recurrent layers {', '.join(recurrent)}, expected {layers} of "
            "one kind; name them in the mapping"
        )
    found = {f"lstm/layer_{k}": name for k, name in enumerate(recurrent)}
    for part, kind in (("embed", "layers/embedding"), ("head", "layers/dense")):
        same = [name for name in names if name.rstrip("_0123456789") == kind]
        if len(same) == 1:
            found[part] = same[0]
    return found


def _arrays(
    path: Path, file: Any, group: str, expected: Sequence[FloatArray], names: Sequence[str]
) -> list[FloatArray]:
    """Returns the arrays of a group; a bias that the layer does not have is zero."""
    if group not in file:
        raise UserError(f"import: {path} has no {group}, expected {', '.join(names)} in it")
    stored = [file[group][key] for key in sorted(file[group], key=natural_order)]
    arrays = []
    for number, (name, like) in enumerate(zip(names, expected, strict=True)):
        if number == len(stored) and name == "bias":
            arrays.append(np.zeros_like(like))
            continue
        if number >= len(stored):
            raise UserError(f"import: {path} has no {name} in {group}")
        dataset = stored[number]
        check_shape(path, f"{group}/{number} ({name})", dataset.shape, like.shape)
        # Data in another file would be read from the reader's machine.
        if dataset.external or dataset.dtype.kind != "f":
            raise UserError(
                f"import: {group}/{number} ({name}) of {path} is {dataset.dtype}, expected "
                "floating-point numbers inside the file"
            )
        arrays.append(np.asarray(dataset[()], np.float32))
    return arrays

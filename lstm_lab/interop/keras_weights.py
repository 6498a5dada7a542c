"""Weights of Keras 3 in the names and layouts of lstm_lab, and back.

    lstm_lab  wx [D,4,H] i f o g          Keras  kernel [D,4H] i f c o
    lstm_lab  wx [D,3,H] r z n, bn [H]    Keras  kernel [D,3H] z r h, bias [2,3H] or [3H]

In: a `.keras` or `.weights.h5` file and the spec of a model. Out: its weights by our names, such as
`lstm/layer_0/wx`. The file is read as arrays: no layer of it is built, so no code from the file is
executed. Read imported.py next: what the three readers share.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.foreign_file import (
    ForeignFile,
    StoredTensor,
    check_unique,
    fits_one,
    is_ignored,
    modules_with,
)
from lstm_lab.interop.framework_cells import (
    FrameworkCell,
    framework_cell,
    importable_cell,
    reorder_gates,
)
from lstm_lab.interop.import_hints import (
    FORMATS,
    check_gates,
    safetensors_names,
    shape_hint,
    unreadable,
)
from lstm_lab.interop.imported import (
    STACK,
    cells_in,
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
from lstm_lab.utils.types import JSON

# Our order of gates and that of Keras; the letter g stands for Keras' c, n for its h.
_ORDERS: dict[FrameworkCell, tuple[str, str]] = {
    "lstm": ("ifog", "ifgo"),
    "gru": ("rzn", "zrn"),
    "gru_reset_before": ("rzn", "zrn"),
    "rnn": ("h", "h"),
}
# What zipfile, zlib, json and h5py raise for a damaged, encrypted or deeply nested file.
_UNREADABLE = (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Keras stores without compression. Numbers of weights hardly get smaller, settings a few times.
_EXPANSION, _SMALL = 20, 1 << 20
# States of the optimizer, of metrics and of random generators, which no output depends on.
_TRAINING_ONLY = ("optimizer/*", "metrics/*", "*seed_generator*")
# The arrays of a cell, of the embedding and of the head in the order of Keras, with their axes.
_Axes = Mapping[str, tuple[str, ...]]
_CELL_AXES: dict[FrameworkCell, _Axes] = {
    cell: {
        "kernel": ("inputs", f"{len(order)} x hidden"),
        "recurrent_kernel": ("hidden", f"{len(order)} x hidden"),
        # That of a GRU with the reset after the product has two rows.
        "bias": (("2", "3 x hidden") if cell == "gru" else (f"{len(order)} x hidden",)),
    }
    for cell, (order, _) in _ORDERS.items()
}
_PART_AXES: dict[str, _Axes] = {
    "embed": {"embedding": ("symbols", "embedding")},
    "head": {"kernel": ("features", "outputs"), "bias": ("outputs",)},
}


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
        `{"head": "layers/dense_1"}`; an empty name leaves a part out, and `ignore` has groups that
        are not read.

    Returns:
      float32 arrays by our names, without the parts that `mapping` leaves out.

    Raises:
      UserError: for a file of another kind, a cell that Keras lacks, another number of layers,
        no group or several for a part, another shape, or a group without a place in the model.

    Example:
      import_weights(Path("model.keras"), spec)["lstm/layer_0/wx"].shape
    """
    cell = importable_cell(resolve_cell(spec.model), "Keras", _ORDERS)
    mapping, zeros, layers = mapping or {}, zero_weights(spec), layer_parts(spec)
    # Both directions of a layer are one group of a file.
    parts = [name for name in zeros if not name.endswith("_reverse")]
    with _open(path, spec) as stored:
        tensors = _tensors(path, stored).items()
        file = ForeignFile(path, {k: tensor for k, tensor in tensors if not is_ignored(k, mapping)})
        groups = _groups(file)
        check_mapping(mapping, parts, groups)
        assigned = _find_parts(file, groups, parts, mapping, is_tied=spec.model.tied)
        reader = _Reader(file, spec)
        read: dict[str, dict[str, FloatArray]] = {}
        for directions in layers:
            if directions[0] not in assigned:
                continue
            for part, place in zip(directions, _places(spec), strict=True):
                expected = to_keras(cell, zeros[part])
                group = f"{assigned[directions[0]]}{place}/cell/vars"
                reader.check_kind(group, len(_ORDERS[cell][0]))
                arrays = reader.arrays(part, group, expected, _CELL_AXES[cell])
                read[part] = from_keras(cell, arrays)
        for part, axes in _PART_AXES.items():
            if part in assigned:
                expected = [zeros[part][name] for name in axes]
                arrays = reader.arrays(part, f"{assigned[part]}/vars", expected, axes)
                read[part] = dict(zip(axes, arrays, strict=True))
        file.check_all_taken()
    if needs_tied_head(spec, read, mapping):
        zeros_V = np.zeros_like(zeros["head"]["bias"])
        read["head"] = {"kernel": read["embed"]["embedding"].T, "bias": zeros_V}
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
                _check_version(path, file)
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            _check_sizes(path, archive)
            _check_settings(path, json.loads(archive.read("config.json")), spec)
            with archive.open("model.weights.h5") as stream, h5py.File(stream, "r") as file:
                yield file
    except _UNREADABLE as error:
        raise unreadable("keras", path, error, safetensors_names(path)) from None


def _check_version(path: Path, file: Any) -> None:
    """Raises UserError for a file in the format of Keras 2."""
    if "model_weights" in file or "layer_names" in file.attrs:
        raise UserError(
            f"import: {path} has the format of Keras 2, expected {FORMATS['keras']}; load it with "
            f"Keras, and call `model.save('{path.stem}.keras')`"
        )


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises ValueError for a member that would fill the memory: a zip bomb."""
    check_unique(path, archive.namelist())
    for name in ("config.json", "model.weights.h5"):
        member = archive.getinfo(name)
        most = _EXPANSION * member.compress_size + _SMALL
        if member.file_size > most:
            raise ValueError(f"{name} expands to {member.file_size:,} bytes, expected {most:,}")


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


def _tensors(path: Path, file: Any) -> dict[str, StoredTensor]:
    """Returns the tensors of a file, also of layers inside of others."""
    tensors: dict[str, StoredTensor] = {}

    def visit(prefix: str, group: Any) -> None:
        for key in group:
            name = f"{prefix}{key}"
            # A link could lead to a file of the reader's machine.
            if type(group.get(key, getlink=True)).__name__ != "HardLink":
                raise UserError(f"import: {path}: {name} is a link, expected an array")
            inner = group.get(key)
            if hasattr(inner, "keys"):
                visit(f"{name}/", inner)
            elif not fits_one(name, _TRAINING_ONLY):
                tensors[name] = _tensor(path, name, inner)

    visit("", file)
    return {name: tensors[name] for name in sorted(tensors, key=natural_order)}


def _tensor(path: Path, name: str, dataset: Any) -> StoredTensor:
    """Returns a tensor of a file; its numbers are not read yet."""
    # Numbers in another file would be read from the reader's machine.
    if dataset.external or dataset.is_virtual:
        raise UserError(f"import: {path}: {name} is in another file, expected numbers in this file")
    shape, dtype = tuple(dataset.shape or ()), dataset.dtype
    # HDF5 has no bfloat16: Keras stores pairs of bytes, and says what they are.
    if dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":
        return StoredTensor(shape, "bfloat16", lambda: dataset[()].view(jnp.bfloat16))
    if dtype.kind == "V":
        return StoredTensor(
            shape, f"bytes ({dtype.itemsize} each) without a dtype", lambda: dataset[()]
        )
    return StoredTensor(shape, dtype.name, lambda: dataset[()])


def _groups(file: ForeignFile) -> list[str]:
    """Returns the names of the layers of a file."""
    groups = {group for name in file.tensors for group in modules_with(name)}
    return sorted((g for g in groups if not g.endswith("vars")), key=natural_order)


def _find_parts(
    file: ForeignFile,
    groups: Sequence[str],
    parts: Sequence[str],
    mapping: Mapping[str, str],
    is_tied: bool,
) -> dict[str, str]:
    """Returns the groups of the parts of a model, by the names that Keras gives to layers."""
    names = [name for name in groups if name.split("/")[-2:-1] == ["layers"]]
    recurrent = [
        name for name in names if {f"{name}/cell", f"{name}/forward_layer/cell"} & set(groups)
    ]
    layers = [part for part in parts if part.startswith("lstm/")]
    open_layers = [part for part in layers if part not in mapping and mapping.get(STACK) != ""]
    kinds = {_kind(name) for name in cells_in(recurrent, mapping)}
    if open_layers and len(kinds) > 1:
        # The numbers of Keras do not order layers of several kinds.
        raise UserError(
            f"import: {file.path} has the recurrent layers {', '.join(recurrent)}, expected one "
            f"kind; --map={open_layers[0]}={recurrent[0]} chooses one"
        )
    found = choose_layers("keras", file, layers, recurrent, mapping)
    for part, kind in (("embed", "embedding"), ("head", "dense")):
        same = [name for name in names if _kind(name).rpartition("/")[-1] == kind]
        if part in parts and (same or not (part == "head" and is_tied)):
            found |= choose_one(file.path, part, same, mapping)
    return found


def _kind(group: str) -> str:
    """Returns the kind of a layer: `layers/dense` of `layers/dense_1`."""
    return group.rstrip("_0123456789")


class _Reader(NamedTuple):
    """Reads the arrays of a file and compares them with those of a model.

    Attributes:
      file: the tensors of the file.
      spec: the spec of the model.
    """

    file: ForeignFile
    spec: RunSpec

    def check_kind(self, group: str, gates: int) -> None:
        """Raises UserError for the cell of another kind, by the shape of its recurrent kernel."""
        shape = self.file.shape(f"{group}/1") or ()
        if len(shape) == 2:
            check_gates(self.file.path, f"{group}/1", shape, gates)

    def arrays(
        self,
        part: str,
        group: str,
        expected: Sequence[FloatArray],
        axes: Mapping[str, tuple[str, ...]],
    ) -> list[FloatArray]:
        """Returns the arrays of a group; a bias that the layer does not have is zero.

        Args:
          part: the part of our model.
          group: the name of the group.
          expected: arrays of the expected shapes.
          axes: what the axes of each array are, by its name.
        """
        arrays = []
        for number, (name, like) in enumerate(zip(axes, expected, strict=True)):
            tensor, ours = f"{group}/{number}", f"{name} of {part}"
            hint = shape_hint(self.spec, axes[name], self.file.shape(tensor) or (), like.shape)
            take = self.file.take_or_zeros if name == "bias" else self.file.take
            arrays.append(take(tensor, like.shape, ours, hint))
        return arrays

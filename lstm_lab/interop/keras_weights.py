"""Weights of Keras 3 in the names and layouts of lstm_lab, and back.

    lstm_lab  wx [D,4,H] i f o g          Keras  kernel [D,4H] i f c o
    lstm_lab  wx [D,3,H] r z n, bn [H]    Keras  kernel [D,3H] z r h, bias [2,3H] or [3H]

In: a `.keras` or `.weights.h5` file and the spec of a model. Out: its weights by our names, such as
`lstm/layer_0/wx`. The file is read as arrays: no layer of it is built, so no code from the file is
executed. Read keras_file.py next: the tensors of a file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.foreign_file import ForeignFile, is_ignored, modules_with
from lstm_lab.interop.framework_cells import (
    FrameworkCell,
    framework_cell,
    importable_cell,
    reorder_gates,
)
from lstm_lab.interop.import_hints import check_gates, shape_hint
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
from lstm_lab.interop.keras_file import damage_is_an_error, open_keras_file
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
    with open_keras_file(path) as stored:
        tensors = stored.tensors.items()
        file = ForeignFile(path, {k: tensor for k, tensor in tensors if not is_ignored(k, mapping)})
        _check_settings(path, stored.config, spec, stored.layers_without(file.tensors))
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


def _check_settings(path: Path, config: JSON, spec: RunSpec, ignored: Collection[str]) -> None:
    """Raises UserError for layers that are read and compute something else than ours."""
    expected: dict[str, JSON] = {"activation": "tanh", "recurrent_activation": "sigmoid"}
    expected["reset_after"] = framework_cell(resolve_cell(spec.model)) != "gru_reset_before"
    if not spec.model.bidirectional:
        expected["go_backwards"] = False
    modes = {"concat": "concat", "sum": "sum", "mean": "ave", "product": "mul"}
    with damage_is_an_error(path):  # a file can be nested deeper than Python calls functions
        layers = list(_layers(config, ignored))
    for layer in layers:
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


def _layers(config: JSON, ignored: Collection[str]) -> Iterator[dict[str, JSON]]:
    """Returns all objects of a saved configuration that describe a layer which is read."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and isinstance(config.get("config"), dict):
            if str(config["config"].get("name")) in ignored:
                return
            yield config
        for value in config.values():
            yield from _layers(value, ignored)
    elif isinstance(config, list):
        for value in config:
            yield from _layers(value, ignored)


def _groups(file: ForeignFile) -> list[str]:
    """Returns the names of the layers of a file."""
    groups = {group for name in file.tensors for group in modules_with(name)}
    # Not those that hold the arrays of a layer: `layers/lstm/cell/vars`.
    return sorted((g for g in groups if g.rpartition("/")[2] != "vars"), key=natural_order)


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

"""Weights of PyTorch for a model of this package.

In: a file of safetensors with a state dict, and the spec of the run that is to start from it. Out:
weights under our names, such as `lstm/layer_0/wx`. The spec says what is expected: shapes, number
of layers and directions, and whether there is an embedding. Names in the file may have any prefix.
Where several modules fit, the user decides with `--map=OURS=THEIRS`:

    embed=wte  head=classifier      a module with `.weight`, and `.bias` if it has one
    lstm=encoder.rnn                all layers of one module; `.` is the top level
    lstm/layer_1=second.l0          one layer of a module
    head=                           a part of our model that is not read
    ignore=attention:norm*          tensors and modules without a place in our model

Read weights.py next: the tensors of a layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.interop.foreign_file import (
    ForeignFile,
    is_ignored,
    modules_with,
    read_safetensors_file,
    tensors_of,
)
from lstm_lab.interop.framework_cells import importable_cell
from lstm_lab.interop.import_hints import check_gates, shape_hint
from lstm_lab.interop.imported import (
    STACK,
    cells_in,
    check_mapping,
    check_one_stack,
    choose_layers,
    natural_order,
    shapes_by_name,
)
from lstm_lab.interop.portable import FloatArray
from lstm_lab.interop.pytorch.layers import TORCH_LAYERS
from lstm_lab.interop.pytorch.weights import from_torch
from lstm_lab.utils.errors import UserError, unknown

Shapes = Mapping[str, tuple[int, ...]]

_RECURRENT = re.compile(
    r"(?P<module>(?:.*\.)?)(?:weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(?P<layer>\d+)"
    r"(?:_reverse)?"
)
# What the modules are usually called.
_EMBEDDINGS = re.compile(r"emb|encoder|wte", re.IGNORECASE)
_HEADS = re.compile(r"head|decoder|fc|linear|out|classifier|proj", re.IGNORECASE)


class LayerInFile(NamedTuple):
    """One layer of a recurrent module in a file.

    Attributes:
      module: the name of the module with a dot, or "" at the top.
      layer: the number in `weight_ih_l0`.

    Example:
      LayerInFile("encoder.rnn.", 0).label  # "encoder.rnn.l0"
    """

    module: str
    layer: int

    @property
    def label(self) -> str:
        """How `--map` writes it."""
        return f"{self.module}l{self.layer}"


def import_weights(
    path: Path, spec: RunSpec, mapping: Mapping[str, str] | None = None
) -> dict[str, FloatArray]:
    """Reads weights of PyTorch for the model of a run.

    Args:
      path: a file of safetensors with the state dict of a module.
      spec: the run that is to start from the weights.
      mapping: part of our model -> their name, where the file is ambiguous; see above.

    Returns:
      The weights of the model by name, float32, without parts that `mapping` leaves out.

    Raises:
      UserError: for a pickle, a damaged file, a cell that PyTorch lacks, a missing or ambiguous
        tensor, another shape, or a tensor that the model has no place for.

    Example:
      import_weights(Path("model.safetensors"), spec, {"lstm": "encoder.rnn"})["lstm/layer_0/wx"]
    """
    check_one_stack(spec)
    mapping, shapes = mapping or {}, shapes_by_name(spec)
    kind = TORCH_LAYERS[importable_cell(resolve_cell(spec.model), "PyTorch", TORCH_LAYERS)]
    layers = [f"lstm/layer_{number}" for number in range(len(spec.model.layer_widths))]
    parts = [*layers, *(["embed"] if "embed/embedding" in shapes else []), "head"]
    arrays = read_safetensors_file("torch", path, lambda name: is_ignored(name, mapping))
    file = ForeignFile(path, tensors_of(arrays))
    places = _places(file)
    check_mapping(mapping, parts, [*places, *_modules(file)])
    weights: dict[str, FloatArray] = {}
    for layer, place in _find_layers(file, layers, places, mapping).items():
        for name in (layer, f"{layer}_reverse"):
            if f"{name}/wx" in shapes:
                tensors = _layer_tensors(file, place, name, shapes, spec)
                ours = from_torch(kind, tensors)
                weights |= {f"{name}/{key}": array for key, array in ours.items()}
    if "embed" in parts and mapping.get("embed") != "":
        weights |= _embedding(file, shapes, mapping, spec)
    if mapping.get("head") != "":
        weights |= _head(file, shapes, mapping, weights.get("embed/embedding"), spec)
    file.check_all_taken()
    return weights


def _modules(file: ForeignFile) -> list[str]:
    """Returns the names of all modules of a file."""
    return sorted({module for name in file.tensors for module in modules_with(name)})


# ---- recurrent layers


def _places(file: ForeignFile) -> dict[str, LayerInFile]:
    """Returns the recurrent layers of a file by their labels; layers.2 stands before layers.10."""
    matches = (_RECURRENT.fullmatch(name) for name in file.tensors)
    places = {LayerInFile(m["module"], int(m["layer"])) for m in matches if m}
    ordered = sorted(places, key=lambda place: (natural_order(place.module), place.layer))
    return {place.label: place for place in ordered}


def _find_layers(
    file: ForeignFile,
    layers: list[str],
    places: Mapping[str, LayerInFile],
    mapping: Mapping[str, str],
) -> dict[str, LayerInFile]:
    """Returns the place in the file of each layer of the model that is read."""
    for layer in layers:
        if mapping.get(layer, "") not in ("", *places):
            raise unknown(f"--map={layer}", mapping[layer], places)
    modules = list(dict.fromkeys(places[label].module for label in cells_in([*places], mapping)))
    # Modules that differ only in their number are the layers of one stack.
    is_stack = len({re.sub(r"\d+", "0", module) for module in modules}) <= 1
    is_said = mapping.get(STACK) == "" or all(layer in mapping for layer in layers)
    if not (is_stack or is_said):
        raise UserError(
            f"import: {file.path} has recurrent layers in several modules "
            f"({', '.join(map(_shown, modules))}); --map=lstm={_shown(modules[0])} chooses one, "
            f"--map=lstm/layer_0={next(iter(places))} one for each layer"
        )
    chosen = choose_layers("torch", file, layers, list(places), mapping)
    return {layer: places[label] for layer, label in chosen.items()}


def _shown(module: str) -> str:
    """Returns the name of a module as `--map` writes it; `.` is the top level."""
    return module.removesuffix(".") or "."


def _layer_tensors(
    file: ForeignFile, place: LayerInFile, name: str, shapes: Shapes, spec: RunSpec
) -> dict[str, FloatArray]:
    """Returns the tensors of one layer in one direction, with the shapes that the model needs."""
    D, G, H = shapes[f"{name}/wx"]
    R = shapes[f"{name}/wh"][0]
    needed: dict[str, tuple[int, ...]] = {"weight_ih": (G * H, D), "weight_hh": (G * H, R)}
    ours = {"weight_ih": "wx", "weight_hh": "wh", "weight_hr": "proj"}
    gates = f"{G} x hidden" if G > 1 else "hidden"
    axes = {"weight_ih": (gates, "inputs"), "weight_hh": (gates, "old hidden")}
    if f"{name}/proj" in shapes:
        needed["weight_hr"] = (R, H)
        # No setting has its width, so no hint names one.
        axes["weight_hh"] = (gates, "projected h")
    suffix = f"_l{place.layer}{'_reverse' if name.endswith('_reverse') else ''}"
    biases = ("bias_ih", "bias_hh")
    # A module with bias=False has none; PyTorch never writes one of them alone.
    if any(f"{place.module}{bias}{suffix}" in file.tensors for bias in biases):
        needed |= dict.fromkeys(biases, (G * H,))
    _check_gates(file, place, suffix, G)
    taken = {}
    for tensor, shape in needed.items():
        theirs = f"{place.module}{tensor}{suffix}"
        hint = _hint(file, theirs, shape, axes.get(tensor, ()), spec)
        taken[tensor] = file.take(theirs, shape, f"{name}/{ours.get(tensor, 'b')}", hint)
    return taken


def _check_gates(file: ForeignFile, place: LayerInFile, suffix: str, gates: int) -> None:
    """Raises UserError for a layer of another kind, by the shape of `weight_hh` [GH, H]."""
    name = f"{place.module}weight_hh{suffix}"
    # With a projection the shape says nothing, but only nn.LSTM has one.
    shape = file.shape(name) or ()
    if len(shape) == 2 and f"{place.module}weight_hr{suffix}" not in file.tensors:
        check_gates(file.path, name, shape, gates)


def _hint(
    file: ForeignFile, name: str, shape: tuple[int, ...], axes: tuple[str, ...], spec: RunSpec
) -> str:
    """Returns what to do about a tensor of another shape, or ""."""
    return shape_hint(spec, axes, file.shape(name) or shape, shape)


# ---- embedding and head


def _embedding(
    file: ForeignFile, shapes: Shapes, mapping: Mapping[str, str], spec: RunSpec
) -> dict[str, FloatArray]:
    shape = shapes["embed/embedding"]
    name = _find(file, "embed", shape, _EMBEDDINGS, mapping)
    hint = _hint(file, name, shape, ("symbols", "embedding"), spec)
    return {"embed/embedding": file.take(name, shape, "embed/embedding", hint)}


def _head(
    file: ForeignFile,
    shapes: Shapes,
    mapping: Mapping[str, str],
    embedding_VE: FloatArray | None,
    spec: RunSpec,
) -> dict[str, FloatArray]:
    if "head/kernel" not in shapes:
        return {"bias": _tied_bias(file, shapes["embed/embedding"], embedding_VE, mapping)}
    K, C = shapes["head/kernel"]
    name = _find(file, "head", (C, K), _HEADS, mapping)
    hint = _hint(file, name, (C, K), ("outputs", "features"), spec)
    kernel = np.ascontiguousarray(file.take(name, (C, K), "head/kernel", hint).T)
    bias = file.take_or_zeros(_bias_of(name), (C,), "head/bias")
    return {"head/kernel": kernel, "head/bias": bias}


def _tied_bias(
    file: ForeignFile,
    shape: tuple[int, ...],
    embedding_VE: FloatArray | None,
    mapping: Mapping[str, str],
) -> FloatArray:
    """Returns the bias of a head that shares the weights of the embedding.

    PyTorch may have stored these weights a second time, under the name of the head.
    """
    bias = "head_bias"  # as our own exports call it
    # A matrix of another shape, such as `fc1` of an attention, belongs to something else.
    matrices = [name for name in _matrices(file) if file.shape(name) == shape]
    names = [name for name in matrices if _HEADS.search(_module(name))]
    if "head" in mapping:
        names = [f"{mapping['head']}.weight"]
    for name in names:
        kernel_CK = file.take(name, shape, "embed/embedding")
        if embedding_VE is not None and not np.array_equal(kernel_CK, embedding_VE):
            raise UserError(
                f"import: {file.path}: {name} differs from the embedding, expected the same "
                "weights because model.tied is true"
            )
        bias = _bias_of(name)
    return file.take_or_zeros(bias, (shape[0],), "bias")


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _find(
    file: ForeignFile,
    ours: str,
    shape: tuple[int, ...],
    usual: re.Pattern[str],
    mapping: Mapping[str, str],
) -> str:
    """Returns the name of a matrix: by `--map`, by its name, by its shape, or by both."""
    if ours in mapping:
        return f"{mapping[ours]}.weight"
    names = [name for name in _matrices(file) if usual.search(_module(name))]
    fitting = [name for name in _matrices(file) if file.tensors[name].shape == shape]
    both = [name for name in names if name in fitting]
    for candidates in (both, names, fitting):
        if len(candidates) == 1:
            return candidates[0]
    candidates = both or names or fitting
    module = candidates[-1].removesuffix(".weight") if candidates else "MODULE"
    others = [name for name in file.tensors if name not in file.taken]
    listed = file.shapes_text(candidates or _matrices(file) or others)
    raise UserError(
        f"import: {file.path}: {ours} needs {list(shape)}, and the file has "
        f"{listed or 'no further tensor'}; "
        f"--map={ours}={module} chooses one, --map={ours}= leaves the part out"
    )


def _matrices(file: ForeignFile) -> list[str]:
    """Returns the names of matrices of linear layers and embeddings that have no place yet."""
    return [
        name
        for name, tensor in file.tensors.items()
        if len(tensor.shape) == 2
        and name.endswith("weight")
        and name not in file.taken
        and not _RECURRENT.fullmatch(name)
    ]


def _module(name: str) -> str:
    """Returns the last part of a module's name: `embedding` of `model.embedding.weight`."""
    return name.removesuffix(".weight").rpartition(".")[-1]

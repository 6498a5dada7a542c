"""Weights of PyTorch for a model of this package.

In: a file of safetensors with a state dict, and the spec of the run that is to start from it. Out:
weights under our names, such as `lstm/layer_0/wx`. The spec says what is expected: shapes, number
of layers and directions, and whether there is an embedding. Names in the file may have any prefix.
Where several modules fit, the user decides with `--map=OURS=THEIRS`:

    embed=wte  head=classifier      a module with `.weight`, and `.bias` if it has one
    lstm=encoder.rnn                all layers of one module; `.` is the top level
    lstm/layer_1=second.l0          one layer of a module
    head=                           a part of our model that is not read
    ignore=attention.*:norm.*       tensors without a place in our model

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
from lstm_lab.interop.import_hints import (
    check_gates,
    check_something_read,
    format_hint,
    shape_hint,
)
from lstm_lab.interop.imported import shapes_by_name
from lstm_lab.interop.portable import FloatArray, variant_name
from lstm_lab.interop.pytorch.layers import TorchLayer, layer_for_weights
from lstm_lab.interop.pytorch.state_dict import StateDict, read_state_dict, shapes_text
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
    mapping = dict(mapping or {})
    shapes, kind = shapes_by_name(spec), _layer(spec)
    layers = [f"lstm/layer_{number}" for number in range(len(spec.model.layer_widths))]
    known = ["lstm", *layers, "head", "ignore"]
    known += ["embed"] if "embed/embedding" in shapes else []
    for part in mapping:
        if part not in known:
            raise unknown("--map", part, known)
    file = read_state_dict(path)
    weights: dict[str, FloatArray] = {}
    if mapping.get("lstm") != "":
        for layer, place in zip(layers, _find_layers(file, layers, mapping), strict=True):
            for name in (layer, f"{layer}_reverse"):
                if f"{name}/wx" in shapes:
                    tensors = _layer_tensors(file, place, name, shapes, spec)
                    arrays = from_torch(kind, tensors)
                    weights |= {f"{name}/{key}": array for key, array in arrays.items()}
    if "embed/embedding" in shapes and mapping.get("embed") != "":
        weights |= _embedding(file, shapes, mapping, spec)
    if mapping.get("head") != "":
        weights |= _head(file, shapes, mapping, weights.get("embed/embedding"), spec)
    file.check_all_taken(mapping)
    check_something_read("torch", path, weights, list(file.tensors))
    return weights


def _layer(spec: RunSpec) -> TorchLayer:
    if spec.task.source_vocabulary is not None:
        raise UserError(
            "--from=torch: a translation model has two stacks and an attention, expected a model "
            "with one stack"
        )
    cell = resolve_cell(spec.model)
    kind = layer_for_weights(cell)
    if kind is None:
        raise UserError(
            f"--from=torch: PyTorch has no layer with the weights of {variant_name(cell)}, "
            "expected model.cell=lstm, gru or rnn, or a variant with their weights"
        )
    return kind


# ---- recurrent layers


def _find_layers(
    file: StateDict, layers: list[str], mapping: Mapping[str, str]
) -> list[LayerInFile]:
    """Returns the place of each layer of the model in the file."""
    matches = (_RECURRENT.fullmatch(name) for name in file.tensors)
    places = sorted({LayerInFile(m["module"], int(m["layer"])) for m in matches if m}, key=_natural)
    if not places:
        raise UserError(
            f"{file.path}: no recurrent layer, expected tensors such as lstm.weight_ih_l0; "
            f"it has {shapes_text(file, list(file.tensors))}"
            f"{format_hint('torch', file.path, file.tensors)}"
        )
    by_label = {place.label: place for place in places}
    chosen = {layer: mapping[layer] for layer in layers if layer in mapping}
    for layer, label in chosen.items():
        if label not in by_label:
            raise unknown(f"--map={layer}", label, by_label)
    if len(chosen) == len(layers):
        return [by_label[chosen[layer]] for layer in layers]
    rest = [p for p in _choose_places(file, places, mapping) if p.label not in chosen.values()]
    if len(rest) + len(chosen) != len(layers):
        found = ", ".join(place.label for place in rest)
        raise UserError(
            f"{file.path}: {len(rest)} recurrent layers ({found}), expected "
            f"{len(layers) - len(chosen)} as model.layers says; --map=lstm=MODULE or "
            f"--map={layers[0]}={places[0].label} chooses them"
        )
    remaining = iter(rest)
    return [by_label[chosen[layer]] if layer in chosen else next(remaining) for layer in layers]


def _choose_places(
    file: StateDict, places: list[LayerInFile], mapping: Mapping[str, str]
) -> list[LayerInFile]:
    """Returns the layers of one module, or of modules that differ only in their number."""
    modules = list(dict.fromkeys(place.module for place in places))
    if "lstm" in mapping:
        module = "" if mapping["lstm"] == "." else f"{mapping['lstm']}."
        if module not in modules:
            raise unknown("--map=lstm", mapping["lstm"], [_shown(name) for name in modules])
        return [place for place in places if place.module == module]
    is_list = len({re.sub(r"\d+", "0", module) for module in modules}) == 1
    if is_list:
        return places
    names = ", ".join(map(_shown, modules))
    raise UserError(
        f"{file.path}: recurrent layers in several modules ({names}); "
        f"--map=lstm={_shown(modules[0])} chooses one, "
        f"--map=lstm/layer_0={places[0].label} one for each layer"
    )


def _shown(module: str) -> str:
    """Returns the name of a module as `--map` writes it; `.` is the top level."""
    return module.removesuffix(".") or "."


def _natural(place: LayerInFile) -> tuple[list[str | int], int]:
    """Returns a key by which layers.2 stands before layers.10."""
    parts = re.split(r"(\d+)", place.module)
    return [int(part) if part.isdigit() else part for part in parts], place.layer


def _layer_tensors(
    file: StateDict, place: LayerInFile, name: str, shapes: Shapes, spec: RunSpec
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
    suffix = f"_l{place.layer}{'_reverse' if name.endswith('_reverse') else ''}"
    for bias in ("bias_ih", "bias_hh"):
        # A module with bias=False has none.
        if f"{place.module}{bias}{suffix}" in file.tensors:
            needed[bias] = (G * H,)
    _check_gates(file, place, suffix, G)
    taken = {}
    for tensor, shape in needed.items():
        theirs = f"{place.module}{tensor}{suffix}"
        hint = _hint(file, theirs, shape, axes.get(tensor, ()), spec)
        taken[tensor] = file.take(theirs, shape, f"{name}/{ours.get(tensor, 'b')}", hint)
    return taken


def _check_gates(file: StateDict, place: LayerInFile, suffix: str, gates: int) -> None:
    """Raises UserError for a layer of another kind, by the shape of `weight_hh` [GH, H]."""
    name = f"{place.module}weight_hh{suffix}"
    # With a projection the shape says nothing, but only nn.LSTM has one.
    shape = file.tensors[name].shape if name in file.tensors else ()
    if len(shape) == 2 and f"{place.module}weight_hr{suffix}" not in file.tensors:
        check_gates(file.path, name, shape, gates)


def _hint(
    file: StateDict, name: str, shape: tuple[int, ...], axes: tuple[str, ...], spec: RunSpec
) -> str:
    """Returns what to do about a tensor of another shape, or ""."""
    got = file.tensors[name].shape if name in file.tensors else shape
    return shape_hint(spec, axes, got, shape)


# ---- embedding and head


def _embedding(
    file: StateDict, shapes: Shapes, mapping: Mapping[str, str], spec: RunSpec
) -> dict[str, FloatArray]:
    shape = shapes["embed/embedding"]
    name = _find(file, "embed", shape, _EMBEDDINGS, mapping)
    hint = _hint(file, name, shape, ("symbols", "embedding"), spec)
    return {"embed/embedding": file.take(name, shape, "embed/embedding", hint)}


def _head(
    file: StateDict,
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
    return {"head/kernel": kernel, "head/bias": _bias(file, _bias_of(name), C, "head/bias")}


def _tied_bias(
    file: StateDict,
    shape: tuple[int, ...],
    embedding_VE: FloatArray | None,
    mapping: Mapping[str, str],
) -> FloatArray:
    """Returns the bias of a head that shares the weights of the embedding.

    PyTorch may have stored these weights a second time, under the name of the head.
    """
    bias = "head_bias"  # as our own exports call it
    names = [name for name in _matrices(file) if _HEADS.search(_module(name))]
    if "head" in mapping:
        names = [f"{mapping['head']}.weight"]
    for name in names:
        kernel_CK = file.take(name, shape, "embed/embedding")
        if embedding_VE is not None and not np.array_equal(kernel_CK, embedding_VE):
            raise UserError(
                f"{file.path}: {name} differs from the embedding, expected the same weights "
                "because model.tied is set"
            )
        bias = _bias_of(name)
    return _bias(file, bias, shape[0], "bias")


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _bias(file: StateDict, name: str, size: int, ours: str) -> FloatArray:
    """Returns a bias; zeros for a module without one."""
    if name not in file.tensors:
        return np.zeros(size, np.float32)
    return file.take(name, (size,), ours)


def _find(
    file: StateDict,
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
    listed = shapes_text(file, candidates or _matrices(file))
    raise UserError(
        f"{file.path}: {ours} needs {list(shape)}, and the file has "
        f"{listed or 'no matrix outside of recurrent layers'}; "
        f"--map={ours}={module} chooses one, --map={ours}= leaves the part out"
    )


def _matrices(file: StateDict) -> list[str]:
    """Returns the names of matrices of linear layers and embeddings that have no place yet."""
    return [
        name
        for name, tensor in file.tensors.items()
        if tensor.ndim == 2
        and name.endswith("weight")
        and name not in file.taken
        and not _RECURRENT.fullmatch(name)
    ]


def _module(name: str) -> str:
    """Returns the last part of a module's name: `embedding` of `model.embedding.weight`."""
    return name.removesuffix(".weight").rpartition(".")[-1]

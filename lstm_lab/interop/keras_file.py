"""The files of Keras 3 as named tensors.

In: a `.keras` or `.weights.h5` file. Out: its tensors by name, whose numbers are not read yet, the
names of its layers, and its settings. Nothing of the file is executed, and no other file is opened.
Read keras_weights.py next: what becomes of the tensors.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from lstm_lab.interop.foreign_file import StoredTensor, check_unique, fits_one
from lstm_lab.interop.import_hints import FORMATS, safetensors_names, unreadable
from lstm_lab.interop.imported import natural_order
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON

# What zipfile, zlib, json and h5py raise for a damaged, encrypted or deeply nested file.
_UNREADABLE = (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Keras stores without compression. Numbers of weights hardly get smaller, settings a few times.
_EXPANSION, _SMALL = 20, 1 << 20
# States of the optimizer, of metrics and of random generators, which no output depends on.
_TRAINING_ONLY = ("optimizer/*", "metrics/*", "*seed_generator*")


class KerasFile(NamedTuple):
    """What a file of Keras holds.

    Attributes:
      tensors: its tensors by name, without states of the training.
      layer_names: the name that a layer has in the settings, by its group: Keras stores a layer
        `encoder` as `layers/lstm`.
      config: the settings of the model; None for a `.weights.h5` file, which has none.

    Example:
      KerasFile({}, {"layers/lstm": "encoder"}, None).layers_without([])  # {"encoder"}
    """

    tensors: Mapping[str, StoredTensor]
    layer_names: Mapping[str, str]
    config: JSON

    def layers_without(self, read: Iterable[str]) -> set[str]:
        """Returns the names, in the settings, of layers of which no tensor is read.

        Args:
          read: the names of the tensors that are read.
        """
        names = list(read)
        # Layers of several models in one file can have the same name: it stands for all of them.
        in_use = {
            layer
            for group, layer in self.layer_names.items()
            if any(name.startswith(f"{group}/") for name in names)
        }
        return set(self.layer_names.values()) - in_use


@contextmanager
def open_keras_file(path: Path) -> Iterator[KerasFile]:
    """Opens a file of Keras; its tensors can be read until the block ends.

    Args:
      path: a `.keras` or `.weights.h5` file.

    Raises:
      UserError: for another or a damaged file, one of Keras 2, or one that leads to other files.

    Example:
      with open_keras_file(Path("model.keras")) as file:
          bias_V = file.tensors["layers/dense/vars/1"].read()
    """
    try:
        import h5py
    except ImportError:
        raise UserError("import from Keras needs h5py: pip install 'lstm-lab[peers]'") from None
    with ExitStack() as stack:
        # Only around what reads: an error of the code in the block says nothing about the file.
        with damage_is_an_error(path):
            config: JSON = None
            source: Any = path
            if is_archive := zipfile.is_zipfile(path):
                archive = stack.enter_context(zipfile.ZipFile(path))
                _check_sizes(path, archive)
                config = json.loads(archive.read("config.json"))
                source = stack.enter_context(archive.open("model.weights.h5"))
            file = stack.enter_context(h5py.File(source, "r"))
            if not is_archive:
                _check_version(path, file)
            tensors, layer_names = _contents(path, file)
        yield KerasFile(tensors, layer_names, config)


@contextmanager
def damage_is_an_error(path: Path) -> Iterator[None]:
    """Turns what libraries raise for a damaged file into one line.

    Args:
      path: the file.

    Raises:
      UserError: for such an error.

    Example:
      with damage_is_an_error(path):
          json.loads(path.read_text())
    """
    try:
        yield
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


def _contents(path: Path, file: Any) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Returns the tensors and the names of layers of a file, also of layers inside of others."""
    tensors: dict[str, StoredTensor] = {}
    layer_names: dict[str, str] = {}

    def visit(prefix: str, group: Any) -> None:
        for key in group:
            name = f"{prefix}{key}"
            # A link could lead to a file of the reader's machine.
            if type(group.get(key, getlink=True)).__name__ != "HardLink":
                raise UserError(f"import: {path}: {name} is a link, expected an array")
            inner = group.get(key)
            if hasattr(inner, "keys"):
                layer = inner.attrs.get("name")
                if prefix and key == "vars" and isinstance(layer, str):
                    layer_names[prefix.removesuffix("/")] = layer
                visit(f"{name}/", inner)
            elif not fits_one(name, _TRAINING_ONLY):
                tensors[name] = _tensor(path, name, inner)

    visit("", file)
    return {name: tensors[name] for name in sorted(tensors, key=natural_order)}, layer_names


def _tensor(path: Path, name: str, dataset: Any) -> StoredTensor:
    """Returns a tensor of a file; its numbers are not read yet."""
    # Numbers in another file would be read from the reader's machine.
    if dataset.external or dataset.is_virtual:
        raise UserError(f"import: {path}: {name} is in another file, expected numbers in this file")
    shape, dtype = tuple(dataset.shape or ()), dataset.dtype
    read: Callable[[], np.ndarray] = partial(_numbers, path, dataset)
    # HDF5 has no bfloat16: Keras stores pairs of bytes, and says what they are.
    if dtype == np.dtype("V2") and dataset.attrs.get("dtype") == "bfloat16":
        return StoredTensor(shape, "bfloat16", lambda: read().view(jnp.bfloat16))
    if dtype.kind == "V":
        return StoredTensor(shape, f"bytes ({dtype.itemsize} each) without a dtype", read)
    return StoredTensor(shape, dtype.name, read)


def _numbers(path: Path, dataset: Any) -> np.ndarray:
    with damage_is_an_error(path):
        return np.asarray(dataset[()])

"""The tensors of a file of another framework: each is taken by the model, ignored, or an error.

In: the shapes, dtypes and numbers of a file by name. Out: float32 arrays of the shapes that the
model expects. All three readers use it, so one rule holds: no tensor of a file is skipped unless
the user says so. Names are paths with `/` or `.`. Read imported.py next: which part of a file
belongs to which part of a model.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.interop.import_hints import format_hint
from lstm_lab.interop.portable import FloatArray
from lstm_lab.models.weight_files import read_safetensors
from lstm_lab.models.weights import check_finite
from lstm_lab.utils.errors import UserError

# A key of a mapping that is no part of a model: what is not read.
IGNORE = "ignore"
# Floating-point numbers of 8 bits are not here: they need scales, for which a model has no place.
_DTYPES = ("float32", "float64", "float16", "bfloat16")
_SEPARATOR = re.compile(r"[./]")
_SHOWN = 6


class StoredTensor(NamedTuple):
    """A tensor of a file, whose numbers are read once its shape is known to fit.

    Attributes:
      shape: its shape.
      dtype: the name of its dtype.
      read: returns its numbers.

    Example:
      StoredTensor((2, 3), "float32", lambda: np.zeros((2, 3), np.float32))
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]


@dataclass
class ForeignFile:
    """The tensors of a file by name, and which of them have a place in the model.

    Attributes:
      path: the file.
      tensors: its tensors, without those that the user ignores.
      taken: the names of those that have a place in the model.

    Example:
      ForeignFile(path, tensors_of({"head.bias": np.zeros(3)})).take("head.bias", (3,), "head/bias")
    """

    path: Path
    tensors: Mapping[str, StoredTensor]
    taken: set[str] = field(default_factory=set)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Returns the shape of a tensor, or None if the file lacks it.

        Args:
          name: its name.
        """
        return self.tensors[name].shape if name in self.tensors else None

    def take(self, name: str, shape: Sequence[int], ours: str, hint: str = "") -> FloatArray:
        """Returns a tensor in float32.

        Args:
          name: its name.
          shape: the shape that the model needs.
          ours: what the model calls it, for errors.
          hint: what the user can do about another shape, as `import_hints.shape_hint` returns it.

        Raises:
          UserError: if it is missing, has another shape, or holds something else than finite
            floating-point numbers.
        """
        if name not in self.tensors:
            similar = difflib.get_close_matches(name, self.tensors, _SHOWN, cutoff=0.0)
            raise UserError(
                f"import: {self.path} has no {name} {list(shape)} for {ours}; it has "
                f"{self.shapes_text(similar) or 'no tensors'}"
            )
        tensor, what = self.tensors[name], f"import: {self.path}: {name}"
        if tensor.shape != tuple(shape):
            raise UserError(
                f"{what} has the shape {list(tensor.shape)}, expected {list(shape)} for "
                f"{ours}{hint}"
            )
        if tensor.dtype not in _DTYPES:
            raise UserError(
                f"{what} is {tensor.dtype}, expected one of {', '.join(_DTYPES)} for {ours}"
            )
        array = tensor.read()
        check_finite(name, array, f"import: {self.path}")
        self.taken.add(name)
        return array.astype(np.float32)

    def take_or_zeros(
        self, name: str, shape: Sequence[int], ours: str, hint: str = ""
    ) -> FloatArray:
        """Returns a bias; zeros for a layer without one, which computes the same.

        Args:
          name: its name.
          shape: the shape that the model needs.
          ours: what the model calls it, for errors.
          hint: what the user can do about another shape.

        Raises:
          UserError: as `take`, but not for a missing tensor.
        """
        if name not in self.tensors:
            return np.zeros(shape, np.float32)
        return self.take(name, shape, ours, hint)

    def check_all_taken(self) -> None:
        """Checks that every tensor has a place in the model.

        Raises:
          UserError: if a tensor is left; it says how to ignore it.
        """
        left = [name for name in self.tensors if name not in self.taken]
        if not left:
            return
        taken = {module for name in self.taken for module in modules_with(name)}
        patterns = list(dict.fromkeys(_widest_untaken(name, taken) for name in left))
        more = ":..." if len(patterns) > _SHOWN else ""
        raise UserError(
            f"import: {self.path}: the model has no place for {self.shapes_text(left)}; "
            f"--map=ignore={':'.join(patterns[:_SHOWN])}{more} leaves such tensors out (* is a "
            "wildcard)"
        )

    def shapes_text(self, names: Sequence[str]) -> str:
        """Returns names with their shapes for an error.

        Args:
          names: names of tensors.

        Example:
          file.shapes_text(["head.weight"])  # "head.weight [5, 6]"
        """
        parts = [f"{name} {list(self.tensors[name].shape)}" for name in names[:_SHOWN]]
        more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return ", ".join(parts + more)


def tensors_of(arrays: Mapping[str, np.ndarray]) -> dict[str, StoredTensor]:
    """Returns arrays in memory as tensors of a file.

    Args:
      arrays: arrays by name.

    Example:
      tensors_of({"head.bias": np.zeros(3)})["head.bias"].shape  # (3,)
    """
    return {
        name: StoredTensor(array.shape, array.dtype.name, partial(np.asarray, array))
        for name, array in arrays.items()
    }


def modules_with(name: str) -> list[str]:
    """Returns the modules that hold a tensor, the widest first.

    Args:
      name: the name of the tensor, a path with `/` or `.`.

    Example:
      modules_with("encoder.rnn.weight_ih_l0")  # ["encoder", "encoder.rnn"]
    """
    return [name[: match.start()] for match in _SEPARATOR.finditer(name)]


def _widest_untaken(name: str, taken: Container[str]) -> str:
    """Returns the widest module with a tensor of which nothing was taken, or the tensor."""
    return next((module for module in modules_with(name) if module not in taken), name)


def is_ignored(name: str, mapping: Mapping[str, str]) -> bool:
    """Returns whether the user says that a tensor of a file is not read.

    Args:
      name: the name of the tensor.
      mapping: what the user says; `ignore` has names of tensors, or of modules that hold them,
        separated by colons. `*` is a wildcard.

    Example:
      is_ignored("layers/dense_1/vars/0", {"ignore": "layers/dense_*:layers/norm"})  # True
    """
    patterns = mapping.get(IGNORE, "").split(":")
    return any(fits_one(part, patterns) for part in (name, *modules_with(name)))


def fits_one(name: str, patterns: Iterable[str]) -> bool:
    """Returns whether a name fits one of several patterns, in which `*` is a wildcard.

    Args:
      name: the name.
      patterns: the patterns; upper and lower case differ.

    Example:
      fits_one("optimizer/vars/0", ("optimizer/*", "step"))  # True
    """
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def read_safetensors_file(
    framework: str, path: Path, ignored: Callable[[str], bool]
) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of safetensors by name.

    Args:
      framework: the framework of the reader, for the hint.
      path: the file.
      ignored: whether a tensor of this name is not read.

    Raises:
      UserError: for another or a damaged file, or a dtype that NumPy does not know.

    Example:
      read_safetensors_file("torch", Path("lm.safetensors"), lambda name: False)["head.bias"]
    """
    try:
        return read_safetensors(path.read_bytes(), f"import: {path}", ignored)
    except UserError as error:
        raise UserError(f"{error}{format_hint(framework, path)}") from None


def check_unique(path: Path, names: Iterable[str]) -> None:
    """Raises UserError if a file has two tensors of one name.

    Args:
      path: the file.
      names: the names of all tensors.

    Example:
      check_unique(path, ["head/kernel", "head/bias"])
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UserError(f"import: {path}: {name} is there twice, expected once")
        seen.add(name)

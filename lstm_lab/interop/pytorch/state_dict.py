"""A state dict of PyTorch in a file of safetensors: its tensors, and which of them were taken.

In: a path. Out: `StateDict`. Pickle is refused, because reading it can run any code. Read read.py
next, which finds the weights of a model in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from lstm_lab.interop.import_hints import format_hint
from lstm_lab.interop.imported import is_ignored
from lstm_lab.interop.portable import FloatArray
from lstm_lab.utils.errors import UserError, unknown

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


def _conversion(path: Path) -> str:
    """Returns how to make a file of safetensors, for somebody who has only this file."""
    return (
        f"convert it once in PyTorch with save_file of safetensors.torch: "
        f"`save_file(torch.load({path.name!r}, weights_only=True), '{path.stem}.safetensors')`"
    )


@dataclass
class StateDict:
    """The tensors of a file by name.

    Attributes:
      path: the file.
      tensors: its tensors.
      taken: the names of those that have a place in the model.

    Example:
      read_state_dict(Path("model.safetensors")).tensors["head.weight"].shape
    """

    path: Path
    tensors: Mapping[str, FloatArray]
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, shape: Sequence[int], ours: str, hint: str = "") -> FloatArray:
        """Returns a tensor in float32.

        Args:
          name: its name.
          shape: the shape that the model needs.
          ours: what the model calls it, for the message.
          hint: what the user can do about another shape, as `shape_hint` returns it.

        Raises:
          UserError: if it is missing, has another shape, or holds no floating-point numbers.
        """
        if name not in self.tensors:
            raise unknown(f"{self.path}: {ours} needs {list(shape)}, tensor", name, self.tensors)
        tensor = self.tensors[name]
        if tensor.shape != tuple(shape):
            raise UserError(
                f"{self.path}: {name} has shape {list(tensor.shape)}, expected {list(shape)} "
                f"for {ours}{hint}"
            )
        # Not by NumPy, to which bfloat16 is no floating-point number.
        if not jnp.issubdtype(tensor.dtype, jnp.floating):
            raise UserError(
                f"{self.path}: {name} is {tensor.dtype}, expected floating-point numbers for {ours}"
            )
        self.taken.add(name)
        return tensor.astype(np.float32)

    def check_all_taken(self, mapping: Mapping[str, str]) -> None:
        """Checks that every tensor has a place in the model.

        Args:
          mapping: what the user says; `ignore` has the names of tensors without a place.

        Raises:
          UserError: if a tensor is left.
        """
        left = [
            name
            for name in self.tensors
            if name not in self.taken and not is_ignored(name, mapping)
        ]
        if left:
            modules = dict.fromkeys(name.rpartition(".")[0] for name in left)
            patterns = [f"{module}.*" if module else "NAME" for module in modules][:3]
            raise UserError(
                f"{self.path}: the model has no place for {shapes_text(self, left)}; "
                f"--map=ignore={':'.join(patterns)} leaves such tensors out (* is a wildcard)"
            )


def shapes_text(file: StateDict, names: Sequence[str], most: int = 6) -> str:
    """Returns names with their shapes for a message.

    Args:
      file: the file.
      names: names of its tensors.
      most: how many of them are written.

    Example:
      shapes_text(file, ["head.weight"])  # "head.weight [5, 6]"
    """
    parts = [f"{name} {list(file.tensors[name].shape)}" for name in names[:most]]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    return ", ".join(parts + more)


def read_state_dict(path: Path) -> StateDict:
    """Reads a file of safetensors.

    Args:
      path: the file.

    Raises:
      UserError: for a pickle, a missing or damaged file, or without safetensors.

    Example:
      read_state_dict(Path("model.safetensors")).tensors.keys()
    """
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path}: pickle can run code and is never read, expected a file of safetensors; "
            f"{_conversion(path)}"
        )
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise UserError(
            '--from=torch requires safetensors: pip install "lstm-lab[interop]"'
        ) from None
    if not path.is_file():
        raise UserError(f"{path}: no such file, expected a file of safetensors")
    try:
        return StateDict(path, load_file(path))
    except SafetensorError as error:
        advice = format_hint("torch", path) or f"; a pickle? {_conversion(path)}"
        raise UserError(f"{path}: no file of safetensors ({error}){advice}") from None

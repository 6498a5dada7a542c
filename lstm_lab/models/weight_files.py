"""Weights from a file of the format safetensors: arrays by name, and nothing that could run.

In: the content of a file. Out: arrays by name, as in `weights.py`. Files of other formats are not
read: a pickle (.pt, .pkl, .bin) runs code when it is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np

from lstm_lab.utils.errors import UserError

# The names of the format, and what NumPy calls them. NumPy has no bfloat16 of its own.
_DTYPES = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_},
}


def _nothing(name: str) -> bool:
    del name
    return False


def read_safetensors(
    content: bytes, what: str, ignored: Callable[[str], bool] = _nothing
) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of the format safetensors, by name.

    Args:
      content: the bytes of the file.
      what: the setting and the file, for errors.
      ignored: whether the tensor of a name is left out, whatever its dtype is.

    Returns:
      Arrays of the dtypes of the file, which cannot be written to.

    Raises:
      UserError: without safetensors, for a file of another format or a damaged one, or for an array
        of numbers that NumPy does not know.

    Example:
      read_safetensors(Path("lm.safetensors").read_bytes(), "model.init_from: lm.safetensors")
    """
    try:
        from safetensors import SafetensorError, deserialize
    except ImportError:
        raise UserError(f"{what} needs safetensors: pip install 'lstm-lab[interop]'") from None
    try:
        tensors = deserialize(content)
    except SafetensorError as error:
        line = str(error).partition("\n")[0]
        raise UserError(f"{what} is damaged, or no safetensors file: {line}") from None
    weights = {}
    # The library returns them in no certain order.
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        if ignored(name):
            continue
        dtype = _DTYPES.get(tensor["dtype"])
        if dtype is None:
            raise UserError(
                f"{what}: {name} has the dtype {tensor['dtype']}, expected one of "
                f"{', '.join(_DTYPES)}"
            )
        weights[name] = np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])
    return weights


def safetensors_content(
    arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], what: str
) -> bytes:
    """Returns the content of a file of the format safetensors.

    Args:
      arrays: arrays by name; their bits stay as they are.
      metadata: texts by name.
      what: what is written, for the error.

    Raises:
      UserError: if safetensors is not installed.

    Example:
      safetensors_content({"head/bias": np.zeros(3)}, {"format": "pt"}, "--to=torch")
    """
    try:
        from safetensors.numpy import save
    except ImportError:
        raise UserError(f"{what} needs safetensors: pip install 'lstm-lab[interop]'") from None
    # safetensors reads the memory of an array as it lies. `ascontiguousarray` would also turn a
    # single number into an array of one.
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return save(ordered, dict(metadata))


def safetensors_metadata(content: bytes) -> dict[str, str]:
    """Returns the metadata of a file of the format safetensors; empty for a file without.

    Args:
      content: the bytes of a file that `read_safetensors` can read.

    Example:
      safetensors_metadata(Path("lm.safetensors").read_bytes()).get("cell")  # "lstm"
    """
    # The library gives them for a file on disk alone. 8 bytes hold the length of a JSON text.
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})

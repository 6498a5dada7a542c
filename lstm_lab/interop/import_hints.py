"""What the errors of an import suggest: another `--from`, another size, or another cell.

In: the names and shapes that a file has, and the spec of the model. Out: the end of an error, or an
error. All three readers use it. Read pytorch/read.py next, one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Language, Tags, Text, Tokens
from lstm_lab.utils.errors import UserError

# How the names of weights look, by the value of --from. The first one that fits counts, so the most
# special ones come first.
_LOOKS = {
    "ours": re.compile(r"(^|[./])lstm[./]layer_\d+(_reverse)?[./]wx$"),
    "torch": re.compile(r"(^|[./])((weight|bias)_(ih|hh)_l\d+(_reverse)?|weight)$"),
    "keras": re.compile(r"(^|/)vars/\d+$"),
    "flax": re.compile(r"[./](kernel|embedding)$"),
}
_TITLES = {"torch": "PyTorch", "keras": "Keras", "flax": "Flax"}
_ENDINGS = {".keras": "keras", ".h5": "keras", ".msgpack": "flax"}
_CELLS = {4: "an LSTM", 3: "a GRU", 1: "a simple RNN"}
_CELL_NAMES = {4: "lstm", 3: "gru", 1: "rnn"}


def format_hint(framework: str, path: Path, names: Iterable[str] = ()) -> str:
    """Returns the end of an error for a file that looks like one of another framework, or "".

    Args:
      framework: the framework of the reader.
      path: the file; its ending says something if no names are known.
      names: the names that the file has.

    Example:
      format_hint("flax", path, ["lstm.weight_ih_l0"])
      # "; the names look like those of PyTorch: --from=torch"
    """
    names = list(names)
    look = next((k for k, form in _LOOKS.items() if any(map(form.search, names))), None)
    if look == "ours":
        return f"; the names are ours and need no import: --config.model.init_from={path}"
    if look is not None and look != framework:
        return f"; the names look like those of {_TITLES[look]}: --from={look}"
    ending = _ENDINGS.get(path.suffix.lower(), framework)
    if not names and ending != framework:
        return f"; the file looks like one of {_TITLES[ending]}: --from={ending}"
    return ""


def safetensors_names(path: Path) -> list[str]:
    """Returns the names of the tensors in a safetensors file; none if it cannot be read.

    Args:
      path: the file.

    Example:
      safetensors_names(Path("model.safetensors"))  # ["lstm.weight_ih_l0", ...]
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        return []
    try:
        with safe_open(path, "numpy") as file:
            return list(file.keys())
    except (OSError, SafetensorError):
        return []


def check_something_read(
    framework: str, path: Path, parts: Iterable[str], names: Sequence[str]
) -> None:
    """Raises UserError if nothing was read, or if only the head of another format was.

    Args:
      framework: the framework of the reader.
      path: the file.
      parts: the parts of the model that were read.
      names: the names that the file has.

    Raises:
      UserError: it shows some of the names, and the framework that they look like.

    Example:
      check_something_read("flax", path, ["head"], ["head/kernel", "head/bias"])
    """
    parts = list(parts)
    hint = format_hint(framework, path, names)
    if parts and (not hint or any(part.startswith("lstm/") for part in parts)):
        return
    shown = ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])]) or "no arrays"
    if not hint and names:
        hint = "; --map=lstm/layer_0=NAME says where a part is"
    raise UserError(
        f"import: no {'recurrent layer' if parts else 'part of the model'} was read from {path}, "
        f"expected names of {_TITLES[framework]}; it has {shown}{hint}"
    )


def check_gates(path: Path, tensor: str, shape: Sequence[int], expected: int) -> None:
    """Raises UserError if a file has a cell with another number of gates than the model.

    Args:
      path: the file.
      tensor: a tensor with the recurrent weights of all gates, or the module that has them.
      shape: its shape: the hidden units, and the gates times the hidden units, in any order.
      expected: the number of gates of the model.

    Example:
      check_gates(path, "lstm.weight_hh_l0", (256, 64), 4)
    """
    hidden = min(shape)
    gates = max(shape) // hidden if hidden and max(shape) % hidden == 0 else expected
    if gates != expected and gates in _CELLS:
        raise UserError(
            f"import: {tensor} of {path} belongs to {_CELLS[gates]} ({_gates(gates)}), and the "
            f"config has {_CELLS[expected]} ({_gates(expected)}): "
            f"--config.model.cell={_CELL_NAMES[gates]} fits"
        )


def _gates(number: int) -> str:
    return f"{number} gates" if number > 1 else "no gates"


def shape_hint(
    spec: RunSpec, axes: Sequence[str], got: Sequence[int], expected: Sequence[int]
) -> str:
    """Returns the end of an error for a tensor of another shape: the axes, and a setting that fits.

    Args:
      spec: the spec of the model.
      axes: what the axes of the tensor are, such as `("4 x hidden", "inputs")`.
      got, expected: the two shapes.

    Example:
      shape_hint(spec, ("4 x hidden", "inputs"), (512, 66), (256, 66))
      # "; the axes are [4 x hidden, inputs]: --config.model.hidden=128 fits"
    """
    if len(got) != len(axes):
        return ""
    hint = f"; the axes are [{', '.join(axes)}]"
    for axis, size, needed in zip(axes, got, expected, strict=True):
        if size == needed:
            continue
        if axis.endswith("hidden") and spec.model.hidden_sizes is None:
            gates = int(axis.split()[0]) if " x " in axis else 1
            return hint if size % gates else f"{hint}: --config.model.hidden={size // gates} fits"
        if axis == "embedding" and spec.model.embedding is not None:
            return f"{hint}: --config.model.embedding={size} fits"
        if axis in ("symbols", "inputs", "outputs") and needed == _symbols(spec):
            return hint + _symbols_hint(spec, size)
    return hint


def _symbols(spec: RunSpec) -> int | None:
    inputs = spec.task.inputs
    return inputs.vocabulary if isinstance(inputs, Tokens) else None


def _symbols_hint(spec: RunSpec, size: int) -> str:
    hint = f": the file has {size} symbols, the task {_symbols(spec)}"
    # Their vocabularies begin with `<unk>`.
    if isinstance(spec.task, Language | Tags | Text):
        hint += (
            " in the order of an export's preprocessing.json, where symbol 0 stands for unknown "
            "ones; bring the rows of the file into this order"
        )
    return hint

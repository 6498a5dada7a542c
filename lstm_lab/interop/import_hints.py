"""What the errors of an import suggest: another `--from`, another size, or another cell.

In: the names and shapes that a file has, and the spec of the model. Out: the end of an error, or an
error. All three readers use it. Read pytorch/read.py next, one of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.weight_files import read_safetensors
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
# What a reader reads, for errors.
FORMATS = {
    "torch": "a file of safetensors with a state dict of PyTorch",
    "keras": "a .keras or .weights.h5 file of Keras 3",
    "flax": "parameters of Flax as msgpack or safetensors",
}
_EXAMPLES = {
    "torch": "lstm.weight_ih_l0",
    "keras": "layers/lstm/cell/vars/0",
    "flax": "LSTMCell_0/ii/kernel",
}
# Endings of pickles; in PyTorch these two are pickles as well.
_PICKLES, _TORCH_PICKLES = (".pkl", ".pickle", ".pt", ".pth"), (".bin", ".ckpt")
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
        return list(read_safetensors(path.read_bytes(), str(path)))
    except (OSError, UserError):
        return []


def check_no_pickle(framework: str, path: Path) -> None:
    """Raises UserError for a file whose name is that of a pickle: reading it can run any code.

    Args:
      framework: the framework of the reader.
      path: the file, which is not opened.

    Example:
      check_no_pickle("torch", Path("model.safetensors"))
    """
    endings = _PICKLES + (_TORCH_PICKLES if framework == "torch" else ())
    if path.suffix.lower() in endings:
        raise UserError(
            f"import: {path}: a pickle can run code and is never read, expected "
            f"{FORMATS[framework]}; {_conversion(framework, path)}"
        )


def _conversion(framework: str, path: Path) -> str:
    """Returns how to make a file that can be read, for somebody who has only a pickle."""
    match framework:
        case "torch":
            return (
                f"convert it once in PyTorch with save_file of safetensors.torch: `save_file("
                f"torch.load({path.name!r}, weights_only=True), '{path.stem}.safetensors')`"
            )
        case "keras":
            return (
                "load it with the program that wrote it, and call "
                f"`model.save('{path.stem}.keras')`"
            )
        case _:
            return (
                "load it with the program that wrote it, and write the bytes of "
                f"`flax.serialization.msgpack_serialize(params)` into '{path.stem}.msgpack'"
            )


def unreadable(
    framework: str, path: Path, error: Exception, names: Iterable[str] = ()
) -> UserError:
    """Returns the error for a file that is damaged, or none of the framework.

    Args:
      framework: the framework of the reader.
      path: the file.
      error: what a library raised; its first line is shown.
      names: the names that the file has, if they are known.

    Example:
      raise unreadable("keras", path, error)
    """
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"import: {path} cannot be read, expected {FORMATS[framework]}: {reason}"
        f"{format_hint(framework, path, names)}"
    )


def check_has_layers(
    framework: str, path: Path, cells: Sequence[str], names: Sequence[str], shown: str
) -> None:
    """Raises UserError for a file without a recurrent layer of its framework.

    Args:
      framework: the framework of the reader.
      path: the file.
      cells: the recurrent layers of the file.
      names: the names that the file has.
      shown: some of these names with their shapes.

    Raises:
      UserError: it shows some of the names, and the framework that they look like.

    Example:
      check_has_layers("flax", path, ["layer_0"], ["layer_0/ii/kernel"], "")
    """
    if cells:
        return
    hint = format_hint(framework, path, names)
    if not hint:
        hint = "; --map=lstm/layer_0=NAME says where a layer is, --map=lstm= leaves them out"
    raise UserError(
        f"import: {path} has no recurrent layer, expected names of {_TITLES[framework]} such as "
        f"{_EXAMPLES[framework]}; it has {shown or 'no tensors'}{hint}"
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

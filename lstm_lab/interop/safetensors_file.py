"""The target `safetensors`: the weights of a run under our own names, in one file.

In: a finished run. Out: `model.safetensors`, with what the weights belong to in its metadata. It
holds every model, since it says nothing about equations. `model.init_from` reads the file, and so
does every library that reads safetensors. Read models/weights.py next, which names the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lstm_lab.cells.cell import Spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.config.user_code import without_folder
from lstm_lab.inference.load import Trained
from lstm_lab.models.weight_files import safetensors_content
from lstm_lab.models.weights import named_weights
from lstm_lab.utils.files import write_bytes

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form

SCHEMA = 1  # raised when names or layouts of weights change their meaning
FILE = "model.safetensors"

# Settings of a model that say where its first weights came from: paths on the user's machine.
_ORIGINS = ("vectors", "init_from", "init_parts")

_USAGE = """\
The names are paths in the parameter tree, such as `lstm/layer_0/wx`. To read the arrays:

```python
from safetensors.numpy import load_file

weights = load_file("model.safetensors")
```

To train a model that begins with them:

```sh
lstm-lab train CONFIG --config.model.init_from=model.safetensors
```
"""


def form(spec: Spec) -> Form:
    """Returns "weights": a file of arrays holds those of any cell.

    Example:
      form(GRUSpec())  # "weights"
    """
    del spec
    return "weights"


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes the weights of a run.

    Args:
      trained: the run; also a translation, and a run with a cell of its own.
      folder: an empty folder.
      options: not used.

    Returns:
      How to load the file, as Markdown.

    Raises:
      UserError: if safetensors is not installed.

    Example:
      write(load_run(Path("runs/adding")), Path("adding_weights"), ExportOptions())
    """
    del options
    write_weights(folder / FILE, named_weights(trained.params), trained.spec)
    return _USAGE


def write_weights(path: Path, weights: Mapping[str, np.ndarray], spec: RunSpec) -> None:
    """Writes named weights into a file at once.

    Args:
      path: the file, which is replaced.
      weights: arrays by name; their bits stay as they are.
      spec: the run whose model has these weights; the metadata of the file say which.

    Raises:
      UserError: if safetensors is not installed.

    Example:
      write_weights(Path("mine.safetensors"), named_weights(params), load_spec("adding:lstm"))
    """
    content = safetensors_content(weights, _metadata(spec), "a file of weights")
    write_bytes(path, content)


def _metadata(spec: RunSpec) -> dict[str, str]:
    """Returns what the weights belong to; the format allows texts alone."""
    model = {name: value for name, value in to_json(spec)["model"].items() if name not in _ORIGINS}
    return {
        "lstm_lab": version("lstm-lab"),
        "schema": str(SCHEMA),
        "task": without_folder(spec.task.name),
        "cell": without_folder(spec.model.cell),
        "model": json.dumps(model | {"cell": without_folder(spec.model.cell)}),
    }

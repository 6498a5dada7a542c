"""The target `torch` of an export.

In: a run. Out: model.py and model.safetensors in a folder, and how to use them as Markdown. Read
module.py next.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.cells.cell import Spec
from lstm_lab.cells.masks import default_rates
from lstm_lab.inference.load import Trained
from lstm_lab.interop.portable import PortableModel, portable_model
from lstm_lab.interop.pytorch.layers import torch_layer
from lstm_lab.interop.pytorch.module import module_text, state_dict
from lstm_lab.models.weight_files import safetensors_content
from lstm_lab.tasks import Language
from lstm_lab.tasks.readers.text import END
from lstm_lab.utils.files import write_bytes, write_text

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form

_LOAD = """\
```python
# It needs PyTorch and safetensors: pip install torch safetensors
# Run it in this folder, or add the folder to sys.path.
from model import load

model = load()
```

`{result}, states = model({x})` reads whole sequences; `{x}` is {inputs}.
`model({x}, lengths)` takes sequences of different lengths [B]; padding changes no result.
"""

_STREAM = """
`model({x}, states=states)` continues where the states end, so a stream is a call for each step.
"""

_GENERATE = """
Text, with the most probable symbol at each step:

```python
import json

import torch

symbols = json.load(open("preprocessing.json"))["inputs"]
numbers = {{symbol: number for number, symbol in enumerate(symbols)}}
tokens, states = torch.tensor([[numbers.get(symbol, 0) for symbol in {prompt}]]), None
for _ in range(200):
    with torch.no_grad():
        logits, states = model(tokens, states=states)
    best = 1 + logits[0, -1, 1 : len(symbols)].argmax()  # 0 stands for unknown symbols
    tokens = best.reshape(1, 1)
    print(symbols[best], end="{end}")
```
"""


def form(spec: Spec) -> Form:
    """Returns how PyTorch expresses a variant: as its own layer, or by its equations.

    Args:
      spec: the variant.

    Raises:
      UserError: for a cell of a user, whose equations the package does not know.

    Example:
      form(get_variant("peephole").spec)  # "equations"
    """
    return "equations" if torch_layer(spec, default_rates(spec)) is None else "layer"


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes a run as a module of PyTorch.

    Args:
      trained: the run.
      folder: an empty folder.
      options: none of them concerns this target.

    Returns:
      How to use the module, as Markdown.

    Raises:
      UserError: for a translation, a cell of a user, or without safetensors.

    Example:
      write(load_run(Path("runs/shakespeare")), Path("shakespeare_torch"), NO_OPTIONS)
    """
    del options
    model = portable_model(trained)
    text = module_text(model, trained.spec.model, trained.spec.task.target)
    # By our own function: that of safetensors makes files that only their owner can read.
    content = safetensors_content(state_dict(model), {"format": "pt"}, "--to=torch")
    write_bytes(folder / "model.safetensors", content)
    write_text(folder / "model.py", text)
    return _usage(trained, model)


def _usage(trained: Trained, model: PortableModel) -> str:
    task = trained.spec.task
    names = {
        "result": "logits",
        "x": "x" if model.vocabulary is None else "tokens",
        "inputs": f"float32 [B, T, {model.features}]"
        if model.vocabulary is None
        else f"int64 [B, T], from 0 to {model.vocabulary - 1}",
    }
    usage = _LOAD.format(**names)
    if model.streaming_problem is None:
        usage += _STREAM.format(**names)
    if isinstance(task, Language):
        is_words = task.unit == "word"
        usage += _GENERATE.format(
            prompt=f'["{END}"]' if is_words else r'"\n"', end=" " if is_words else ""
        )
    return usage

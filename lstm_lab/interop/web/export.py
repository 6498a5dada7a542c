"""Writes a page that continues a text in the browser.

In: a run of a language model, and the files of onnxruntime-web. Out: `index.html`, `streaming.onnx`
and the runtime. The page loads nothing from other servers. Read onnx/export.py for the model,
page.html for the page.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.config.user_code import without_folder
from lstm_lab.inference.load import Trained
from lstm_lab.interop.onnx.export import check_opset, form, write_graph
from lstm_lab.interop.onnx.model import model_graph
from lstm_lab.interop.portable import PortableModel, portable_model
from lstm_lab.tasks import Language
from lstm_lab.tasks.readers.text import END
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_text

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions

__all__ = ["RUNTIME_FILES", "form", "write"]

TEMPLATE = Path(__file__).with_name("page.html")
# The build without WebGPU, as one module, and the program that it loads.
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

_USAGE = """The page needs a web server, because browsers load no modules from files:

```sh
python -m http.server --directory .
```

Then open http://localhost:8000 in a browser. The model runs there; no text leaves the page.
To publish it, copy the folder to any web server.
"""


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes the page of a run.

    Args:
      trained: a run of a language model.
      folder: an empty folder.
      options: `runtime`, the folder with the files of onnxruntime-web; `opset`.

    Returns:
      How to open the page, as Markdown.

    Raises:
      UserError: for a run of another task, or a runtime that is missing.

    Example:
      runtime = Path("node_modules/onnxruntime-web/dist")
      write(run.trained, Path("page"), ExportOptions(runtime=runtime))
    """
    task = trained.spec.task
    if not isinstance(task, Language):
        raise UserError(
            "--to=web needs a language model, such as a run of characters; this run is of "
            f"{without_folder(task.name)}. --to=onnx exports it."
        )
    model = portable_model(trained)
    if model.streaming_problem is not None:
        raise UserError(f"--to=web: {model.streaming_problem}; --to=onnx exports it")
    form(model.spec)
    opset = check_opset(options.opset)
    files = _runtime_files(options.runtime)
    write_graph(trained, model_graph(model, one_step=True), folder / "streaming.onnx", opset)
    for path in files:
        shutil.copyfile(path, folder / path.name)
    # In a script element, only `<` could end the text.
    settings = json.dumps(_settings(trained, task, model)).replace("<", "\\u003c")
    page = TEMPLATE.read_text(encoding="utf-8").replace("{{ settings }}", settings)
    write_text(folder / "index.html", page)
    return _USAGE


def _runtime_files(folder: Path | None) -> list[Path]:
    """Returns the files of onnxruntime-web that the page needs."""
    if folder is None:
        raise UserError(
            "--runtime is required for --to=web: run `npm install onnxruntime-web`, then "
            "--runtime=node_modules/onnxruntime-web/dist"
        )
    files = [folder / name for name in RUNTIME_FILES]
    for path in files:
        if not path.is_file():
            raise UserError(
                f"--runtime: {folder} has no {path.name}, expected the folder "
                "node_modules/onnxruntime-web/dist"
            )
    return files


def _settings(trained: Trained, task: Language, model: PortableModel) -> dict[str, object]:
    """Returns what the page must know of the model."""
    widths = [directions[0].units for directions in model.layers]
    return {
        "cell": without_folder(trained.spec.model.cell),
        "layers": widths,
        "unit": task.unit,
        "states": model.state_sizes,
        # An empty prompt means the start of a line.
        "lineEnd": END if task.unit == "word" else "\n",
    }

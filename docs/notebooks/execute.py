"""Executes the notebooks of this folder in an empty folder, and stores their outputs.

Command: python docs/notebooks/execute.py [NAME ...]
Time: about three minutes on 2 CPU cores.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Executes a notebook; cells with the tag `skip-execution` are left out.

    Args:
      path: the notebook.
      folder: the working directory of its cells.

    Returns:
      The notebook with its outputs.

    Raises:
      nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=600, resources=resources).execute()
    for cell in notebook.cells:
        # Times would change the file with each execution.
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if not _is_progress(output)]
    return notebook


def _is_progress(output: nbformat.NotebookNode) -> bool:
    """Returns whether an output is a line of progress, or the empty place of a bar."""
    if output.output_type == "stream":
        return bool(output.name == "stderr")
    return output.get("data", {}).get("text/html") == ""


def main() -> None:
    """Executes the named notebooks, or all."""
    names = sys.argv[1:] or sorted(path.stem for path in FOLDER.glob("*.ipynb"))
    for name in names:
        path = FOLDER / f"{name}.ipynb"
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)
        print(path.name)


if __name__ == "__main__":
    main()

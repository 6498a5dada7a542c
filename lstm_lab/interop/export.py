"""Exports a finished run to a folder that another framework can load.

In: the folder of a run and a target. Out: a folder with the files of the target, and next to them
`export.json` (what it is and where it comes from) and `preprocessing.json` (the symbols, labels and
scales that inputs and outputs need). Read targets.py next, and export_folder.py for how the folder
appears and what it may replace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lstm_lab.config.user_code import without_folder
from lstm_lab.inference.load import Trained
from lstm_lab.interop.export_folder import MARKER, file_hashes, new_export
from lstm_lab.interop.targets import (
    NO_OPTIONS,
    ExportOptions,
    check_options,
    find_target,
)
from lstm_lab.interop.trained_equations import UnknownEquationsError
from lstm_lab.tasks import Tokens
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json, write_text
from lstm_lab.utils.types import JSON


def export_run(
    trained: Trained,
    to: str,
    out: Path,
    options: ExportOptions = NO_OPTIONS,
    card: Callable[[str], str] | None = None,
) -> Path:
    """Writes a run for another framework.

    Args:
      trained: the run.
      to: the target, one of `targets.TARGETS`.
      out: the folder to write; an earlier export in it is replaced if its files are unchanged.
      options: what the user chose.
      card: how to load the files, as Markdown -> the text of README.md; None writes no README.

    Returns:
      `out`.

    Raises:
      UserError: for an unknown target, a model that it cannot express, or a folder that holds
        something else, such as a file that was added to an earlier export. Nothing is written then.

    Example:
      export_run(load_run(Path("runs/shakespeare")), "torch", Path("shakespeare_torch"))
    """
    target = find_target(to)
    check_options(to, options)
    # Kernels are calls into a library of this package, which a program for others does not have.
    trained = replace(trained, spec=trained.spec.for_tracing())
    with new_export(out) as folder:
        try:
            usage = target.write(trained, folder, options)
        except UnknownEquationsError:
            # The spec of a user's cell does not know the name that the user gave it.
            raise UnknownEquationsError(_cell_name(trained)) from None
        write_json(folder / "preprocessing.json", dict(trained.preprocessing))
        if card is not None:
            write_text(folder / "README.md", card(usage))
        description = _description(trained, to, usage)
        write_json(folder / MARKER, {**description, "files": file_hashes(folder)})
    return out


def read_usage(folder: Path) -> str:
    """Returns how to load an export, as Markdown.

    Args:
      folder: the folder that `export_run` wrote.

    Raises:
      UserError: for a folder without an export.

    Example:
      print(read_usage(Path("runs/adding/export/torch")))
    """
    description = read_json(folder / MARKER, usage=str)
    if description is None:
        state = "damaged" if (folder / MARKER).is_file() else "missing"
        raise UserError(f"{folder} holds no export ({MARKER} is {state})")
    return str(description["usage"])


def _cell_name(trained: Trained) -> str:
    """Returns the name of a cell without its file, which is a copy in the folder of the run."""
    return trained.spec.model.cell.rpartition(":")[2]


def _description(trained: Trained, to: str, usage: str) -> dict[str, JSON]:
    """Returns what the export is: for programs that load it."""
    inputs, target = trained.spec.task.inputs, trained.spec.task.target
    kind = (
        {"kind": "tokens", "vocabulary": inputs.vocabulary}
        if isinstance(inputs, Tokens)
        else {"kind": "vectors", "features": inputs.features}
    )
    return {
        "target": to,
        "task": without_folder(trained.spec.task.name),
        "cell": without_folder(trained.spec.model.cell),
        "inputs": kind,
        "outputs": {
            "kind": type(target).__name__.lower(),
            "size": target.size,
            "every_step": target.every_step,
        },
        "usage": usage,
    }

"""Names of configs, studies and variants, for lists and for completion in a shell.

In: a kind of thing. Out: names, with the first lines of docstrings. Files are parsed and not run.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lstm_lab.config.find import Kind


def names_of(kind: str) -> list[str]:
    """Returns the names that a shell completes.

    Args:
      kind: configs, studies, variants or data.
    """
    if kind == "data":
        from lstm_lab.tasks.readers.sources import DATA_SETS

        return list(DATA_SETS)
    if kind == "variants":
        from lstm_lab.cells import CATALOGUE

        return list(CATALOGUE)
    return [name for name, _ in described_files(kind)]


def described_files(kind: str) -> list[list[str]]:
    """Returns the names of configs or studies with the first lines of their docstrings.

    Args:
      kind: configs or studies.
    """
    from lstm_lab.config.find import list_files

    where: Kind = "configs" if kind == "configs" else "experiments"
    # Parsed and not run: a config may read its data.
    return [
        [name, first_line(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))]
        for name, path in list_files(where).items()
    ]


def first_line(docstring: str | None) -> str:
    """Returns the first line of a docstring; empty without one.

    Args:
      docstring: the docstring, or None.
    """
    return (docstring or "").strip().partition("\n")[0]

"""The tables of several suites as one part of a document, such as docs/benchmarks.md.

In: a folder with the results of suites (`layer.json`, `train.json`, ...), and a document with two
marks. Out: Markdown, which replaces what is between the marks. The rest of the document is written
by hand and stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lstm_lab.bench import cell_table, costs, errors, table
from lstm_lab.bench.page import TITLES
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_text

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def tables(result: dict[str, Any]) -> str:
    """Returns the tables of a result as Markdown, in the form of its suite.

    Args:
      result: the result of a suite.

    Example:
      tables(read_json(Path("layer.json")))
    """
    markdown = {
        "errors": errors.markdown,
        "cells": cell_table.markdown,
        "costs": costs.markdown,
    }.get(result["suite"], table.markdown)
    return markdown(result)


def collected(folder: Path) -> str:
    """Returns the tables of all results in a folder, each below the title of its suite.

    Args:
      folder: the folder, as runs/gpu of `make gpu`.

    Raises:
      UserError: if it has no result, or a damaged one.

    Example:
      print(collected(Path("runs/gpu")))
    """
    parts = []
    for suite, title in TITLES.items():
        path = folder / f"{suite}.json"
        if not path.exists():
            continue
        result = read_json(path, suite=str, rows=list, machine=dict, left_out=list)
        if result is None:
            raise UserError(f"--collect: {path} is not a result of lstm-lab bench")
        # Without a row there is no table, as if the suite had been killed in its first case.
        if result["rows"]:
            parts.append(f"### {title}\n\n{_command(result)}{tables(result)}\n")
    if not parts:
        names = ", ".join(f"{suite}.json" for suite in TITLES)
        raise UserError(f"--collect: {folder} has no result of lstm-lab bench, expected {names}")
    return "\n".join(parts)


def replace_between_marks(document: Path, text: str) -> None:
    """Replaces the part of a document that lies between the marks `BEGIN` and `END`.

    Args:
      document: a Markdown file with both marks, each once, on lines of their own.
      text: the new part.

    Raises:
      UserError: without the document or its marks.

    Example:
      replace_between_marks(Path("docs/benchmarks.md"), collected(Path("runs/gpu")))
    """
    if not document.is_file():
        raise UserError(f"--out: {document} does not exist, expected a file with {BEGIN}")
    old = document.read_text(encoding="utf-8")
    before, begin, rest = old.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(f"{END}\n")
    if not begin or not end:
        raise UserError(f"--out: {document} lacks the lines {BEGIN} and {END}, expected both")
    write_text(document, f"{before}{begin}\n{text}\n{end}{after}")


def _command(result: dict[str, Any]) -> str:
    return f"`{result['command']}`\n\n" if result.get("command") else ""

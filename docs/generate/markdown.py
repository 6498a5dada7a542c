"""Markdown for MyST: escaped text, tables, and docstrings as paragraphs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/lstm-lab/lstm_lab/blob/main"
_CODE = re.compile(r"(`[^`]*`)")
_LABELED = re.compile(r"([A-Z][\w ]*): (.*)")


def escape(text: str) -> str:
    """Escapes what Markdown would read as markup; text in backticks stays as it is."""
    parts = _CODE.split(text)
    # Odd parts are in backticks.
    parts[::2] = [re.sub(r"([\\*_\[\]<>|#$~{}])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def code(text: object) -> str:
    """Returns text as code, also inside of a table."""
    return "`" + str(text).replace("|", "\\|") + "`"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a table of cells that are Markdown already; "" without rows."""
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(title: str, *parts: str) -> str:
    """Returns a page; empty parts are left out."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def section(title: str, *parts: str) -> str:
    """Returns a section, or "" if all of its parts are empty."""
    filled = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *filled]) if filled else ""


def paragraphs(doc: str) -> str:
    """Returns the text of a docstring as Markdown.

    Indented blocks become code. Lines that start with a label, such as `Time: 5 minutes`, become a
    list.
    """
    return "\n\n".join(_paragraph(block) for block in re.split(r"\n\s*\n", doc) if block.strip())


def _paragraph(block: str) -> str:
    lines = block.split("\n")
    if all(line.startswith(" ") for line in lines):
        return f"```text\n{textwrap.dedent(block)}\n```"
    if not _LABELED.match(lines[0]):
        return escape(" ".join(line.strip() for line in lines))
    entries: list[list[str]] = []
    for line in lines:
        match = _LABELED.match(line)
        if match:
            entries.append([match[1], match[2]])
        else:
            entries[-1][1] += f" {line.strip()}"
    # A command is copied as it stands, so it is code.
    written = [
        (label, code(text) if label == "Command" else escape(text)) for label, text in entries
    ]
    return "\n".join(f"- **{label}:** {text}" for label, text in written)


def source_link(path: Path) -> str:
    """Returns a link to a file of the repository."""
    name = path.resolve().relative_to(ROOT).as_posix()
    return f"[{name}]({REPOSITORY}/{name})"


def toctree(entries: list[str], caption: str = "") -> str:
    """Returns a toctree of pages relative to the page."""
    options = [":maxdepth: 1"] + ([f":caption: {caption}"] if caption else [])
    return "\n".join(["```{toctree}", *options, "", *entries, "```"])

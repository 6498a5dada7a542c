"""Writes the generated pages of the documentation site.

In: the package itself: specs, docstrings, configs, archived results, the tree of commands. Out:
Markdown files under docs/_generated, which are not committed. conf.py calls `write_pages` at the
start of a build; tests call `pages` without Sphinx.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from docs.generate import api, commands, configs, exports, project, reference, tasks, variants

Pages = dict[str, str]
GENERATORS: tuple[Callable[[], Pages], ...] = (
    variants.pages,
    tasks.pages,
    configs.pages,
    reference.pages,
    commands.pages,
    exports.pages,
    api.pages,
    project.pages,
)


@cache
def pages() -> Pages:
    """Returns the text of every generated page by its path, such as variants/lstm.md."""
    return {path: text for generate in GENERATORS for path, text in generate().items()}


def write_pages(folder: Path) -> None:
    """Writes all pages, and removes pages of earlier builds that no longer exist.

    Args:
      folder: docs/_generated.
    """
    generated = pages()
    for path in folder.rglob("*.md"):
        if path.relative_to(folder).as_posix() not in generated:
            path.unlink()
    for name, text in generated.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # An unchanged page keeps its time, so that a second build reads only what has changed.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

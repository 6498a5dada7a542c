"""Rows of text as tables: for a terminal, and in Markdown."""

from __future__ import annotations


def aligned(lines: list[list[str]]) -> str:
    """Returns rows of text as columns for a terminal."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: list[list[str]]) -> str:
    """Returns rows of text as a Markdown table."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rows = [f"| {' | '.join(line)} |" for line in escaped]
    return "\n".join([rows[0], f"|{'---|' * len(lines[0])}", *rows[1:]])

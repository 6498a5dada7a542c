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


def latex_table(lines: list[list[str]]) -> str:
    """Returns rows of text as a LaTeX table with booktabs' rules; numbers are set to the right."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {character: f"\\{character}" for character in "&%$#_{}"}
    escaped = [["".join(special.get(c, c) for c in cell) for cell in line] for line in lines]
    columns = list(zip(*lines[1:], strict=True)) or [()] * len(lines[0])
    sides = "".join("r" if _numbers(column) else "l" for column in columns)
    rows = [f"{' & '.join(line)} \\\\" for line in escaped]
    body = "\n".join(rows[1:])
    return (
        f"% needs \\usepackage{{booktabs}}\n\\begin{{tabular}}{{{sides}}}\n\\toprule\n{rows[0]}\n"
        f"\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n"
    )


def _numbers(column: tuple[str, ...]) -> bool:
    """Returns whether a column holds numbers, or nothing."""
    digits = [cell.lstrip("<+-").replace(",", "").replace(".", "", 1) for cell in column]
    return any(digits) and all(cell.isdigit() or not cell for cell in digits)

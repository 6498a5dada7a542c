"""Tables: rows of text for a terminal, Markdown and LaTeX, and `ResultTable` for notebooks."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lstm_lab.utils.escape import latex, markdown, visible

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class ResultTable:
    """Named columns of values, which a notebook shows as a table.

    Attributes:
      columns: the names of the columns.
      rows: one tuple per row, as long as `columns`.

    Example:
      ResultTable(("step", "loss"), [(100, 0.5), (200, 0.25)])["loss"]  # [0.5, 0.25]
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def __getitem__(self, column: str) -> list[Any]:
        """Returns the values of a column."""
        if column not in self.columns:
            raise KeyError(f"got {column!r}, expected one of {', '.join(self.columns)}")
        place = self.columns.index(column)
        return [row[place] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return aligned([list(self.columns), *([_shown(v) for v in row] for row in self.rows)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table([list(self.columns), *([_shown(v) for v in row] for row in self.rows)])

    def to_pandas(self) -> DataFrame:
        """Returns the table as a pandas DataFrame."""
        # Imported here: it takes half a second, which `import lstm_lab` should not pay.
        import pandas

        return pandas.DataFrame(self.rows, columns=list(self.columns))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def html_table(lines: Sequence[Sequence[str]]) -> str:
    """Returns rows of text as an HTML table, header first; numbers are set to the right.

    Args:
      lines: the rows; their text is escaped, and spaces at the start of a cell are kept.
    """
    columns = list(zip(*lines[1:], strict=True)) or [()] * len(lines[0])
    # Written into every cell: a notebook or a page has no style sheet for these tables.
    styles = [
        f'style="text-align:{"right" if _numbers(column) else "left"};padding:2px 12px 2px 0"'
        for column in columns
    ]

    def row(cells: Sequence[str], tag: str) -> str:
        parts = []
        for cell, style in zip(cells, styles, strict=True):
            indent = "&nbsp;" * 2 * (len(cell) - len(cell.lstrip(" ")))
            parts.append(f"<{tag} {style}>{indent}{html.escape(cell.strip())}</{tag}>")
        return f"<tr>{''.join(parts)}</tr>"

    body = "".join(row(line, "td") for line in lines[1:])
    return f"<table><thead>{row(lines[0], 'th')}</thead><tbody>{body}</tbody></table>"


def aligned(lines: list[list[str]]) -> str:
    """Returns rows of text as columns for a terminal."""
    lines = [[visible(cell) for cell in line] for line in lines]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: list[list[str]]) -> str:
    """Returns rows of text as a Markdown table."""
    escaped = [[markdown(cell) for cell in line] for line in lines]
    rows = [f"| {' | '.join(line)} |" for line in escaped]
    return "\n".join([rows[0], f"|{'---|' * len(lines[0])}", *rows[1:]])


def latex_table(lines: list[list[str]]) -> str:
    """Returns rows of text as a LaTeX table with booktabs' rules; numbers are set to the right."""
    escaped = [[latex(cell) for cell in line] for line in lines]
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

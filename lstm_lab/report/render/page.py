"""Renders report.html: one file that opens offline, with its figures inside.

In: headings, tables and figures. Out: HTML from report.html.j2, which also contains the styles and
the script that sorts tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from lstm_lab.report.render.figures.style import ReportFigure, svg
from lstm_lab.report.render.tables import Section, TextTable

# A cell of a numeric column: a number, an interval or a share. "baseline" replaces a p-value.
NUMBER = re.compile(r"baseline|[<+-]?[\d.,]+(e[+-]?\d+)?( ?%| FLOP)?( to [+-]?[\d.,]+)?")


def page(
    title: str,
    headline: str,
    sections: Sequence[Section],
    notes: Sequence[str],
    figures: Sequence[ReportFigure],
    refresh: int | None = None,
) -> str:
    """Returns the page as HTML.

    All text of a study is escaped, since names and errors may contain any characters.

    Args:
      title: the heading.
      headline: the result in a sentence.
      sections: the tables, some with a figure of their own.
      notes: sentences below the first table.
      figures: the figures of the section Figures.
      refresh: seconds after which a browser reloads the page, or None.
    """
    headings = [section.heading for section in sections]
    return _template().render(
        title=title,
        headline=headline,
        sections=[
            (section, numeric_columns(section.table), section.figure and _image(section.figure))
            for section in sections
        ],
        notes=notes,
        refresh=refresh,
        figures=[(figure, _image(figure)) for figure in figures],
        # The figures come after what a reader looks for first: the ranking and the claims.
        figures_after="Claims" if "Claims" in headings else headings[0],
    )


def _image(figure: ReportFigure) -> Markup:
    # Markup is not escaped, so only our own SVG may be marked as such.
    return Markup(svg(figure.figure, themed=True))


def numeric_columns(table: TextTable) -> list[bool]:
    """Returns for each column whether all its cells are numbers; those are right-aligned.

    Args:
      table: rows of text, header first.
    """
    columns = zip(*table[1:], strict=True) if table[1:] else [()] * len(table[0])
    matches = [{bool(NUMBER.fullmatch(cell)) for cell in column if cell} for column in columns]
    # Empty cells do not count, and a column without any other cell is no column of numbers.
    return [match == {True} for match in matches]


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")

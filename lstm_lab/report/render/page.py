"""report.html: one file that opens offline, with the pictures in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from lstm_lab.report.render import tables
from lstm_lab.report.render.figures import Picture, svg

# What stands in a column of numbers: one, an interval, a share, or the baseline's nothing.
NUMBER = re.compile(r"baseline|[<+-]?[\d.,]+(e[+-]?\d+)?( ?%| FLOP)?( to [+-]?[\d.,]+)?")


def page(
    title: str,
    lead: str,
    sections: list[tuple[str, tables.Table, str]],
    notes: list[str],
    drawn: list[Picture],
    refresh: int | None = None,
) -> str:
    """Returns the page; all words of a study are escaped.

    Args:
      title: a heading.
      lead: the result in a sentence.
      sections: heading, table and note of each table; the pictures follow the first, and planned
        claims.
      notes: what is said below the first table.
      drawn: the pictures.
      refresh: seconds after which a browser loads the page again, or None.
    """
    headings = [heading for heading, _, _ in sections]
    return _template().render(
        title=title,
        lead=lead,
        sections=[(heading, table, numeric(table), note) for heading, table, note in sections],
        notes=notes,
        refresh=refresh,
        figures=[(picture, Markup(svg(picture.figure, themed=True))) for picture in drawn],
        # Behind what a reader wants first.
        pictures_after="Planned claims" if "Planned claims" in headings else headings[0],
    )


def numeric(table: tables.Table) -> list[bool]:
    """Returns for each column whether it holds numbers, which stand to the right."""
    columns = zip(*table[1:], strict=True) if table[1:] else [()] * len(table[0])
    kinds = [{bool(NUMBER.fullmatch(cell)) for cell in column if cell} for column in columns]
    return [kind == {True} for kind in kinds]


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")

"""report.html: one file that opens offline, with the pictures in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, Template
from markupsafe import Markup

from lstm_lab.report import words
from lstm_lab.report.compare import Comparison
from lstm_lab.report.plots import Picture, svg

# What stands in a column of numbers: one, an interval, a share, or the baseline's nothing.
NUMBER = re.compile(r"baseline|[<+-]?[\d.,]+(e[+-]?\d+)?( ?%| FLOP)?( to [+-]?[\d.,]+)?")


def page(c: Comparison, drawn: list[Picture], sections: list[tuple[str, words.Table, str]]) -> str:
    """Returns the page; all words of a study are escaped.

    Args:
      c: the comparison.
      drawn: its pictures.
      sections: heading, table and note of each table.
    """
    figures = [(picture, Markup(svg(picture.figure, themed=True))) for picture in drawn]
    return _template().render(
        c=c,
        sections=[(heading, table, numeric(table), note) for heading, table, note in sections],
        figures=figures,
        notes=words.notes(c),
        lead=lead(c),
        # Behind what a reader wants first.
        pictures_after="Planned claims" if c.claims else "Ranking",
    )


def lead(c: Comparison) -> str:
    """Returns the result in a sentence or two."""
    ended = [row for row in c.rows if row.scores]
    if not ended:
        return "No run has ended yet."
    best = ended[0]
    text = f"Best: {best.variant}, test {c.metric} {words.number(best.interval.mean)}"
    text += f" over {len(best.scores)} runs." if len(best.scores) > 1 else " in one run."
    if c.baseline is not None:
        different = [row.variant for row in ended if row.verdict == "differs"]
        shown = ", ".join(different) if different else "none"
        text += f" Different from {c.baseline}: {shown}."
    return text


def numeric(table: words.Table) -> list[bool]:
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

"""A report as Markdown: the same content as the page, for a repository or an e-mail.

In: the parts of a report. Out: the text of report.md. Read `page.py` for the page.
"""

from __future__ import annotations

from collections.abc import Sequence

from lstm_lab.report.render.figures.style import ReportFigure
from lstm_lab.report.render.tables import Section
from lstm_lab.utils.escape import markdown
from lstm_lab.utils.tables import markdown_table


def markdown_report(
    title: str,
    headline: str,
    sections: Sequence[Section],
    notes: Sequence[str],
    figures: Sequence[ReportFigure],
) -> str:
    """Returns the text of report.md.

    Args:
      title: the title.
      headline: the result in one sentence.
      sections: tables, each with a heading and a note.
      notes: what a reader must know to interpret the first table; they follow it.
      figures: the figures; the text refers to their SVG files in the same folder.
    """
    parts = [f"# {markdown(title)}", markdown(headline)]
    for number, section in enumerate(sections):
        parts.append(f"## {markdown(section.heading)}")
        parts += [_image(section.figure)] if section.figure else []
        parts += [markdown_table(section.table), markdown(section.note)]
        # Below the ranking, which nobody should read without them.
        parts += map(markdown, notes if number == 0 else [])
    for figure in figures:
        parts.append(f"## {markdown(figure.title)}\n\n{_image(figure)}")
    return "\n\n".join(filter(None, parts)) + "\n"


def _image(figure: ReportFigure) -> str:
    return f"![{markdown(figure.alt)}]({figure.name}.svg)"

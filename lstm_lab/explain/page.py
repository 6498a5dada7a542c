"""Writes an explanation: a page that opens offline, Markdown, JSON, and each figure as SVG.

In: an `Explanation`. Out: explain.html, explain.md, explain.json and SVG files in a folder. The
page has the form of a report (`report/render/page.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstm_lab.explain import figures, findings
from lstm_lab.explain.analyses import ANALYSES, ROWS, Explanation
from lstm_lab.explain.network import StatePlace
from lstm_lab.report.render.figures.style import ReportFigure, svg
from lstm_lab.report.render.markdown import markdown_report
from lstm_lab.report.render.page import page
from lstm_lab.report.render.tables import Section, TextTable
from lstm_lab.utils.files import write_json, write_text
from lstm_lab.utils.plain import plain
from lstm_lab.utils.types import JSON


@dataclass(frozen=True)
class Chapter:
    """How the result of an analysis is shown.

    Attributes:
      heading: the heading of its section.
      found: result -> a sentence for the summary.
      table: result -> rows of text.
      draw: result -> the figure.
      note: how to read the table, or a function result -> text.
    """

    heading: str
    found: Callable[[Any], str]
    table: Callable[[Any], TextTable]
    draw: Callable[[Any], ReportFigure]
    note: str | Callable[[Any], str]


CHAPTERS = {
    "fixed_points": Chapter(
        "Fixed and slow points",
        findings.fixed_points_found,
        findings.fixed_points_table,
        figures.draw_fixed_points,
        findings.FIXED_POINTS_NOTE,
    ),
    "lyapunov": Chapter(
        "Lyapunov exponents",
        findings.lyapunov_found,
        findings.lyapunov_table,
        figures.draw_lyapunov,
        findings.lyapunov_note,
    ),
    "gradient": Chapter(
        "Gradient by lag",
        findings.gradient_found,
        findings.gradient_table,
        figures.draw_gradient,
        findings.GRADIENT_NOTE,
    ),
    "lesions": Chapter(
        "Lesions of gates",
        findings.lesions_found,
        findings.lesions_table,
        figures.draw_lesions,
        findings.LESIONS_NOTE,
    ),
    "signals": Chapter(
        "Units and signals",
        findings.signals_found,
        findings.signals_table,
        figures.draw_signals,
        findings.signals_note,
    ),
    "learning_rules": Chapter(
        "Learning rules",
        findings.learning_rules_found,
        findings.learning_rules_table,
        figures.draw_learning_rules,
        findings.LEARNING_RULES_NOTE,
    ),
}


# The analyses whose findings begin the page, after the fixed points in short.
LEADING = ("lyapunov", "gradient")


def summary(explanation: Explanation) -> TextTable:
    """Returns what each analysis found in a sentence, or why there is no result.

    Args:
      explanation: the results.
    """
    rows = [["analysis", "finding"]]
    for name in ANALYSES:
        if name in explanation.results:
            found = CHAPTERS[name].found(explanation.results[name])
            rows.append([CHAPTERS[name].heading, found])
        elif name in explanation.unavailable:
            reason = explanation.unavailable[name]
            rows.append([CHAPTERS[name].heading, f"not available: {reason}"])
    return rows


def write_explanation(folder: Path, title: str, explanation: Explanation) -> Path:
    """Writes an explanation into a folder.

    Args:
      folder: the folder.
      title: the run, such as its task and cell.
      explanation: the results.

    Returns:
      The path of explain.html.
    """
    sections = [Section("Summary", summary(explanation))]
    for name, result in explanation.results.items():
        chapter = CHAPTERS[name]
        figure = chapter.draw(result)
        write_text(folder / f"{figure.name}.svg", svg(figure.figure))
        note = chapter.note if isinstance(chapter.note, str) else chapter.note(result)
        sections.append(Section(chapter.heading, chapter.table(result), note, figure))
    heading = f"What the network does: {title}"
    lead = _lead(explanation)
    notes = [
        "Measured with the best weights on the first sequences of the validation data, at most "
        f"{ROWS} for most analyses. The model is one run: other seeds may find another solution."
    ]
    write_text(folder / "explain.html", page(heading, lead, sections, notes, []))
    write_text(folder / "explain.md", markdown_report(heading, lead, sections, notes, []))
    write_json(folder / "explain.json", _record(title, explanation))
    return folder / "explain.html"


def _lead(explanation: Explanation) -> str:
    """Returns the findings that say most about the model, as the first sentences of the page."""
    results = explanation.results
    found = [CHAPTERS[name].found(results[name]) for name in LEADING if name in results]
    if "fixed_points" in results:
        found.insert(0, findings.fixed_points_in_short(results["fixed_points"]))
    found = found or [CHAPTERS[name].found(result) for name, result in results.items()]
    return " ".join(found) or "No analysis is available for this model."


def _record(title: str, explanation: Explanation) -> JSON:
    return {
        "title": title,
        "summary": dict(summary(explanation)[1:]),
        # A place is shorter to read as text.
        "results": plain(explanation.results, as_text=(StatePlace,)),
        "unavailable": explanation.unavailable,
    }

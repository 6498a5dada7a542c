"""Writes the report of a single run: HTML, Markdown, and its curves as SVG and PNG.

In: the folder of a run. Out: WORKDIR/report/ with report.html, report.md, curves.svg, and a figure
for each curve of the test split.
"""

from __future__ import annotations

from pathlib import Path

from lstm_lab.report.render.curves_of_run import draw_curves
from lstm_lab.report.render.figures.score_curves import curves_of_run
from lstm_lab.report.render.figures.style import ReportFigure, png, svg
from lstm_lab.report.render.markdown import markdown_report
from lstm_lab.report.render.page import page
from lstm_lab.report.render.tables import Section
from lstm_lab.report.single_run import RunRecord, read_run
from lstm_lab.utils.escape import visible
from lstm_lab.utils.files import write_bytes, write_text
from lstm_lab.utils.tables import aligned

SCORES_NOTE = (
    "Metrics at the best validation checkpoint. A trivial baseline needs no model (majority class, "
    "last value). One run says nothing about the spread over seeds: train several with --seeds=5."
)


def build_run_report(folder: Path) -> str:
    """Writes the report of a run into FOLDER/report.

    Args:
      folder: the folder of the run; the run may still train.

    Returns:
      The scores as text, for a terminal.

    Raises:
      UserError: if the folder contains no run.

    Example:
      print(build_run_report(Path("runs/adding")))
    """
    record = read_run(folder)
    out = folder / "report"
    training = ReportFigure(
        "curves",
        "Curves",
        "Training loss and validation metric over optimizer steps.",
        draw_curves({"": record}),
    )
    figures = [training, *curves_of_run(record.score_curves)]
    for figure in figures:
        write_text(out / f"{figure.name}.svg", svg(figure.figure))
        write_bytes(out / f"{figure.name}.png", png(figure.figure))
    sections = [
        Section("Scores", record.scores_table(), SCORES_NOTE),
        Section("Settings", _settings(record), "All settings, also those with default values."),
    ]
    write_text(out / "report.html", page(record.title, record.headline, sections, [], figures))
    text = markdown_report(record.title, record.headline, sections, [], figures)
    write_text(out / "report.md", text)
    return f"{visible(record.headline)}\n\n{aligned(record.scores_table())}"


def _settings(record: RunRecord) -> list[list[str]]:
    rows = [[name, str(value)] for name, value in sorted(record.settings.items())]
    return [["setting", "value"], *rows]

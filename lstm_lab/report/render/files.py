"""Writes a study's report: HTML, Markdown, JSON, LaTeX, a table of runs, and figures.

In: a study's folder. Out: STUDY/report/ with report.html, report.md, report.json, table.tex,
results.csv (and results.parquet), and each figure as SVG and PNG.
"""

from __future__ import annotations

import time
from pathlib import Path

from lstm_lab.report.comparison import FAILED_STATUSES, Comparison, compare
from lstm_lab.report.render import tables
from lstm_lab.report.render.figures.draw import draw_figures
from lstm_lab.report.render.figures.style import png, svg
from lstm_lab.report.render.headline import headline
from lstm_lab.report.render.markdown import markdown_report
from lstm_lab.report.render.numbers import comparison_numbers
from lstm_lab.report.render.page import page
from lstm_lab.report.render.results_table import write_results
from lstm_lab.report.runs import StudyRuns, read_study
from lstm_lab.utils.escape import visible
from lstm_lab.utils.files import write_bytes, write_json, write_text
from lstm_lab.utils.progress import say
from lstm_lab.utils.tables import aligned, latex_table

# A report over 2,000 runs takes 13 s of a core (docs/benchmarks.md), which training could use.
WATCH_SECONDS = 30
# Without "interrupted": such a run resumes, so `watch` waits for it.
ENDED_STATUSES = ("completed", "diverged", "pruned", *FAILED_STATUSES)


def watch(workdir: Path) -> str:
    """Rebuilds a study's report every 30 seconds until all runs have ended.

    Args:
      workdir: the study's folder.

    Returns:
      The most important tables of the last report.
    """
    while True:
        runs = read_study(workdir)
        ended = sum(run.status in ENDED_STATUSES for run in runs.runs)
        # Once more and without `refresh`: a finished page must not reload under its reader.
        if ended == runs.expected:
            return build(workdir)
        build(workdir, refresh=WATCH_SECONDS)
        say(f"{ended} of {runs.expected} runs have ended; {workdir / 'report' / 'report.html'}")
        time.sleep(WATCH_SECONDS)


def build(workdir: Path, refresh: int | None = None) -> str:
    """Writes a study's report into WORKDIR/report.

    Args:
      workdir: the study's folder.
      refresh: seconds after which a browser reloads the page, or None.

    Returns:
      The most important tables as text, for a terminal.

    Raises:
      UserError: if the folder contains no study.

    Example:
      print(build(Path("runs/digits_ablation")))
    """
    runs = read_study(workdir)
    comparison = compare(runs)
    write_report(workdir / "report", runs, comparison, refresh)
    return terminal(comparison)


def write_report(
    folder: Path, runs: StudyRuns, comparison: Comparison, refresh: int | None = None
) -> None:
    """Writes a study's report into a folder.

    Args:
      folder: the folder of the report.
      runs, comparison: the study.
      refresh: as in `build`.
    """
    figures = draw_figures(comparison)
    for figure in figures:
        write_text(folder / f"{figure.name}.svg", svg(figure.figure))
        write_bytes(folder / f"{figure.name}.png", png(figure.figure))
    html = page(
        comparison.title,
        headline(comparison),
        tables.sections(comparison),
        tables.notes(comparison),
        figures,
        refresh,
    )
    write_text(folder / "report.html", html)
    text = markdown_report(
        comparison.title,
        headline(comparison),
        tables.sections(comparison),
        tables.notes(comparison),
        figures,
    )
    write_text(folder / "report.md", text)
    write_json(folder / "report.json", comparison_numbers(comparison))
    write_text(folder / "table.tex", latex_table(tables.ranking(comparison)))
    write_results(folder, runs)


def terminal(c: Comparison) -> str:
    """Returns the most important tables as text, for a terminal.

    Args:
      c: the comparison.
    """
    parts = [aligned(tables.ranking(c)), *map(visible, tables.notes(c))]
    parts += [aligned(tables.metrics(c)), tables.METRICS_NOTE]
    if c.claims:
        parts.append(aligned(tables.claims(c)))
    if c.importances:
        parts += [aligned(tables.importance(c)), tables.IMPORTANCE_NOTE]
    return "\n\n".join(parts)

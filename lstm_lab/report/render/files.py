"""Writes a study's report: a page, Markdown, LaTeX, tables of runs, and its pictures."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt

from lstm_lab.report.comparison import FAILED, Comparison, compare
from lstm_lab.report.render import tables
from lstm_lab.report.render.figures import Picture, pictures, png, svg
from lstm_lab.report.render.page import page
from lstm_lab.report.render.results_table import write_results
from lstm_lab.report.runs import StudyRuns, read_study
from lstm_lab.utils.files import write_bytes, write_text
from lstm_lab.utils.progress import say
from lstm_lab.utils.tables import aligned, latex_table, markdown_table

WATCH_SECONDS = 30
ENDED = ("completed", "diverged", "pruned", *FAILED)


def watch(workdir: Path) -> str:
    """Writes a study's report again and again until all its runs have ended; returns the last."""
    while True:
        runs = read_study(workdir)
        ended = sum(run.status in ENDED for run in runs.runs)
        if ended == runs.expected:
            return build(workdir)
        build(workdir, refresh=WATCH_SECONDS)
        say(f"{ended} of {runs.expected} runs have ended; {workdir / 'report' / 'report.html'}")
        time.sleep(WATCH_SECONDS)


def build(workdir: Path, refresh: int | None = None) -> str:
    """Writes a study's report into WORKDIR/report.

    Args:
      workdir: the study's folder.
      refresh: seconds after which a browser that shows the page loads it again, or None.

    Returns:
      The tables that matter most, for a terminal.

    Raises:
      UserError: for a folder that holds no study.
    """
    runs = read_study(workdir)
    comparison = compare(runs)
    write(workdir / "report", runs, comparison, refresh)
    return terminal(comparison)


def write(
    folder: Path, runs: StudyRuns, comparison: Comparison, refresh: int | None = None
) -> None:
    """Writes a study's report.

    Args:
      folder: where its files go.
      runs, comparison: the study.
      refresh: as in `build`.
    """
    drawn = pictures(comparison)
    for picture in drawn:
        write_text(folder / f"{picture.name}.svg", svg(picture.figure))
        write_bytes(folder / f"{picture.name}.png", png(picture.figure))
    write_text(folder / "report.html", _page(comparison, drawn, refresh))
    plt.close("all")
    write_text(folder / "report.md", markdown(comparison, drawn))
    write_text(folder / "table.tex", latex_table(tables.ranking(comparison)))
    write_results(folder, runs)


def sections(c: Comparison) -> list[tuple[str, tables.Table, str]]:
    """Returns the tables of a comparison that have something to say, with heading and note."""
    found = [("Ranking", tables.ranking(c), "")]
    if c.claims:
        found.append(("Planned claims", tables.claims(c), ""))
    if c.references:
        found.append(("Published figures", tables.references(c), ""))
    found.append(("All test metrics", tables.metrics(c), tables.METRICS_NOTE))
    found.append(("Sizes of differences", tables.robust(c), tables.ROBUST_NOTE))
    if c.importances:
        found.append(("Which settings matter", tables.importance(c), tables.IMPORTANCE_NOTE))
        found.append(("Settings shuffled", tables.shuffled(c), tables.SHUFFLED_NOTE))
    found.append(("Time and cost", tables.cost(c), ""))
    if c.failed:
        left = len(c.failed) - tables.SHOWN_FAILURES
        more = f"And {left} more, in results.csv." if left > 0 else ""
        found.append(("Failures", tables.failures(c), more))
    return found


def _page(c: Comparison, drawn: list[Picture], refresh: int | None) -> str:
    return page(c.title, tables.lead(c), sections(c), tables.notes(c), drawn, refresh)


def markdown(c: Comparison, drawn: list[Picture]) -> str:
    """Returns report.md."""
    parts = [f"# {c.title}"]
    for heading, table, note in sections(c):
        parts += [f"## {heading}", markdown_table(table), note]
        parts += tables.notes(c) if heading == "Ranking" else []
    parts += [f"## {p.title}\n\n![{p.alt}]({p.name}.svg)" for p in drawn]
    return "\n\n".join(filter(None, parts)) + "\n"


def terminal(c: Comparison) -> str:
    """Returns the tables for a terminal."""
    parts = [aligned(tables.ranking(c)), *tables.notes(c)]
    parts += [tables.METRICS_NOTE, aligned(tables.metrics(c))]
    if c.claims:
        parts.append(aligned(tables.claims(c)))
    if c.importances:
        parts += [tables.IMPORTANCE_NOTE, aligned(tables.importance(c))]
    return "\n\n".join(parts)

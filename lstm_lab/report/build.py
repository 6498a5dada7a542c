"""Writes a study's report: a page, Markdown, LaTeX, tables of runs, and its pictures."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib.pyplot as plt

from lstm_lab.report import words
from lstm_lab.report.compare import FAILED, Comparison, compare
from lstm_lab.report.page import page
from lstm_lab.report.plots import Picture, pictures, png, svg
from lstm_lab.report.results import write_results
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
    write_text(folder / "table.tex", latex_table(words.ranking(comparison)))
    write_results(folder, runs)


def sections(c: Comparison) -> list[tuple[str, words.Table, str]]:
    """Returns the tables of a comparison that have something to say, with heading and note."""
    found = [("Ranking", words.ranking(c), "")]
    if c.claims:
        found.append(("Planned claims", words.claims(c), ""))
    if c.references:
        found.append(("Published figures", words.references(c), ""))
    found.append(("All test metrics", words.metrics(c), words.METRICS_NOTE))
    found.append(("Sizes of differences", words.robust(c), words.ROBUST_NOTE))
    if c.importances:
        found.append(("Which settings matter", words.importance(c), words.IMPORTANCE_NOTE))
        found.append(("Settings shuffled", words.shuffled(c), words.SHUFFLED_NOTE))
    found.append(("Time and cost", words.cost(c), ""))
    if c.failed:
        left = len(c.failed) - words.SHOWN_FAILURES
        more = f"And {left} more, in results.csv." if left > 0 else ""
        found.append(("Failures", words.failures(c), more))
    return found


def _page(c: Comparison, drawn: list[Picture], refresh: int | None) -> str:
    return page(c.title, words.lead(c), sections(c), words.notes(c), drawn, refresh)


def markdown(c: Comparison, drawn: list[Picture]) -> str:
    """Returns report.md."""
    parts = [f"# {c.title}"]
    for heading, table, note in sections(c):
        parts += [f"## {heading}", markdown_table(table), note]
        parts += words.notes(c) if heading == "Ranking" else []
    parts += [f"## {p.title}\n\n![{p.alt}]({p.name}.svg)" for p in drawn]
    return "\n\n".join(filter(None, parts)) + "\n"


def terminal(c: Comparison) -> str:
    """Returns the tables for a terminal."""
    parts = [aligned(words.ranking(c)), *words.notes(c)]
    parts += [words.METRICS_NOTE, aligned(words.metrics(c))]
    if c.claims:
        parts.append(aligned(words.claims(c)))
    if c.importances:
        parts += [words.IMPORTANCE_NOTE, aligned(words.importance(c))]
    return "\n\n".join(parts)

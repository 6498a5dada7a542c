"""Writes a report over several studies: a page and Markdown.

In: the studies' folders. Out: report.html and report.md in one folder, the report of each study in
its own folder, and the tables as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lstm_lab.report.against_baseline import ALPHA
from lstm_lab.report.comparison import compare
from lstm_lab.report.cross_study import (
    EQUIVALENCE_MARGIN,
    CrossStudy,
    PairwiseComparison,
    combine,
    compare_pair,
)
from lstm_lab.report.render.files import write_report
from lstm_lab.report.render.formats import number
from lstm_lab.report.render.markdown import markdown_report
from lstm_lab.report.render.metric_ranges import range_note
from lstm_lab.report.render.page import page
from lstm_lab.report.render.tables import Section, TextTable
from lstm_lab.report.runs import StudyRuns, read_study
from lstm_lab.statistics.hypotheses import FriedmanResult
from lstm_lab.utils.escape import visible
from lstm_lab.utils.files import write_text
from lstm_lab.utils.tables import aligned

MEANS_NOTE = "Mean test score of each variant, with its 95 % interval by Student's t."
PAIR_NOTE = (
    "Differences of pairs with the same seed, in pooled standard deviations; positive if the "
    "variant is better. The verdict over all studies uses a sign-flip test: better or worse if "
    f"p < {ALPHA}; equivalent if the 90 % interval of the mean difference lies within "
    f"±{EQUIVALENCE_MARGIN} standard deviations."
)


def build_cross_study_report(workdirs: Sequence[Path], folder: Path, title: str) -> str:
    """Writes a report over several studies, and the report of each study into its own folder.

    Args:
      workdirs: the studies' folders.
      folder: the folder of report.html and report.md.
      title: the heading.

    Returns:
      The tables as text, for a terminal.

    Raises:
      UserError: if a folder contains no study.
    """
    studies = [read_study(workdir) for workdir in workdirs]
    comparisons = [compare(study) for study in studies]
    for workdir, study, comparison in zip(workdirs, studies, comparisons, strict=True):
        write_report(workdir / "report", study, comparison)
    combined = combine(comparisons)
    sections = [Section("Means", mean_table(combined), _means_note(combined))]
    headline = f"{len(studies)} studies."
    # A verdict over all studies needs one question: the same variant against the same baseline.
    names = _single_pair(studies)
    if names is not None:
        pair = compare_pair(studies, *names)
        headline = pair_headline(pair)
        sections.append(Section("Differences by study", pair_table(pair), PAIR_NOTE))
    if combined.friedman is not None:
        sections.append(_rank_section(combined.friedman))
    write_text(folder / "report.html", page(title, headline, sections, [], []))
    text = markdown_report(title, headline, sections, [], [])
    write_text(folder / "report.md", text)
    return "\n\n".join([*(aligned(section.table) for section in sections), visible(headline)])


def _single_pair(studies: Sequence[StudyRuns]) -> tuple[str, str] | None:
    """Returns variant and baseline if all studies have the same two variants, and final seeds."""
    designs = {(*study.study["variants"], study.study["baseline"]) for study in studies}
    if len(designs) > 1 or not all(study.study["seeds"] for study in studies):
        return None
    *names, baseline = designs.pop()
    others = [name for name in names if name != baseline]
    return (others[0], baseline) if baseline is not None and len(others) == 1 else None


def pair_headline(pair: PairwiseComparison) -> str:
    """Returns the verdict of a pairwise comparison in a sentence.

    Args:
      pair: the comparison; differences are in pooled standard deviations.
    """
    verdict = {
        "better": f"{pair.variant} is better than {pair.baseline}",
        "worse": f"{pair.variant} is worse than {pair.baseline}",
        "equivalent": f"{pair.variant} and {pair.baseline} are equivalent",
        "inconclusive": f"{pair.variant} compared with {pair.baseline}: inconclusive",
    }[pair.verdict]
    mean, low, high = pair.interval
    n = len(pair.studies)
    return (
        f"{verdict}: mean difference {mean:+.2f} standard deviations (90 % {low:+.2f} to "
        f"{high:+.2f}) over {n} {'study' if n == 1 else 'studies'}, "
        f"p (better) {pair.p_better:.4f}, p (worse) {pair.p_worse:.4f}."
    )


def mean_table(combined: CrossStudy) -> TextTable:
    """Returns one row per variant, one column per study.

    Args:
      combined: the studies; a cell stays empty if the variant has fewer than two scores there.
    """
    rows = [["variant", *(f"{title} ({metric})" for title, metric, _ in combined.studies)]]
    for name, intervals in combined.means.items():
        cells = [
            f"{number(i.estimate)} ({number(i.low)} to {number(i.high)})"
            if np.isfinite(i.low)
            else ""
            for i in intervals
        ]
        rows.append([name, *cells])
    return rows


def _means_note(combined: CrossStudy) -> str:
    by_study = zip(combined.studies, zip(*combined.means.values(), strict=True), strict=True)
    notes = [range_note(metric, intervals) for (_, metric, _), intervals in by_study]
    return " ".join(filter(None, [MEANS_NOTE, *dict.fromkeys(notes)]))


def pair_table(pair: PairwiseComparison) -> TextTable:
    """Returns one row per study: how many pairs it has, and their differences.

    Args:
      pair: the comparison; a study with fewer than two pairs has no differences.
    """
    rows = [["study", "pairs", "mean difference", "largest", "smallest"]]
    for name, d in zip(pair.studies, pair.differences, strict=True):
        cells = [f"{d.mean():+.2f}", f"{d.max():+.2f}", f"{d.min():+.2f}"] if len(d) else [""] * 3
        rows.append([name, str(len(d)), *cells])
    return rows


def _rank_section(result: FriedmanResult) -> Section:
    ranks = sorted(result.mean_ranks.items(), key=lambda item: item[1])
    rows = [[name, f"{rank:.2f}"] for name, rank in ranks]
    note = f"Friedman p = {result.p:.3g}; critical difference {result.critical_difference:.2f}."
    return Section("Ranks over studies", [["variant", "mean rank"], *rows], note)

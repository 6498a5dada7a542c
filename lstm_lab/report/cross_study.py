"""Several studies side by side: means and ranks of variants, and a duel of two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats

from lstm_lab.report.comparison import ALPHA, Comparison, compare
from lstm_lab.report.hypotheses import Ranks, friedman, sign_flip
from lstm_lab.report.render.files import write
from lstm_lab.report.render.page import page
from lstm_lab.report.render.tables import Table, number
from lstm_lab.report.runs import StudyRuns, read_study
from lstm_lab.report.stats import Interval, mean_interval
from lstm_lab.utils.files import write_text
from lstm_lab.utils.tables import aligned, markdown_table

# In standard deviations over seeds: a difference that would need dozens of seeds to matter.
MARGIN = 0.5


@dataclass(frozen=True)
class Duel:
    """A variant against a baseline over several studies, paired by seed.

    Attributes:
      variant, baseline: who.
      studies: names.
      differences: of each study [seeds], in pooled standard deviations, positive where the variant
        is better.
      p_better, p_worse: one-sided, by flipping signs of pairs.
      interval: mean over the studies of their mean differences, with its 90 % interval.
      verdict: better, worse, equivalent or inconclusive.
    """

    variant: str
    baseline: str
    studies: list[str]
    differences: list[np.ndarray]
    p_better: float
    p_worse: float
    interval: Interval
    verdict: str

    @property
    def said(self) -> str:
        """The verdict in a sentence."""
        how = {
            "better": f"{self.variant} is better than {self.baseline}",
            "worse": f"{self.variant} is worse than {self.baseline}",
            "equivalent": f"{self.variant} and {self.baseline} are equivalent",
            "inconclusive": f"{self.variant} against {self.baseline}: inconclusive",
        }[self.verdict]
        mean, low, high = self.interval
        over = "1 study" if len(self.studies) == 1 else f"{len(self.studies)} studies"
        return (
            f"{how}: mean difference {mean:+.2f} standard deviations (90 % {low:+.2f} to "
            f"{high:+.2f}) over {over}, p (better) {self.p_better:.4f}, "
            f"p (worse) {self.p_worse:.4f}."
        )


@dataclass(frozen=True)
class Across:
    """Studies with variants in common.

    Attributes:
      studies: names, with metric and direction of each.
      means: each variant's mean with its interval, by study; NaN where it has no run.
      ranks: of the variants that all studies have; None for fewer than three of either.
    """

    studies: list[tuple[str, str, str]]
    means: dict[str, list[Interval]]
    ranks: Ranks | None


def across(comparisons: list[Comparison]) -> Across:
    """Puts studies side by side."""
    names = list(dict.fromkeys(row.variant for c in comparisons for row in c.rows))
    rows = [{row.variant: row for row in c.rows if row.scores} for c in comparisons]
    nothing = mean_interval([])
    means = {name: [r[name].interval if name in r else nothing for r in rows] for name in names}
    common = [name for name in names if all(name in r for r in rows)]
    signs = [1.0 if c.direction == "max" else -1.0 for c in comparisons]
    ranks = None
    if len(common) >= 3 and len(comparisons) >= 3:
        ranks = friedman(
            {n: [s * m.mean for s, m in zip(signs, means[n], strict=True)] for n in common}
        )
    return Across([(c.title, c.metric, c.direction) for c in comparisons], means, ranks)


def duel(studies: list[StudyRuns], variant: str, baseline: str) -> Duel:
    """Holds a variant against a baseline over studies.

    Each study's differences are scaled by the pooled standard deviation of its scores, so that
    tasks weigh alike. Under the hypothesis that the two are one, a pair's sign is a coin's: the
    p-values are shares of flipped signs whose mean is as far.

    Args:
      studies: final runs of both, paired by seed.
      variant, baseline: their labels.
    """
    differences = [_differences(study, variant, baseline) for study in studies]
    known = [d for d in differences if len(d) > 1]
    p_better = sign_flip(known)
    p_worse = sign_flip([-d for d in known])
    interval = _mean_of_means(known)
    verdict = "inconclusive"
    if p_better < ALPHA:
        verdict = "better"
    elif p_worse < ALPHA:
        verdict = "worse"
    elif interval.low > -MARGIN and interval.high < MARGIN:
        verdict = "equivalent"
    names = [study.study["name"] for study in studies]
    return Duel(variant, baseline, names, differences, p_better, p_worse, interval, verdict)


def _differences(runs: StudyRuns, variant: str, baseline: str) -> np.ndarray:
    """Returns a study's paired differences in pooled standard deviations, better positive."""
    sign = 1.0 if runs.study["direction"] == "max" else -1.0
    of: dict[str, dict[int, float]] = {}
    for name in (variant, baseline):
        compared = [run for run in runs.compared(name) if run.scored and run.test is not None]
        of[name] = {run.seed: sign * float(run.test or 0.0) for run in compared}
    shared = sorted(set(of[variant]) & set(of[baseline]))
    a, b = (np.array([of[name][seed] for seed in shared]) for name in (variant, baseline))
    if len(shared) < 2:
        return np.zeros(0)
    scale = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    return (a - b) / scale if scale > 0 else np.sign(a - b)


def _mean_of_means(differences: list[np.ndarray]) -> Interval:
    """Returns the mean over studies of their means, with a 90 % interval from their variances."""
    if not differences:
        return mean_interval([])
    mean = float(np.mean([d.mean() for d in differences]))
    error = np.sqrt(sum(d.var(ddof=1) / len(d) for d in differences)) / len(differences)
    freedom = sum(len(d) - 1 for d in differences)
    half = float(scipy.stats.t.ppf(0.95, freedom) * error)
    return Interval(mean, mean - half, mean + half)


def build_across(workdirs: list[Path], folder: Path, title: str) -> str:
    """Writes a report over several studies into a folder, and each study's own where it is.

    Args:
      workdirs: the studies.
      folder: where report.html and report.md go.
      title: a heading.

    Returns:
      The tables, for a terminal.
    """
    studies = [read_study(workdir) for workdir in workdirs]
    comparisons = [compare(study) for study in studies]
    for workdir, study, comparison in zip(workdirs, studies, comparisons, strict=True):
        write(workdir / "report", study, comparison)
    found = across(comparisons)
    sections, lead = [("Means", mean_table(found), MEANS_NOTE)], f"{len(studies)} studies."
    pair = _pair(studies)
    if pair is not None:
        fought = duel(studies, *pair)
        lead = fought.said
        sections.append(("Verdict by study", duel_table(fought), DUEL_NOTE))
    if found.ranks is not None:
        ranks = sorted(found.ranks.ranks.items(), key=lambda item: item[1])
        rows = [[name, f"{rank:.2f}"] for name, rank in ranks]
        note = f"Friedman p = {found.ranks.p:.3g}; critical difference {found.ranks.distance:.2f}."
        sections.append(("Ranks over studies", [["variant", "mean rank"], *rows], note))
    write_text(folder / "report.html", page(title, lead, sections, [], []))
    parts = [f"# {title}", lead]
    for heading, table, note in sections:
        parts += [f"## {heading}", markdown_table(table), note]
    write_text(folder / "report.md", "\n\n".join(parts) + "\n")
    return "\n\n".join([*(aligned(table) for _, table, _ in sections), lead])


def _pair(studies: list[StudyRuns]) -> tuple[str, str] | None:
    """Returns the variant and the baseline of studies that all have the same two, with seeds."""
    kinds = {(*study.study["variants"], study.study["baseline"]) for study in studies}
    if len(kinds) > 1 or not all(study.study["seeds"] for study in studies):
        return None
    *names, baseline = kinds.pop()
    others = [name for name in names if name != baseline]
    return (others[0], baseline) if baseline is not None and len(others) == 1 else None


MEANS_NOTE = "Mean test score of each variant, with its 95 % interval by Student's t."
DUEL_NOTE = (
    "Differences of pairs that share a seed, in pooled standard deviations, positive where the "
    "variant is better. Over all studies: the signs of pairs are flipped, "
    f"better or worse below p = {ALPHA}; equivalent where the 90 % interval lies within "
    f"{MARGIN} standard deviations of none."
)


def mean_table(found: Across) -> Table:
    """Returns a line a variant, a column a study."""
    header = ["variant", *(f"{title} ({metric})" for title, metric, _ in found.studies)]
    lines = [header]
    for name, intervals in found.means.items():
        cells = [
            f"{number(i.mean)} ({number(i.low)} to {number(i.high)})" if np.isfinite(i.low) else ""
            for i in intervals
        ]
        lines.append([name, *cells])
    return lines


def duel_table(fought: Duel) -> Table:
    """Returns a line a study, and one for all."""
    lines = [["study", "pairs", "mean difference", "best", "worst"]]
    for name, d in zip(fought.studies, fought.differences, strict=True):
        known = [f"{d.mean():+.2f}", f"{d.max():+.2f}", f"{d.min():+.2f}"] if len(d) else [""] * 3
        lines.append([name, str(len(d)), *known])
    return lines

"""A study's report: report.md, results.csv, comparison.png."""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstm_lab.files import write_text
from lstm_lab.report.runs import RunRow, StudyRuns, read_study
from lstm_lab.report.stats import Interval, holm, judge_claim, mean_interval, welch

ALPHA = 0.05
FEW_SEEDS = 5


@dataclass(frozen=True)
class Row:
    """A variant's line.

    Attributes:
      variant: its label.
      chosen: its tuned values.
      scores: test metric of its runs that ended well.
      interval: their mean and interval.
      planned: runs that were planned.
      failures: statuses of the runs that did not end well, with their number.
      p, p_holm: Welch's p against the baseline, and Holm's; NaN where there is none.
      parameters: number of parameters, or None.
      curves: validation curves of the runs that ended well.
    """

    variant: str
    chosen: dict[str, Any]
    scores: list[float]
    interval: Interval
    planned: int
    failures: dict[str, int]
    p: float
    p_holm: float
    parameters: int | None
    curves: list[list[tuple[int, float]]]

    @property
    def verdict(self) -> str:
        """What Holm's corrected test says of the variant beside the baseline."""
        if np.isnan(self.p_holm):
            return ""
        return "differs" if self.p_holm < ALPHA else "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """All that a study's tables and pictures show; rows are ranked, best first."""

    title: str
    metric: str
    direction: str
    baseline: str | None
    rows: list[Row]
    claims: list[tuple[str, float, str]]
    counts: dict[str, int]
    expected: int
    seeds: list[int]


def compare(runs: StudyRuns) -> Comparison:
    """Computes a study's comparison from its runs."""
    study, baseline = runs.study, runs.study["baseline"]
    scores = {
        name: [run.test for run in runs.final(name) if run.scored and run.test is not None]
        for name in study["variants"]
    }
    others = [name for name in scores if baseline is not None and name != baseline]
    p = {name: welch(scores[name], scores[baseline]) for name in others}
    p_holm = dict(zip(others, holm(list(p.values())), strict=True))
    nan = float("nan")
    rows = [
        Row(
            variant=name,
            chosen=runs.chosen.get(name, {}),
            scores=scores[name],
            interval=mean_interval(scores[name]),
            planned=len(study["seeds"]),
            failures=_failures(runs.final(name), len(study["seeds"])),
            p=p.get(name, nan),
            p_holm=p_holm.get(name, nan),
            parameters=next((r.parameters for r in runs.final(name) if r.parameters), None),
            curves=[run.curve for run in runs.final(name) if run.scored and run.curve],
        )
        for name in scores
    ]
    sign = -1.0 if study["direction"] == "max" else 1.0
    rows.sort(key=lambda row: (not row.scores, sign * row.interval.mean if row.scores else 0.0))
    counts = Counter(run.status for run in runs.runs)
    counts["missing"] += runs.expected - len(runs.runs)
    return Comparison(
        title=study["title"],
        metric=study["metric"],
        direction=study["direction"],
        baseline=baseline,
        rows=rows,
        claims=[_claim(claim, scores, sign) for claim in study["claims"]],
        counts={status: n for status, n in sorted(counts.items()) if n},
        expected=runs.expected,
        seeds=study["seeds"],
    )


def _failures(runs: list[RunRow], planned: int) -> dict[str, int]:
    counts = Counter(run.status for run in runs if not run.scored)
    counts["missing"] += planned - len(runs)
    return {status: n for status, n in counts.items() if n}


def _claim(
    claim: dict[str, Any], scores: dict[str, list[float]], sign: float
) -> tuple[str, float, str]:
    better, worse = (-sign * np.array(scores[claim[k]]) for k in ("better", "worse"))
    result = judge_claim(better, worse, claim["alpha"])
    return f"{claim['better']} is better than {claim['worse']}", result.p, result.verdict


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number for a table; nothing for none."""
    return "" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def p_value(value: float) -> str:
    """Returns a p-value for a table."""
    if np.isnan(value):
        return ""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def table(comparison: Comparison) -> list[list[str]]:
    """Returns the ranking as rows of text, the header first."""
    tuned = any(row.chosen for row in comparison.rows)
    header = ["variant", *(["chosen"] if tuned else []), "parameters", "n", "failed"]
    header += [f"test {comparison.metric}", "95 % interval", "p (Welch)", "p (Holm)", "verdict"]
    lines = [header]
    for row in comparison.rows:
        chosen = ", ".join(f"{k.rpartition('.')[2]}={v}" for k, v in row.chosen.items())
        interval = row.interval
        known = np.isfinite(interval.low)
        failed = ", ".join(f"{n} {status}" for status, n in row.failures.items())
        lines.append(
            [
                row.variant,
                *([chosen] if tuned else []),
                "" if row.parameters is None else f"{row.parameters:,}",
                str(len(row.scores)),
                failed or "0",
                number(interval.mean),
                f"{number(interval.low)} to {number(interval.high)}" if known else "",
                "baseline" if row.variant == comparison.baseline else p_value(row.p),
                p_value(row.p_holm),
                row.verdict,
            ]
        )
    return lines


def aligned(lines: list[list[str]]) -> str:
    """Returns rows of text as columns for a terminal."""
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(lines: list[list[str]]) -> str:
    """Returns rows of text as a Markdown table."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    rows = [f"| {' | '.join(line)} |" for line in escaped]
    return "\n".join([rows[0], f"|{'---|' * len(lines[0])}", *rows[1:]])


def notes(comparison: Comparison) -> list[str]:
    """Returns what a reader has to know beside the table."""
    c = comparison
    runs = ", ".join(f"{n} {status}" for status, n in c.counts.items())
    best = "higher" if c.direction == "max" else "lower"
    lines = [
        f"Runs: {c.expected} in all: {runs}. Final seeds: {', '.join(map(str, c.seeds))}.",
        f"Test {c.metric} ({best} is better) is scored once, at the best validation checkpoint; "
        "intervals are Student's t over seeds.",
    ]
    if c.baseline is not None:
        lines.append(
            f"p: Welch's two-sided t-test against {c.baseline}; Holm's correction over the "
            f"{len(c.rows) - 1} comparisons; 'differs' means p (Holm) < {ALPHA}. 'no difference "
            "shown' is not evidence of equality."
        )
    if any(len(row.scores) < FEW_SEEDS for row in c.rows):
        few = ", ".join(
            f"{row.variant} {len(row.scores)}" for row in c.rows if len(row.scores) < FEW_SEEDS
        )
        lines.append(f"Fewer than {FEW_SEEDS} runs, so weak evidence: {few}.")
    if any(row.failures for row in c.rows):
        lines.append("Runs that diverged or failed have no score and are left out of the means.")
    return lines


def claim_table(comparison: Comparison) -> list[list[str]]:
    """Returns the planned comparisons as rows of text."""
    rows = [[text, p_value(p), verdict] for text, p, verdict in comparison.claims]
    return [["planned claim", "p (Welch, one-sided)", "verdict"], *rows]


def results_csv(runs: StudyRuns) -> str:
    """Returns one line a run."""
    paths = sorted({path for run in runs.runs for path in run.point})
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    metric = runs.study["metric"]
    writer.writerow(
        ["id", "variant", "stage", "seed", *paths, "status", "reason", "best_step"]
        + [f"valid_{metric}", f"test_{metric}", "parameters", "wall_s"]
    )
    for run in runs.runs:
        writer.writerow(
            [run.id, run.variant, run.stage, run.seed, *(run.point.get(p, "") for p in paths)]
            + [run.status, run.reason, run.step, run.valid, run.test, run.parameters, run.wall_s]
        )
    return file.getvalue()


def build(workdir: Path) -> str:
    """Writes a study's report into WORKDIR/report.

    Args:
      workdir: the study's folder.

    Returns:
      The tables, for a terminal.

    Raises:
      UserError: for a folder that holds no study.
    """
    from lstm_lab.report.plots import draw  # matplotlib: only a report needs it

    runs = read_study(workdir)
    comparison = compare(runs)
    folder = workdir / "report"
    text = [f"# {comparison.title}", markdown_table(table(comparison)), *notes(comparison)]
    shown = [aligned(table(comparison)), *notes(comparison)]
    if comparison.claims:
        text.append(markdown_table(claim_table(comparison)))
        shown.append(aligned(claim_table(comparison)))
    text.append(
        "![Mean test score of each variant with its interval, and learning curves](comparison.png)"
    )
    write_text(folder / "report.md", "\n\n".join(text) + "\n")
    write_text(folder / "results.csv", results_csv(runs))
    draw(comparison, folder / "comparison.png")
    return "\n\n".join(shown)

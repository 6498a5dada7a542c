"""A study's report: report.md, results.csv, comparison.png."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from lstm_lab.files import write_text
from lstm_lab.report.compare import ALPHA, Comparison, compare
from lstm_lab.report.plots import draw
from lstm_lab.report.runs import StudyRuns, read_study
from lstm_lab.tables import aligned, markdown_table

FEW_SEEDS = 5


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


def notes(comparison: Comparison) -> list[str]:
    """Returns what a reader has to know beside the table."""
    c = comparison
    runs = ", ".join(f"{n} {status}" for status, n in c.counts.items())
    best = "higher" if c.direction == "max" else "lower"
    compared = (
        f"Final seeds: {', '.join(map(str, c.seeds))}."
        if c.seeds
        else f"Compared: each variant's best {c.top:.0%} of trials, chosen on validation."
    )
    lines = [
        f"Runs: {c.expected} in all: {runs}. {compared}",
        f"Test {c.metric} ({best} is better) is scored once, at the best validation checkpoint; "
        f"intervals are Student's t over {'seeds' if c.seeds else 'these trials'}.",
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
    rows = [[judged.claim, judged.evidence, judged.verdict] for judged in comparison.claims]
    return [["planned claim", "evidence", "verdict"], *rows]


def importance_table(comparison: Comparison) -> list[list[str]]:
    """Returns each setting's share of the variance, by variant; and the largest interaction."""
    found = comparison.importances
    names = list(next(iter(found.values())).single)
    rows = []
    for variant, importance in found.items():
        pair, share = max(importance.pairs.items(), key=lambda item: item[1])
        shares = [f"{importance.single[name]:.1%}" for name in names]
        together = " x ".join(name.rpartition(".")[2] for name in pair)
        rows.append([variant, *shares, f"{together} {share:.1%}"])
    return [["variant", *(name.rpartition(".")[2] for name in names), "largest pair"], *rows]


def results_csv(runs: StudyRuns) -> str:
    """Returns one line a run."""
    paths = sorted({path for run in runs.runs for path in run.point})
    metric = runs.study["metric"]
    header = ["id", "variant", "stage", "seed", *paths, "status", "reason", "best_step"]
    header += [f"valid_{metric}", f"test_{metric}", "parameters", "wall_s"]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for run in runs.runs:
        line = [run.id, run.variant, run.stage, run.seed, *(run.point.get(p, "") for p in paths)]
        line += [run.status, run.reason, run.step]
        writer.writerow([*line, run.valid, run.test, run.parameters, run.wall_s])
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
    runs = read_study(workdir)
    comparison = compare(runs)
    folder = workdir / "report"
    text = [f"# {comparison.title}", markdown_table(table(comparison)), *notes(comparison)]
    shown = [aligned(table(comparison)), *notes(comparison)]
    if comparison.claims:
        text.append(markdown_table(claim_table(comparison)))
        shown.append(aligned(claim_table(comparison)))
    if comparison.importances:
        said = "Share of the test score's variance that a setting explains (fANOVA)."
        text += [said, markdown_table(importance_table(comparison))]
        shown += [said, aligned(importance_table(comparison))]
    text.append(
        "![Mean test score of each variant with its interval, and learning curves](comparison.png)"
    )
    write_text(folder / "report.md", "\n\n".join(text) + "\n")
    write_text(folder / "results.csv", results_csv(runs))
    draw(comparison, folder / "comparison.png")
    return "\n\n".join(shown)

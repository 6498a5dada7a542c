"""A comparison in words: rows of text for tables, the header first, and what is said beside."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm_lab.report.comparison import ALPHA, ENOUGH_TO_RESAMPLE, Comparison
from lstm_lab.report.stats import Interval
from lstm_lab.utils.progress import duration

FEW_SEEDS = 5
SHOWN_FAILURES = 50

Table = list[list[str]]


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number for a table; nothing for none."""
    if value is None or np.isnan(value):
        return ""
    return f"{round(value, digits) + 0.0:.{digits}f}"  # no -0.00


def p_value(value: float) -> str:
    """Returns a p-value for a table."""
    if np.isnan(value):
        return ""
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _bounds(interval: Interval) -> str:
    if not np.isfinite(interval.low):
        return ""
    return f"{number(interval.low)} to {number(interval.high)}"


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _sizes(parameters: tuple[int, int] | None) -> str:
    if parameters is None:
        return ""
    low, high = parameters
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def ranking(c: Comparison) -> Table:
    """Each variant's mean with its interval, and its tests against the baseline."""
    tuned = any(row.chosen for row in c.rows)
    header = ["variant", *(["chosen"] if tuned else []), "parameters", "n", "failed"]
    header += [f"test {c.metric}", "95 % interval", "p (Welch)", "p (Holm)", "verdict"]
    lines = [header]
    for row in c.rows:
        chosen = ", ".join(f"{k.rpartition('.')[2]}={_setting(v)}" for k, v in row.chosen.items())
        failed = ", ".join(f"{n} {status}" for status, n in row.failures.items())
        lines.append(
            [
                row.variant,
                *([chosen] if tuned else []),
                _sizes(row.parameters),
                str(len(row.scores)),
                failed or "0",
                number(row.interval.mean),
                _bounds(row.interval),
                "baseline" if row.variant == c.baseline else p_value(row.p),
                p_value(row.p_holm),
                row.verdict,
            ]
        )
    return lines


def robust(c: Comparison) -> Table:
    """What outliers move less, and how large the differences are."""
    header = ["variant", "median", "middle half", "95 % interval", "better than baseline"]
    lines = [[*header, "Hedges' g", "p (Wilcoxon, pairs)"]]
    for row in c.rows:
        chance = "" if np.isnan(row.improvement) else f"{row.improvement:.0%}"
        lines.append(
            [
                row.variant,
                number(row.median),
                number(row.middle.mean),
                _bounds(row.middle),
                "baseline" if row.variant == c.baseline else chance,
                number(row.effect, 2),
                p_value(row.p_paired),
            ]
        )
    return lines


def claims(c: Comparison) -> Table:
    """The planned comparisons."""
    rows = [[judged.claim, judged.evidence, judged.verdict] for judged in c.claims]
    return [["planned claim", "evidence", "verdict"], *rows]


def references(c: Comparison) -> Table:
    """Published figures beside ours."""
    ours = {row.variant: row for row in c.rows}
    best = next((row for row in c.rows if row.scores), None)
    lines = [["published", f"{c.metric}", "source", "ours", "difference"]]
    for reference in c.references:
        row = ours.get(reference["variant"]) if reference["variant"] else best
        found = row.interval.mean if row and row.scores else float("nan")
        lines.append(
            [
                reference["label"],
                _setting(reference["value"]),
                reference["source"],
                f"{row.variant}: {number(found)}" if row and row.scores else "",
                "" if np.isnan(found) else f"{found - reference['value']:+.4f}",
            ]
        )
    return lines


def metrics(c: Comparison) -> Table:
    """All test metrics of each variant, and those of answers that need no model."""
    names = list(dict.fromkeys(name for row in c.rows for name in row.tests))
    lines = [["variant", f"valid {c.metric}", *names]]
    for row in c.rows:
        lines.append([row.variant, number(row.valid), *(number(row.tests.get(n)) for n in names)])
    trivial = {
        (answer, *(number(found.get(n)) for n in names)): row.variant
        for row in reversed(c.rows)
        for answer, found in row.trivial.items()
    }
    shared = len({answer for answer, *_ in trivial}) == len(trivial)
    for (answer, *values), variant in sorted(trivial.items()):
        of = "" if shared else f" on {variant}'s data"
        lines.append([f"no model: {answer.replace('_', ' ')}{of}", "", *values])
    return lines


def importance(c: Comparison) -> Table:
    """Each setting's share of the variance, by variant; and the largest interaction."""
    names = list(dict.fromkeys(name for found in c.importances.values() for name in found.single))
    rows = []
    for variant, found in c.importances.items():
        shares = [f"{found.single[n]:.1%}" if n in found.single else "" for n in names]
        together = ""
        if found.pairs:
            pair, share = max(found.pairs.items(), key=lambda item: item[1])
            together = f"{' x '.join(name.rpartition('.')[2] for name in pair)} {share:.1%}"
        rows.append([variant, *shares, together])
    return [["variant", *(name.rpartition(".")[2] for name in names), "largest pair"], *rows]


def shuffled(c: Comparison) -> Table:
    """How much of R^2 is lost when a setting is shuffled, by variant."""
    names = list(
        dict.fromkeys(name for found in c.importances.values() for name in found.permutation)
    )
    rows = [
        [variant, *(number(found.permutation.get(name), 2) for name in names)]
        for variant, found in c.importances.items()
    ]
    return [["variant", *(name.rpartition(".")[2] for name in names)], *rows]


def cost(c: Comparison) -> Table:
    """Size, arithmetic and time of a run of each variant."""
    lines = [["variant", "parameters", "operations of a run", "time of its cohort"]]
    for row in c.rows:
        lines.append(
            [
                row.variant,
                _sizes(row.parameters),
                "" if row.flops is None else f"{row.flops:.3g} FLOP",
                "" if row.seconds is None else duration(row.seconds),
            ]
        )
    return lines


def failures(c: Comparison) -> Table:
    """Runs that did not end well, with reasons."""
    rows = [
        [run.id, run.variant, run.stage, str(run.seed), run.status, run.reason]
        for run in c.failed[:SHOWN_FAILURES]
    ]
    return [["run", "variant", "stage", "seed", "status", "reason"], *rows]


def notes(c: Comparison) -> list[str]:
    """What a reader has to know beside the ranking."""
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
    if c.folds:
        lines.append(
            f"Cross-validation: seed s tests on part s modulo {c.folds}. The parts share training "
            "data, so that intervals are too narrow and p-values too small."
        )
    few = [f"{row.variant} {len(row.scores)}" for row in c.rows if len(row.scores) < FEW_SEEDS]
    if few:
        lines.append(f"Fewer than {FEW_SEEDS} runs, so weak evidence: {', '.join(few)}.")
    if len({len(row.scores) for row in c.rows}) > 1:
        lines.append("The variants have unequal numbers of runs.")
    if any(row.failures for row in c.rows):
        lines.append("Runs that diverged or failed have no score and are left out of the means.")
    return lines


def lead(c: Comparison) -> str:
    """Returns the result in a sentence or two."""
    ended = [row for row in c.rows if row.scores]
    if not ended:
        return "No run has ended yet."
    best = ended[0]
    text = f"Best: {best.variant}, test {c.metric} {number(best.interval.mean)}"
    text += f" over {len(best.scores)} runs." if len(best.scores) > 1 else " in one run."
    if c.baseline is not None:
        different = [row.variant for row in ended if row.verdict == "differs"]
        shown = ", ".join(different) if different else "none"
        text += f" Different from {c.baseline}: {shown}."
    return text


METRICS_NOTE = (
    "Means over the runs compared, on the test split but for the first column; and answers that "
    "need no model, on the same split."
)
ROBUST_NOTE = (
    "Middle half: the interquartile mean, with a stratified bootstrap interval from "
    f"{ENOUGH_TO_RESAMPLE} runs on. Better than baseline: the probability that a run of the "
    "variant beats one of the baseline. Hedges' g is positive where the variant is better. Pairs "
    "share a seed, and with it initialisation and data order."
)
IMPORTANCE_NOTE = (
    "Share of the test score's variance over the ranges that a setting explains alone (fANOVA)."
)
SHUFFLED_NOTE = (
    "What a random forest loses of its R² on trials left out when a setting is shuffled."
)

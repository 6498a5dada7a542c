"""The tables of a comparison as rows of text, and the sentences around them.

In: a `Comparison`. Out: a `TextTable`, header first, which `utils.tables` and `page` lay out for a
terminal, Markdown, LaTeX and HTML. Nothing is computed here except differences for display.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lstm_lab.report.against_baseline import ALPHA
from lstm_lab.report.comparison import MIN_RUNS_FOR_BOOTSTRAP, Comparison, VariantRow
from lstm_lab.report.render.averages import (
    BY_TASK_NOTE,
    SCORE_CURVE_NOTE,
    groups,
    groups_note,
    score_curve,
    scores_by_task,
)
from lstm_lab.report.render.figures.style import ReportFigure
from lstm_lab.report.render.formats import bounds, number, p_value
from lstm_lab.report.render.looks import looks_note
from lstm_lab.report.render.metric_ranges import range_note
from lstm_lab.report.render.posteriors import posteriors, posteriors_note
from lstm_lab.report.render.stochastic_orders import stochastic_orders, stochastic_orders_note
from lstm_lab.utils.progress import duration

# With fewer runs, even a difference of two standard deviations is often missed: at the level 0.05,
# Welch's test finds it in 77 % of normal samples of five runs, in 61 % of four, in 37 % of three.
FEW_RUNS = 5
# Many failures often have one reason. The rest is in results.csv.
MAX_FAILURES_SHOWN = 50

TextTable = list[list[str]]


class Section(NamedTuple):
    """A part of a report.

    Attributes:
      heading: its heading.
      table: rows of text, header first.
      note: how to read the table, below it; may be empty.
      figure: a figure above the table, or None.
    """

    heading: str
    table: TextTable
    note: str = ""
    figure: ReportFigure | None = None


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _short(path: str) -> str:
    """Returns the last part of a dotted path: optim.lr becomes lr."""
    return path.rpartition(".")[2]


def _size(parameters: tuple[int, int] | None) -> str:
    if parameters is None:
        return ""
    low, high = parameters
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def ranking(c: Comparison) -> TextTable:
    """Returns each variant's mean with its interval, and its tests against the baseline.

    The raw p-values stand next to the corrected ones, to compare with papers that did not correct.

    Args:
      c: the comparison; rows keep its order.
    """
    tuned = any(row.chosen for row in c.rows)
    header = ["variant", *(["chosen"] if tuned else []), "parameters", "n", "failed"]
    tests = ["p (last look)", "limit"] if c.sequential else ["p (Welch)", "p (Holm)"]
    header += [f"test {c.test_metric}", "95 % interval", *tests, "verdict"]
    table = [header]
    for row in c.rows:
        chosen = ", ".join(f"{_short(path)}={_value(v)}" for path, v in row.chosen.items())
        failures = ", ".join(f"{n} {status}" for status, n in row.failures.items())
        table.append(
            [
                row.variant,
                *([chosen] if tuned else []),
                _size(row.parameters),
                str(len(row.scores)),
                failures or "0",
                number(row.mean.estimate),
                bounds(row.mean),
                "baseline" if row.variant == c.baseline else p_value(_shown_p(row)),
                p_value(row.look.limit if row.look else row.p_holm),
                row.verdict,
            ]
        )
    return table


def _shown_p(row: VariantRow) -> float:
    """Returns the p-value on which the verdict rests, before a correction."""
    return row.look.p if row.look else row.p_welch


def effect_sizes(c: Comparison) -> TextTable:
    """Returns estimates that are robust to outliers, and the sizes of the differences.

    A p-value says nothing about the size of a difference; this table does.

    Args:
      c: the comparison; cells stay empty for what too few runs cannot give.
    """
    header = ["variant", "median", "interquartile mean", "95 % interval", "better than baseline"]
    table = [[*header, "Hedges' g", "p (Wilcoxon, pairs)"]]
    for row in c.rows:
        improvement = "" if np.isnan(row.improvement) else f"{row.improvement:.0%}"
        table.append(
            [
                row.variant,
                number(row.median),
                number(row.iqm.estimate),
                bounds(row.iqm),
                "baseline" if row.variant == c.baseline else improvement,
                number(row.hedges_g, 2),
                p_value(row.p_wilcoxon),
            ]
        )
    return table


def claims(c: Comparison) -> TextTable:
    """Returns the verdicts on the study's claims.

    Args:
      c: the comparison; claims keep the order of the study.
    """
    rows = [[judged.claim, judged.evidence, judged.verdict] for judged in c.claims]
    return [["claim", "evidence", "verdict"], *rows]


def references(c: Comparison) -> TextTable:
    """Returns published scores compared with ours.

    Args:
      c: the comparison; a reference without a variant is compared with the best one, or with all
        that are tied, if all variants have the same task.
    """
    # With several tasks, none is the best.
    best = [] if c.crosses_tasks else c.best_of(c.labels)
    table = [["published", c.test_metric, "source", "ours", "difference"]]
    for reference in c.references:
        named = [row for row in c.rows if row.variant == reference["variant"] and row.scores]
        rows = named if reference["variant"] else best
        ours = rows[0].mean.estimate if rows else float("nan")
        table.append(
            [
                reference["label"],
                f"{reference['value']:.4g}",
                reference["source"],
                f"{', '.join(row.variant for row in rows)}: {number(ours)}" if rows else "",
                "" if np.isnan(ours) else f"{ours - reference['value']:+.4f}",
            ]
        )
    return table


def metrics(c: Comparison) -> TextTable:
    """Returns all test metrics of each variant and of the trivial baselines.

    Args:
      c: the comparison.
    """
    names = list(dict.fromkeys(name for row in c.rows for name in row.test_metrics))
    table = [["variant", f"valid {c.metric}", *names]]
    for row in c.rows:
        values = (number(row.test_metrics.get(name)) for name in names)
        table.append([row.variant, number(row.valid), *values])
    # Variants with the same data have the same trivial scores: those are shown once.
    # Reversed, so that the first variant with these scores names them.
    trivial = {
        (answer, *(number(values.get(name)) for name in names)): row.variant
        for row in reversed(c.rows)
        for answer, values in row.trivial.items()
    }
    shared = len({answer for answer, *_ in trivial}) == len(trivial)
    for (answer, *cells), variant in sorted(trivial.items()):
        data = "" if shared else f", data of {variant}"
        table.append([f"trivial: {answer.replace('_', ' ')}{data}", "", *cells])
    return table


def importance(c: Comparison) -> TextTable:
    """Returns each hyperparameter's main effect, and the largest interaction, by variant.

    Args:
      c: the comparison, with importances.
    """
    effects = [importance.main_effects for importance in c.importances.values()]
    paths = list(dict.fromkeys(path for of_variant in effects for path in of_variant))
    table = [["variant", *map(_short, paths), "largest interaction"]]
    for variant, result in c.importances.items():
        main = result.main_effects
        shares = [f"{main[path]:.1%}" if path in main else "" for path in paths]
        largest = ""
        if result.interactions:
            pair, share = max(result.interactions.items(), key=lambda item: item[1])
            largest = f"{' x '.join(map(_short, pair))} {share:.1%}"
        table.append([variant, *shares, largest])
    return table


def permutation_importance(c: Comparison) -> TextTable:
    """Returns the R^2 that is lost if a hyperparameter is permuted, by variant.

    Args:
      c: the comparison, with importances.
    """
    losses = [importance.permutation for importance in c.importances.values()]
    paths = list(dict.fromkeys(path for of_variant in losses for path in of_variant))
    rows = [
        [variant, *(number(result.permutation.get(path), 2) for path in paths)]
        for variant, result in c.importances.items()
    ]
    return [["variant", *map(_short, paths)], *rows]


def cost(c: Comparison) -> TextTable:
    """Returns size, arithmetic and time of a run of each variant.

    Time is shared: all lanes of a cohort train in the same seconds, so no run has a time of its
    own.

    Args:
      c: the comparison.
    """
    table = [["variant", "parameters", "operations per run", "time of its cohort"]]
    for row in c.rows:
        table.append(
            [
                row.variant,
                _size(row.parameters),
                "" if row.flops is None else f"{row.flops:.3g} FLOP",
                "" if row.wall_s is None else duration(row.wall_s),
            ]
        )
    return table


def failures(c: Comparison) -> TextTable:
    """Returns the runs that failed or diverged, with reasons.

    Args:
      c: the comparison; at most `MAX_FAILURES_SHOWN` of its runs are listed.
    """
    rows = [
        [run.id, run.variant, run.stage, str(run.seed), run.status, run.reason]
        for run in c.failed[:MAX_FAILURES_SHOWN]
    ]
    return [["run", "variant", "stage", "seed", "status", "reason"], *rows]


def sections(c: Comparison) -> list[Section]:
    """Returns the tables of a comparison that are not empty, in the order of the page.

    Args:
      c: the comparison.
    """
    result = []
    if c.crosses_tasks:
        result.append(Section("Scores by task", scores_by_task(c), BY_TASK_NOTE))
    result.append(Section("Ranking", ranking(c)))
    if c.claims:
        result.append(Section("Claims", claims(c)))
    if c.references:
        result.append(Section("Published scores", references(c)))
    result.append(Section("Test metrics and trivial baselines", metrics(c), METRICS_NOTE))
    if c.groups:
        result.append(Section("Groups of variants", groups(c), groups_note(c)))
    for name in dict.fromkeys(name for row in c.rows for name in row.score_curves):
        title = name.replace("_", " ").capitalize()
        result.append(Section(title, score_curve(c, name), SCORE_CURVE_NOTE))
    result.append(Section("Effect sizes", effect_sizes(c), EFFECT_SIZES_NOTE))
    if any(np.isfinite(row.posterior.difference) for row in c.rows):
        result.append(Section("Bayesian comparison", posteriors(c), posteriors_note(c)))
    if any(np.isfinite(row.order.ratio) for row in c.rows):
        table = stochastic_orders(c)
        result.append(Section("Almost stochastic order", table, stochastic_orders_note(c)))
    if c.importances:
        note = IMPORTANCE_NOTE + (DIVERGED_NOTE if c.has_diverged_trials else "")
        result.append(Section("Importance of hyperparameters", importance(c), note))
        result.append(
            Section("Permutation importance", permutation_importance(c), PERMUTATION_NOTE)
        )
    result.append(Section("Time and cost", cost(c)))
    if c.failed:
        hidden = len(c.failed) - MAX_FAILURES_SHOWN
        note = f"{hidden} more failed runs are in results.csv." if hidden > 0 else ""
        result.append(Section("Failures", failures(c), note))
    return result


def notes(c: Comparison) -> list[str]:
    """Returns what a reader must know to interpret the ranking.

    Args:
      c: the comparison.

    Returns:
      One or two sentences each; which ones depends on the study.
    """
    counts = ", ".join(f"{n} {status}" for status, n in c.counts.items())
    compared = (
        f"Final seeds: {'at most ' if c.sequential else ''}{', '.join(map(str, c.seeds))}."
        if c.seeds
        else f"Compared: the best {c.top:.0%} of each variant's trials, selected on validation."
    )
    lines = [
        f"Runs: {c.expected} in total: {counts}. {compared}",
        f"Test {c.test_metric} ({'higher' if c.test_direction == 'max' else 'lower'} is better) is "
        "measured once, at the best validation checkpoint; intervals are Student's t over "
        f"{'seeds' if c.seeds else 'these trials'}.",
    ]
    if note := range_note(c.test_metric, [row.mean for row in c.rows]):
        lines.append(note)
    if c.sequential:
        lines.append(looks_note(c))
    elif c.baseline is not None:
        others = sum(bool(np.isfinite(row.p_welch)) for row in c.rows)
        where = ", of variants on its task" if c.crosses_tasks else ""
        lines.append(
            f"p (Welch): two-sided t-test with unequal variances against {c.baseline}{where}. "
            f"p (Holm): corrected for {others} comparison{'s' * (others != 1)}; 'differs' means "
            f"p (Holm) < {ALPHA}. 'no difference shown' is not evidence of equality."
        )
    if c.folds:
        lines.append(
            f"Cross-validation: seed s tests on part s modulo {c.folds}. The parts share training "
            "data, so the intervals are too narrow and the p-values too small."
        )
    few = [f"{row.variant} {len(row.scores)}" for row in c.rows if len(row.scores) < FEW_RUNS]
    if few:
        lines.append(f"Weak evidence, fewer than {FEW_RUNS} runs: {', '.join(few)}.")
    if len({len(row.scores) for row in c.rows}) > 1:
        lines.append("The variants have unequal numbers of runs.")
    if any(row.failures for row in c.rows):
        lines.append("Runs that diverged or failed have no score and do not enter the means.")
    if c.damages:
        more = f", and {len(c.damages) - 1} more such files" if len(c.damages) > 1 else ""
        lines.append(f"Damaged: {c.damages[0]}{more}.")
    return lines


METRICS_NOTE = (
    "Means over the compared runs on the test split; the first column is on the validation split. "
    "A trivial baseline needs no model (majority class, last value); its scores are on the test "
    "split."
)
EFFECT_SIZES_NOTE = (
    "Interquartile mean: the mean of the middle half, with a stratified bootstrap interval for "
    f"{MIN_RUNS_FOR_BOOTSTRAP} runs or more. Better than baseline: the probability that a run of "
    "the variant is better than one of the baseline. Hedges' g: the difference of means in pooled "
    "standard deviations, positive if the variant is better. Pairs have the same seed, and so the "
    "same initialization and data order."
)
IMPORTANCE_NOTE = (
    "Share of the test score's variance over the search space that a hyperparameter explains alone "
    "(fANOVA), and that two explain together beyond their own shares."
)
DIVERGED_NOTE = " A trial that diverged counts as the worst score of its variant."
PERMUTATION_NOTE = (
    "Loss of R² on held-out trials if a hyperparameter's values are permuted (random forest)."
)

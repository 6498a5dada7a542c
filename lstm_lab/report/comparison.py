"""The comparison of a study's variants: every number that its tables and figures show.

In: `StudyRuns`. Out: `Comparison`. `render` turns it into text and figures and computes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from lstm_lab.report.against_baseline import ALPHA, NAN, against_baseline
from lstm_lab.report.fanova import Importance
from lstm_lab.report.groups import group_means
from lstm_lab.report.looks import LastLook, last_look
from lstm_lab.report.means import interval_of_mean
from lstm_lab.report.ranks import rank
from lstm_lab.report.runs import RunRow, StudyRuns, scores_of
from lstm_lab.report.score_curves import MeanCurve, mean_curves
from lstm_lab.report.trials import expected_best_of_trials
from lstm_lab.report.verdicts import ClaimVerdict, hyperparameter_importances, judge_claim
from lstm_lab.results.labels import split_labels, variants_by_task
from lstm_lab.statistics.bayes import Posterior
from lstm_lab.statistics.estimates import (
    Interval,
    bootstrap_interval,
    interquartile_mean,
)
from lstm_lab.statistics.hypotheses import FriedmanResult, holm, welch
from lstm_lab.statistics.stochastic_order import StochasticOrder

FAILED_STATUSES = ("failed", "out_of_memory", "diverged")
# With fewer values the percentile bootstrap covers less than it promises: docs/benchmarks.md.
MIN_RUNS_FOR_BOOTSTRAP = 10


@dataclass(frozen=True)
class VariantRow:
    """All statistics of one variant.

    Attributes:
      variant: its label.
      chosen: its tuned values, by path.
      scores: test scores of the compared runs that completed.
      mean: their mean and its interval by Student's t.
      median: their median.
      iqm: their interquartile mean; with a bootstrap interval for ten scores or more.
      planned: number of planned runs.
      failures: number of runs without a score, by status.
      p_welch, p_holm: p-value of Welch's test against the baseline, raw and with Holm's
        correction; NaN for the baseline.
      p_wilcoxon: p-value of Wilcoxon's test over the seeds that both have; NaN for the baseline.
      hedges_g: effect size against the baseline; positive if the variant is better.
      improvement: estimated probability that one of its runs is better than one of the baseline.
      posterior: of the difference to the baseline; positive if the variant is better.
      order: how nearly its scores are above those of the baseline; NaN for fewer than five on a
        side, and for a cross-validation, whose scores depend on each other.
      look: the last look at its comparison; None for the baseline, and in a study without looks.
      parameters: smallest and largest number of parameters of its runs, or None.
      wall_s: mean training time of its runs in seconds, or None; see `RunRow`.
      flops: mean floating-point operations of a run, or None.
      curves: validation curves of the compared runs that completed.
      trials: test scores of all tuning runs that completed.
      expected_best: expected test score of the best of k trials, for k = 1, 2, ...; a diverged one
        counts as the worst, see `trials.ended_trials`.
      valid: mean of the study's metric on validation data, or None.
      test_metrics: mean of each test metric.
      trivial: mean test metrics of the trivial baselines, by name.
      score_curves: mean curves of the test split, by name.
    """

    variant: str
    chosen: dict[str, Any]
    scores: list[float]
    mean: Interval
    median: float
    iqm: Interval
    planned: int
    failures: dict[str, int]
    p_welch: float
    p_holm: float
    p_wilcoxon: float
    hedges_g: float
    improvement: float
    posterior: Posterior
    order: StochasticOrder
    look: LastLook | None
    parameters: tuple[int, int] | None
    wall_s: float | None
    flops: float | None
    curves: list[list[tuple[int, float]]]
    trials: list[float]
    expected_best: np.ndarray
    valid: float | None
    test_metrics: dict[str, float]
    trivial: dict[str, dict[str, float]]
    score_curves: dict[str, MeanCurve]

    @property
    def verdict(self) -> str:
        """The result of the test against the baseline; empty for the baseline.

        With looks, what the last one decided, and otherwise what the corrected test did.
        """
        if self.look is not None:
            return self.look.text
        if np.isnan(self.p_holm):
            return ""
        # Never "equal": a test that finds no difference does not show equality.
        return "differs" if self.p_holm < ALPHA else "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """All that a study's tables and figures show.

    Attributes:
      title, metric, direction, baseline, seeds, top, folds, rope, sequential: as the study declares
        them.
      test_metric, test_direction: the metric of all test scores, and whether more is better.
      rows: the variants, best first; if the study crosses tasks, in the order of the tasks, and the
        best of each task first.
      claims: the verdicts on the study's claims.
      references: published scores, as the study declares them.
      pairwise: p-values of Welch's test with Holm's correction, over all pairs of variants of
        the same task.
      friedman: ranks of the variants within final seeds; if the study crosses tasks, ranks of what
        is not the task, such as the cell, by the mean score in each task. None for fewer than three
        of either.
      importances: importance of hyperparameters, by variant.
      ranges: the distributions of the random search, by path.
      counts: number of runs by status.
      expected: number of runs of the whole study.
      failed: the runs that failed or diverged.
      damages: a line for each finished run whose curve is lost, at least in part.
      labels: for each variant, the label of its task's settings and of its other settings.
      tasks: the variants of each task, see `variants_by_task`.
      groups: the mean score of each group of variants that the study names, and its number of
        seeds; without final seeds, of trials.
    """

    title: str
    metric: str
    test_metric: str
    test_direction: str
    direction: str
    baseline: str | None
    seeds: list[int]
    top: float
    folds: int | None
    rope: float
    sequential: dict[str, Any] | None
    rows: list[VariantRow]
    claims: list[ClaimVerdict]
    references: list[dict[str, Any]]
    pairwise: dict[tuple[str, str], float]
    friedman: FriedmanResult | None
    importances: dict[str, Importance]
    ranges: dict[str, Any]
    counts: dict[str, int]
    expected: int
    failed: list[RunRow]
    damages: list[str]
    labels: dict[str, tuple[str, str]]
    tasks: dict[str, list[str]]
    groups: dict[str, tuple[Interval, int]]

    @property
    def crosses_tasks(self) -> bool:
        """Whether the same settings were trained on several tasks, whose scores do not compare."""
        return len(self.tasks) > 1

    def best_of(self, names: Iterable[str]) -> list[VariantRow]:
        """Returns the variant with the best mean score, or all that are tied; empty without scores.

        Args:
          names: variants of one task.
        """
        rows = [row for row in self.rows if row.variant in set(names) and row.scores]
        # The rows are sorted, so the first one is among the best.
        return [row for row in rows if row.mean.estimate == rows[0].mean.estimate]

    @property
    def has_diverged_trials(self) -> bool:
        """Whether a tuning run diverged."""
        return any(run.stage == "tuning" and run.status == "diverged" for run in self.failed)


def compare(runs: StudyRuns) -> Comparison:
    """Computes a study's comparison from its runs.

    Args:
      runs: the study; it may still be running.

    Returns:
      The comparison; NaN or None for what too few runs cannot give.

    Example:
      comparison = compare(read_study(Path("runs/digits_ablation")))
      [(row.variant, row.mean.estimate) for row in comparison.rows]
    """
    study = runs.study
    compared = {name: runs.compared_runs(name) for name in study["variants"]}
    scores = {name: scores_of(of_variant) for name, of_variant in compared.items()}
    labels = split_labels(study["variants"])
    tasks = variants_by_task(labels)
    baseline = study["baseline"]
    rows: list[VariantRow] = []
    pairs: list[tuple[str, str]] = []
    for names in tasks.values():
        of_task = {name: scores[name] for name in names}
        base = baseline if baseline in names else None
        ranked = [_variant_row(runs, name, base, compared, of_task) for name in names]
        # Variants without a score come last.
        ranked.sort(
            key=lambda row: (
                not row.scores,
                -runs.test_sign * row.mean.estimate if row.scores else 0.0,
            )
        )
        rows += ranked
        pairs += combinations([row.variant for row in ranked], 2)
    # After all rows: the correction depends on the number of tests, and each variant is one test.
    # With looks, the level is divided before and spent over the looks: no correction afterwards.
    adjusted = holm([NAN if row.look else row.p_welch for row in rows])
    rows = [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]
    # A family of its own: all pairs are more tests, so their correction is stricter than the one
    # against the baseline, which gives the verdicts.
    pairwise = holm([welch(scores[a], scores[b]) for a, b in pairs])
    importances = hyperparameter_importances(runs)
    counts = Counter(run.status for run in runs.runs)
    # Runs that are not planned yet: final runs wait for the tuned points.
    counts["missing"] += runs.expected - len(runs.runs)
    return Comparison(
        title=study["title"],
        metric=study["metric"],
        test_metric=runs.test_metric,
        test_direction=runs.test_direction,
        direction=study["direction"],
        baseline=baseline,
        seeds=study["seeds"],
        top=study["top"],
        folds=study.get("folds"),
        rope=study.get("rope", 0.0),
        sequential=study.get("sequential"),
        rows=rows,
        claims=[judge_claim(claim, runs, scores, importances) for claim in study["claims"]],
        references=study.get("references", []),
        pairwise=dict(zip(pairs, pairwise, strict=True)),
        # Only over final seeds: the compared trials are each variant's own best, so they form no
        # blocks.
        friedman=rank(compared, labels, tasks, runs.test_sign) if study["seeds"] else None,
        importances=importances,
        ranges=(study["tuning"] or {}).get("ranges") or {},
        counts={status: n for status, n in sorted(counts.items()) if n},
        expected=runs.expected,
        failed=[run for run in runs.runs if run.status in FAILED_STATUSES],
        damages=[run.damage for run in runs.runs if run.damage],
        labels=labels,
        tasks=tasks,
        groups=group_means(runs, compared),
    )


def _variant_row(
    runs: StudyRuns,
    name: str,
    baseline: str | None,
    compared: Mapping[str, list[RunRow]],
    all_scores: Mapping[str, list[float]],
) -> VariantRow:
    """Returns a variant's row, without `p_holm`: the correction needs the rows of all variants."""
    seeds, runs_of_variant, scores = runs.planned_seeds(name), compared[name], all_scores[name]
    completed = [run for run in runs_of_variant if run.scored]
    trials = [run for run in runs.runs if run.variant == name and run.stage == "tuning"]
    # A range: trials of one variant may differ in hidden size.
    sizes = [run.parameters for run in runs_of_variant if run.parameters]
    return VariantRow(
        variant=name,
        chosen=runs.chosen.get(name, {}),
        scores=scores,
        mean=interval_of_mean(scores),
        median=float(np.median(scores)) if scores else NAN,
        iqm=_iqm(scores),
        planned=len(seeds) or len(runs_of_variant),
        failures=runs.unscored(name),
        # Looks of a study that crosses tasks, from before they were refused, compared tasks.
        look=None if baseline is None else last_look(runs, name),
        p_holm=NAN,
        **against_baseline(runs, name, baseline, compared, all_scores),
        parameters=(min(sizes), max(sizes)) if sizes else None,
        wall_s=_mean(run.wall_s for run in completed),
        flops=_mean(run.flops for run in completed),
        # Without diverged runs: their last values may be so large that they hide the other curves.
        curves=[run.curve for run in completed if run.curve],
        trials=scores_of(trials),
        expected_best=expected_best_of_trials(runs, name, all_scores),
        valid=_mean(run.valid for run in completed),
        test_metrics=_mean_metrics([run.test_metrics for run in completed]),
        trivial={
            answer: _mean_metrics([run.trivial.get(answer, {}) for run in completed])
            for answer in dict.fromkeys(answer for run in completed for answer in run.trivial)
        },
        score_curves=mean_curves([run.score_curves for run in completed]),
    )


def _iqm(scores: list[float]) -> Interval:
    if len(scores) >= MIN_RUNS_FOR_BOOTSTRAP:
        return bootstrap_interval([scores], interquartile_mean)
    return Interval(float(interquartile_mean(scores)) if scores else NAN, NAN, NAN)


def _mean_metrics(metrics: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each metric that all runs have.

    A mean over some of them would stand next to means over all, and look like one of those.
    """
    names = (
        [name for name in metrics[0] if all(name in of_run for of_run in metrics)]
        if metrics
        else []
    )
    return {name: float(np.mean([of_run[name] for of_run in metrics])) for name in names}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None

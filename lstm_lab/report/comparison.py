"""A study's comparison: what its tables, pictures and page show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from lstm_lab.report.fanova import Importance
from lstm_lab.report.hypotheses import Ranks, friedman, holm, welch, wilcoxon
from lstm_lab.report.runs import RunRow, StudyRuns
from lstm_lab.report.stats import (
    Interval,
    bootstrap_interval,
    expected_best,
    hedges_g,
    interquartile_mean,
    mean_interval,
    probability_of_improvement,
)
from lstm_lab.report.verdicts import Judged, importances, judge

ALPHA = 0.05
FAILED = ("failed", "out_of_memory", "diverged")
# From so many values on the bootstrap's intervals cover what they say (docs/benchmarks.md).
ENOUGH_TO_RESAMPLE = 10


@dataclass(frozen=True)
class Row:
    """A variant's line.

    Attributes:
      variant: its label.
      chosen: its tuned values.
      scores: test metric of its runs that ended well.
      interval: their mean and its interval by Student's t.
      median: of them.
      middle: their interquartile mean with a bootstrap interval, which needs ten values.
      planned: runs that were planned.
      failures: statuses of the runs that did not end well, with their number.
      p, p_holm: Welch's p against the baseline, and Holm's; NaN where there is none.
      p_paired: Wilcoxon's p over the seeds that both have; NaN where there is none.
      effect: Hedges' g against the baseline, positive where the variant is better.
      improvement: probability that a run of it beats one of the baseline.
      parameters: least and largest number of parameters of its runs, or None.
      seconds: mean training time of a run's cohort, or None.
      flops: mean operations of a run, or None.
      curves: validation curves of the runs that ended well.
      trials: test scores of all its tuning runs that ended well.
      best_of: expected test score of the best of k trials, for k from 1 on.
      valid: mean of the metric on validation, over the runs that ended well, or None.
      tests: all test metrics, means over the runs that ended well.
      trivial: those of answers that need no model, likewise, by name.
    """

    variant: str
    chosen: dict[str, Any]
    scores: list[float]
    interval: Interval
    median: float
    middle: Interval
    planned: int
    failures: dict[str, int]
    p: float
    p_holm: float
    p_paired: float
    effect: float
    improvement: float
    parameters: tuple[int, int] | None
    seconds: float | None
    flops: float | None
    curves: list[list[tuple[int, float]]]
    trials: list[float]
    best_of: np.ndarray
    valid: float | None
    tests: dict[str, float]
    trivial: dict[str, dict[str, float]]

    @property
    def verdict(self) -> str:
        """What Holm's corrected test says of the variant beside the baseline."""
        if np.isnan(self.p_holm):
            return ""
        return "differs" if self.p_holm < ALPHA else "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """All that a study's tables and pictures show; rows are ranked, best first.

    Attributes:
      title, metric, direction, baseline, seeds, top, folds: as declared.
      rows: the variants.
      claims: judged.
      references: published figures, as declared.
      pairwise: Holm's p over all pairs of variants.
      ranks: of the variants within seeds, where at least three share three.
      importances: of settings, by variant.
      ranges: what settings were drawn from.
      counts: runs by status.
      expected: runs in all.
      failed: runs that did not end well.
    """

    title: str
    metric: str
    direction: str
    baseline: str | None
    seeds: list[int]
    top: float
    folds: int | None
    rows: list[Row]
    claims: list[Judged]
    references: list[dict[str, Any]]
    pairwise: dict[tuple[str, str], float]
    ranks: Ranks | None
    importances: dict[str, Importance]
    ranges: dict[str, Any]
    counts: dict[str, int]
    expected: int
    failed: list[RunRow]


def compare(runs: StudyRuns) -> Comparison:
    """Computes a study's comparison from its runs."""
    study = runs.study
    compared = {name: runs.compared(name) for name in study["variants"]}
    scores = {name: _scores(of) for name, of in compared.items()}
    sign = 1.0 if study["direction"] == "max" else -1.0
    rows = [_row(runs, name, compared, scores, sign) for name in scores]
    adjusted = holm([row.p for row in rows])
    rows = [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]
    rows.sort(key=lambda row: (not row.scores, -sign * row.interval.mean if row.scores else 0.0))
    pairs = list(combinations([row.variant for row in rows], 2))
    found = importances(runs)
    counts = Counter(run.status for run in runs.runs)
    counts["missing"] += runs.expected - len(runs.runs)
    return Comparison(
        title=study["title"],
        metric=study["metric"],
        direction=study["direction"],
        baseline=study["baseline"],
        seeds=study["seeds"],
        top=study["top"],
        folds=study.get("folds"),
        rows=rows,
        claims=[judge(claim, runs, scores, found) for claim in study["claims"]],
        references=study.get("references", []),
        pairwise=dict(
            zip(pairs, holm([welch(scores[a], scores[b]) for a, b in pairs]), strict=True)
        ),
        ranks=_ranks(compared, sign) if study["seeds"] else None,
        importances=found,
        ranges=(study["tuning"] or {}).get("ranges") or {},
        counts={status: n for status, n in sorted(counts.items()) if n},
        expected=runs.expected,
        failed=[run for run in runs.runs if run.status in FAILED],
    )


def _scores(runs: list[RunRow]) -> list[float]:
    return [run.test for run in runs if run.scored and run.test is not None]


def _row(
    runs: StudyRuns,
    name: str,
    compared: Mapping[str, list[RunRow]],
    scores: Mapping[str, list[float]],
    sign: float,
) -> Row:
    """Returns a variant's line; without Holm's correction, which needs all of them."""
    study, own = runs.study, scores[name]
    baseline = study["baseline"]
    against = scores[baseline] if baseline not in (None, name) else None
    nan = float("nan")
    up = [sign * value for value in own]
    base = [sign * value for value in against or ()]
    ended = [run for run in compared[name] if run.scored]
    trials = [run for run in runs.runs if run.variant == name and run.stage == "tuning"]
    known = [run for run in trials if run.scored and run.test is not None]
    sizes = [run.parameters for run in compared[name] if run.parameters]
    enough = len(own) >= ENOUGH_TO_RESAMPLE
    middle = bootstrap_interval([own], interquartile_mean) if enough else None
    valid = [sign * (nan if run.valid is None else run.valid) for run in known]
    return Row(
        variant=name,
        chosen=runs.chosen.get(name, {}),
        scores=own,
        interval=mean_interval(own),
        median=float(np.median(own)) if own else nan,
        middle=middle or Interval(float(interquartile_mean(own)) if own else nan, nan, nan),
        planned=len(study["seeds"]) or len(compared[name]),
        failures=_failures(compared[name], len(study["seeds"])),
        p=welch(own, against) if against is not None else nan,
        p_holm=nan,
        # A trial's number is its seed: only final runs are pairs.
        p_paired=_paired(compared[name], compared[baseline]) if against and study["seeds"] else nan,
        effect=hedges_g(up, base) if against is not None else nan,
        improvement=probability_of_improvement(up, base) if against is not None else nan,
        parameters=(min(sizes), max(sizes)) if sizes else None,
        seconds=_mean([run.wall_s for run in ended]),
        flops=_mean([run.flops for run in ended]),
        curves=[run.curve for run in ended if run.curve],
        trials=_scores(trials),
        best_of=expected_best(valid, _scores(trials)),
        valid=_mean([run.valid for run in ended]),
        tests=_means([run.tests for run in ended]),
        trivial={
            answer: _means([run.trivial.get(answer, {}) for run in ended])
            for answer in dict.fromkeys(answer for run in ended for answer in run.trivial)
        },
    )


def _means(tables: list[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each metric over the runs that have it."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {n: float(np.mean([table[n] for table in tables if n in table])) for n in names}


def _by_seed(runs: list[RunRow]) -> dict[int, float]:
    return {run.seed: run.test for run in runs if run.scored and run.test is not None}


def _paired(a: list[RunRow], b: list[RunRow]) -> float:
    """Returns Wilcoxon's p over the seeds that both have."""
    mine, theirs = _by_seed(a), _by_seed(b)
    shared = sorted(set(mine) & set(theirs))
    return wilcoxon([mine[seed] for seed in shared], [theirs[seed] for seed in shared])


def _ranks(compared: Mapping[str, list[RunRow]], sign: float) -> Ranks | None:
    """Ranks the variants within the seeds that all have; None for fewer than three of either."""
    tables = {name: _by_seed(runs) for name, runs in compared.items()}
    tables = {name: table for name, table in tables.items() if table}
    shared = sorted(set.intersection(*map(set, tables.values()))) if tables else []
    if len(tables) < 3 or len(shared) < 3:
        return None
    return friedman(
        {name: [sign * table[seed] for seed in shared] for name, table in tables.items()}
    )


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _failures(runs: list[RunRow], planned: int) -> dict[str, int]:
    counts = Counter(run.status for run in runs if not run.scored)
    counts["missing"] += max(planned - len(runs), 0)
    return {status: n for status, n in counts.items() if n}

"""A study's comparison: what its tables and pictures show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_lab.report.claims import Judged, importances, judge
from lstm_lab.report.fanova import Importance
from lstm_lab.report.hypotheses import holm, welch
from lstm_lab.report.runs import RunRow, StudyRuns
from lstm_lab.report.stats import Interval, mean_interval

ALPHA = 0.05


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
    claims: list[Judged]
    importances: dict[str, Importance]
    counts: dict[str, int]
    expected: int
    seeds: list[int]
    top: float


def compare(runs: StudyRuns) -> Comparison:
    """Computes a study's comparison from its runs."""
    study, baseline = runs.study, runs.study["baseline"]
    compared = {name: runs.compared(name) for name in study["variants"]}
    scores = {
        name: [run.test for run in compared[name] if run.scored and run.test is not None]
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
            planned=len(study["seeds"]) or len(compared[name]),
            failures=_failures(compared[name], len(study["seeds"])),
            p=p.get(name, nan),
            p_holm=p_holm.get(name, nan),
            parameters=next((r.parameters for r in compared[name] if r.parameters), None),
            curves=[run.curve for run in compared[name] if run.scored and run.curve],
        )
        for name in scores
    ]
    sign = -1.0 if study["direction"] == "max" else 1.0
    rows.sort(key=lambda row: (not row.scores, sign * row.interval.mean if row.scores else 0.0))
    found = importances(runs)
    counts = Counter(run.status for run in runs.runs)
    counts["missing"] += runs.expected - len(runs.runs)
    return Comparison(
        title=study["title"],
        metric=study["metric"],
        direction=study["direction"],
        baseline=baseline,
        rows=rows,
        claims=[judge(claim, runs, scores, found) for claim in study["claims"]],
        importances=found,
        counts={status: n for status, n in sorted(counts.items()) if n},
        expected=runs.expected,
        seeds=study["seeds"],
        top=study["top"],
    )


def _failures(runs: list[RunRow], planned: int) -> dict[str, int]:
    counts = Counter(run.status for run in runs if not run.scored)
    counts["missing"] += max(planned - len(runs), 0)
    return {status: n for status, n in counts.items() if n}

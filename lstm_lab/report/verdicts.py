"""The verdicts on a study's claims, which it declared before it ran.

In: the claims in study.json and the scores of the runs. Out: one `ClaimVerdict` per claim: holds,
fails or inconclusive. `lstm_lab.studies.claims` defines the kinds of claims; read `comparison`
next.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_lab.report.fanova import MIN_TRIALS, Importance, fanova
from lstm_lab.report.runs import ENDED_STATUSES, StudyRuns, scores_of
from lstm_lab.report.trials import ended_trials
from lstm_lab.statistics.estimates import mean_interval
from lstm_lab.statistics.hypotheses import equivalence_test, superiority_test


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim and its verdict, as text for a table.

    Attributes:
      claim: the claim in words.
      evidence: the estimate and the p-value, or why there is none.
      verdict: "holds", "fails" or "inconclusive".
    """

    claim: str
    evidence: str
    verdict: str


def judge_claim(
    claim: Mapping[str, Any],
    runs: StudyRuns,
    scores: Mapping[str, list[float]],
    importances: Mapping[str, Importance],
) -> ClaimVerdict:
    """Judges one claim.

    Args:
      claim: its fields in study.json; `kind` names the kind of claim.
      runs: the study.
      scores: test scores of each variant's compared runs.
      importances: from `hyperparameter_importances`.

    Returns:
      The verdict; inconclusive if there are too few runs, while runs are missing that may change
      it, and for a claim on means if a run has no score: the mean of the others is another one.

    Raises:
      ValueError: for an unknown kind.
    """
    match claim["kind"]:
        case "better":
            return _judge_better(claim, runs, scores)
        case "equivalent":
            return _judge_equivalent(claim, runs, scores)
        case "best":
            return _judge_best(claim, runs, scores)
        case "matters":
            return _judge_share(claim, runs, importances)
        case "scores":
            return _judge_bounds(claim, runs)
        case "reproduces":
            return _judge_mean(claim, runs)
        case other:
            kinds = "better, equivalent, best, matters, scores, reproduces"
            raise ValueError(f"claims: got kind {other!r}, expected one of {kinds}")


def _judge_better(
    claim: Mapping[str, Any], runs: StudyRuns, scores: Mapping[str, list[float]]
) -> ClaimVerdict:
    # No correction for several claims: each was planned, and its level is part of the study.
    text = f"{claim['better']} is better than {claim['worse']}"
    if lacking := _without_scores(runs, claim["better"], claim["worse"]):
        return ClaimVerdict(text, lacking, "inconclusive")
    sign = runs.test_sign
    better, worse = scores[claim["better"]], scores[claim["worse"]]
    result = superiority_test([sign * v for v in better], [sign * v for v in worse], claim["alpha"])
    evidence = _difference(_mean(better) - _mean(worse), result.p)
    return ClaimVerdict(text, evidence, result.verdict)


def _judge_equivalent(
    claim: Mapping[str, Any], runs: StudyRuns, scores: Mapping[str, list[float]]
) -> ClaimVerdict:
    text = f"{claim['a']} and {claim['b']} differ by less than {claim['margin']}"
    if lacking := _without_scores(runs, claim["a"], claim["b"]):
        return ClaimVerdict(text, lacking, "inconclusive")
    # No sign: the margin is symmetric, so it does not matter which direction is better.
    a, b = scores[claim["a"]], scores[claim["b"]]
    result = equivalence_test(a, b, claim["margin"], claim["alpha"])
    return ClaimVerdict(text, _difference(_mean(a) - _mean(b), result.p), result.verdict)


def _without_scores(runs: StudyRuns, *variants: str) -> str:
    """Returns which of the variants have runs without a score; empty if none has.

    A test over the runs that did not crash would favor a variant whose bad runs crash, and one over
    the first runs of an unfinished study is an early look that its level does not allow.
    """
    parts = []
    for name in variants:
        if counts := runs.unscored(name):
            n = len(scores_of(runs.compared_runs(name)))
            parts.append(f"{name}: {_plural(n, 'run')}, {_in_words(counts)}")
    return "; ".join(parts)


def _missing(unscored: Mapping[str, int]) -> dict[str, int]:
    """Returns the part of these runs that may still get a score."""
    return {status: n for status, n in unscored.items() if status not in ENDED_STATUSES}


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    return sum((Counter(of_variant) for of_variant in counts), Counter())


def _listed(text: str, counts: Mapping[str, int]) -> str:
    return ", ".join(filter(None, (text, _in_words(counts))))


def _in_words(counts: Mapping[str, int]) -> str:
    # A run can complete without a test score, such as one whose AUC lacks a class.
    named = {"completed": "without a score"}
    return ", ".join(f"{n} {named.get(status, status)}" for status, n in counts.items())


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"


def _difference(difference: float, p: float) -> str:
    if not math.isfinite(p):
        return "too few runs"
    return f"difference of means {difference:+.4f}, p {'< 0.0001' if p < 1e-4 else f'= {p:.4f}'}"


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _judge_best(
    claim: Mapping[str, Any], runs: StudyRuns, scores: Mapping[str, list[float]]
) -> ClaimVerdict:
    """Holds if the best single run is within the tolerance of a published score.

    The best run, not the best mean: the papers report their best trial. A score that is better by
    more than the tolerance fails as well: it points to a difference in data or protocol.
    """
    sign, published, tolerance = runs.test_sign, claim["published"], claim["tolerance"]
    text = f"the best score is {published} ± {tolerance} ({claim['source']})"
    candidates = [(sign * value, name) for name, values in scores.items() for value in values]
    missing = _missing(_total(runs.unscored(name) for name in runs.study["variants"]))
    if not candidates:
        return ClaimVerdict(text, _listed("no run", missing), "inconclusive")
    best, name = max(candidates)
    evidence = _listed(f"{sign * best:.4f}, {name}", missing)
    # More final runs only make the best one better. More trials change which ones are compared.
    decided = runs.study["seeds"] and best > sign * published + tolerance
    if missing and not decided:
        return ClaimVerdict(text, evidence, "inconclusive")
    near = abs(sign * best - published) <= tolerance
    return ClaimVerdict(text, evidence, "holds" if near else "fails")


def _judge_bounds(claim: Mapping[str, Any], runs: StudyRuns) -> ClaimVerdict:
    """Holds if every planned run is within the bounds, fails if none is.

    A diverged run counts as outside: a claim cannot hold because the bad runs crashed. One that
    has not ended, or that failed and may be tried again, can still be within.
    """
    low, high, metric = claim["at_least"], claim["at_most"], claim["metric"]
    bounds = [f"{low} or more"] * (low is not None) + [f"{high} or less"] * (high is not None)
    text = f"{claim['variant']}: test {metric} {' and '.join(bounds)}"
    text += f" ({claim['source']})" if claim["source"] else ""
    values, lacking = _test_values(runs, claim["variant"], metric)
    missing = _missing(lacking)
    if not values:
        return ClaimVerdict(text, _listed("no run", missing), "inconclusive")
    within = sum((low is None or v >= low) and (high is None or v <= high) for v in values)
    ended = len(values) + sum(lacking.values()) - sum(missing.values())
    evidence = _listed(f"{within} of {ended} runs", missing)
    evidence += f", {min(values):.4f} to {max(values):.4f}"
    # With a run within and one outside, the missing ones change nothing either: inconclusive.
    if missing or 0 < within < ended:
        return ClaimVerdict(text, evidence, "inconclusive")
    return ClaimVerdict(text, evidence, "holds" if within else "fails")


def _judge_mean(claim: Mapping[str, Any], runs: StudyRuns) -> ClaimVerdict:
    """Holds if the interval of the mean lies within the tolerance of a published score.

    An interval at 1 - 2 alpha is the same as two one-sided tests at alpha (TOST). The claim fails
    if the interval lies outside. If it contains a border, more seeds are needed.
    """
    metric, published, tolerance = claim["metric"], claim["published"], claim["tolerance"]
    text = f"{claim['variant']}: mean test {metric} {published} ± {tolerance} ({claim['source']})"
    values, lacking = _test_values(runs, claim["variant"], metric)
    # A mean over the runs that did not crash is not the mean that the study planned.
    if lacking or len(values) < 2:
        evidence = f"{_plural(len(values), 'run')}, {_in_words(lacking) or 'too few'}"
        return ClaimVerdict(text, evidence, "inconclusive")
    mean, low, high = mean_interval(values, confidence=1.0 - 2.0 * claim["alpha"])
    evidence = f"{mean:.4f} ({low:.4f} to {high:.4f}, n = {len(values)})"
    if published - tolerance <= low and high <= published + tolerance:
        return ClaimVerdict(text, evidence, "holds")
    outside = high < published - tolerance or low > published + tolerance
    return ClaimVerdict(text, evidence, "fails" if outside else "inconclusive")


def _test_values(runs: StudyRuns, variant: str, metric: str) -> tuple[list[float], dict[str, int]]:
    """Returns a metric of the compared runs, and how many have none, by status."""
    # A diverged run may have test metrics of its best weights; it counts as one without a score.
    scored = [run for run in runs.compared_runs(variant) if run.scored]
    values = [run.test_metrics[metric] for run in scored if metric in run.test_metrics]
    lacking = Counter(runs.unscored(variant))
    lacking["completed"] += len(scored) - len(values)
    return values, {status: n for status, n in lacking.items() if n}


def _judge_share(
    claim: Mapping[str, Any], runs: StudyRuns, importances: Mapping[str, Importance]
) -> ClaimVerdict:
    """Holds if the interval of a main effect over the variants is within the bounds.

    The interval and not the mean: shares differ between variants, and there are few variants.
    """
    low, high = claim["at_least"], claim["at_most"]
    bounds = f"{low:.0%} to {high:.0%}" if low else f"at most {high:.0%}"
    text = f"{claim['setting']} explains {bounds} of the variance"
    setting = claim["setting"]
    if open_trials := _total(runs.open_trials(name) for name in runs.study["variants"]):
        return ClaimVerdict(text, f"trials: {_in_words(open_trials)}", "inconclusive")
    # Studies are checked when they are declared, but a folder may be older than this check.
    missing = [name for name, i in importances.items() if setting not in i.main_effects]
    if missing:
        reason = f"no share for {', '.join(missing)}: not every trial varies {setting}"
        return ClaimVerdict(text, reason, "inconclusive")
    interval = mean_interval([i.main_effects[setting] for i in importances.values()])
    if not np.isfinite(interval.low):
        return ClaimVerdict(text, "too few variants", "inconclusive")
    # Student's interval does not know that a share is never below 0 or above 1.
    lowest, highest = max(interval.low, 0.0), min(interval.high, 1.0)
    shares = f"{interval.estimate:.1%} ({lowest:.1%} to {highest:.1%} over variants)"
    if low <= lowest and highest <= high:
        return ClaimVerdict(text, shares, "holds")
    outside = highest < low or lowest > high
    return ClaimVerdict(text, shares, "fails" if outside else "inconclusive")


def hyperparameter_importances(runs: StudyRuns) -> dict[str, Importance]:
    """Computes fANOVA for each variant with at least ten scored random trials.

    `ended_trials` says which score a trial has that diverged or was pruned.

    Args:
      runs: the study.

    Returns:
      The importances by variant, without variants whose scores are all equal or whose trials share
      no setting; empty for a study without random search.
    """
    ranges: dict[str, Any] = (runs.study["tuning"] or {}).get("ranges") or {}
    importances: dict[str, Importance] = {}
    # By variant: the effect of a learning rate may differ between cells.
    for variant in runs.study["variants"] if ranges else ():
        trials = ended_trials(runs, variant)
        ended = [run for run, _ in trials]
        if len(scores_of(ended)) < MIN_TRIALS:
            continue
        # A conditional hyperparameter, which only some trials have, has no marginal, and a range of
        # one value no effect.
        paths = [
            path
            for path, distribution in ranges.items()
            if all(path in run.point for run in ended) and not _is_constant(distribution)
        ]
        points = [[to_unit(ranges[path], run.point[path]) for path in paths] for run in ended]
        scores = [score for _, score in trials]
        # Equal scores have no variance whose shares could be computed, and the trials of no setting
        # no shares.
        if not paths or min(scores) == max(scores):
            continue
        importances[variant] = fanova(np.array(points), np.array(scores), paths)
    return importances


def _is_constant(distribution: Mapping[str, Any]) -> bool:
    return distribution["kind"] != "Choice" and distribution["low"] == distribution["high"]


def to_unit(distribution: Mapping[str, Any], value: Any) -> float:
    """Maps a value to [0, 1] by its distribution, so that the search draws it uniformly there.

    A value of a Choice becomes the center of one of equal cells.

    Args:
      distribution: the range as study.json describes it; `kind` is Uniform, LogUniform or Choice.
      value: a draw.

    Example:
      to_unit({"kind": "Uniform", "low": 0.0, "high": 2.0}, 0.5)  # 0.25
    """
    match distribution["kind"]:
        case "Uniform":
            width = distribution["high"] - distribution["low"]
            return float((value - distribution["low"]) / width)
        case "LogUniform":
            # `one_minus` draws 1 - value log-uniformly, as usual for a momentum.
            size = 1.0 - value if distribution["one_minus"] else value
            low, high = distribution["low"], distribution["high"]
            return math.log(size / low) / math.log(high / low)
        case _:
            values = distribution["values"]
            # The center: a tree splits halfway between two neighboring values, which is the border
            # of their cells, so each value gets a volume equal to its probability.
            return (values.index(value) + 0.5) / len(values)

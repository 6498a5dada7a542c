"""What a study claimed beforehand, judged: holds, fails or inconclusive."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstm_lab.report.fanova import Importance, fanova
from lstm_lab.report.hypotheses import judge_claim, judge_equivalence
from lstm_lab.report.runs import StudyRuns
from lstm_lab.report.stats import mean_interval


@dataclass(frozen=True)
class Judged:
    """A claim in words, the evidence, and the verdict."""

    claim: str
    evidence: str
    verdict: str


def judge(
    claim: dict[str, Any],
    runs: StudyRuns,
    scores: dict[str, list[float]],
    importances: dict[str, Importance],
) -> Judged:
    """Judges one claim.

    Args:
      claim: as study.json has it, with its kind.
      runs: the study.
      scores: test scores of each variant's runs that are compared.
      importances: of each variant, as `importances` gives them.
    """
    sign = 1.0 if runs.study["direction"] == "max" else -1.0
    match claim["kind"]:
        case "better":
            better, worse = ([sign * v for v in scores[claim[k]]] for k in ("better", "worse"))
            result = judge_claim(better, worse, claim["alpha"])
            text = f"{claim['better']} is better than {claim['worse']}"
            difference = _mean(scores[claim["better"]]) - _mean(scores[claim["worse"]])
        case "equivalent":
            a, b = scores[claim["a"]], scores[claim["b"]]
            result = judge_equivalence(a, b, claim["margin"], claim["alpha"])
            text = f"{claim['a']} and {claim['b']} differ by less than {claim['margin']}"
            difference = _mean(a) - _mean(b)
        case "best":
            return _judge_best(claim, scores, sign)
        case "matters":
            return _judge_share(claim, importances)
        case "scores":
            return _judge_scores(claim, runs)
        case other:
            raise ValueError(f"claims: found kind {other!r}")
    p = "< 0.0001" if result.p < 1e-4 else f"= {result.p:.4f}"
    evidence = f"difference of means {difference:+.4f}, p {p}"
    return Judged(text, evidence if math.isfinite(result.p) else "too few runs", result.verdict)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _judge_best(claim: dict[str, Any], scores: dict[str, list[float]], sign: float) -> Judged:
    published, tolerance = claim["published"], claim["tolerance"]
    text = f"the best score is {published} ± {tolerance} ({claim['source']})"
    found = [(sign * value, name) for name, values in scores.items() for value in values]
    if not found:
        return Judged(text, "no run", "inconclusive")
    best, name = max(found)
    near = abs(sign * best - published) <= tolerance
    return Judged(text, f"{sign * best:.4f}, {name}", "holds" if near else "fails")


def _judge_scores(claim: dict[str, Any], runs: StudyRuns) -> Judged:
    """Holds where every run that was planned is within the bounds, fails where none is."""
    low, high = claim["at_least"], claim["at_most"]
    bounds = [f"{low} or more"] * (low is not None) + [f"{high} or less"] * (high is not None)
    text = f"{claim['variant']}: test {claim['metric']} {' and '.join(bounds)}"
    text += f" ({claim['source']})" if claim["source"] else ""
    compared = runs.compared(claim["variant"])
    known = [run.tests[claim["metric"]] for run in compared if claim["metric"] in run.tests]
    if not known:
        return Judged(text, "no run", "inconclusive")
    within = sum((low is None or v >= low) and (high is None or v <= high) for v in known)
    planned = max(len(compared), len(runs.study["seeds"]))
    evidence = f"{within} of {planned} runs, {min(known):.4f} to {max(known):.4f}"
    verdict = "holds" if within == planned else "inconclusive" if within else "fails"
    return Judged(text, evidence, verdict)


def _judge_share(claim: dict[str, Any], importances: dict[str, Importance]) -> Judged:
    low, high = claim["at_least"], claim["at_most"]
    bounds = f"{low:.0%} to {high:.0%}" if low else f"at most {high:.0%}"
    text = f"{claim['setting']} explains {bounds} of the variance"
    shares = [found.single[claim["setting"]] for found in importances.values()]
    interval = mean_interval(shares)
    if not np.isfinite(interval.low):
        return Judged(text, "too few variants", "inconclusive")
    evidence = f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%} over variants)"
    if low <= interval.low and interval.high <= high:
        return Judged(text, evidence, "holds")
    outside = interval.high < low or interval.low > high
    return Judged(text, evidence, "fails" if outside else "inconclusive")


def importances(runs: StudyRuns) -> dict[str, Importance]:
    """Computes, for each variant with ten random trials or more, what its settings matter.

    A trial that diverged counts as the worst that did not, and one that was pruned with its score:
    leaving them out would hide what the learning rate does.
    """
    ranges: dict[str, Any] = (runs.study["tuning"] or {}).get("ranges") or {}
    found: dict[str, Importance] = {}
    for variant in runs.study["variants"] if ranges else ():
        trials = [run for run in runs.runs if run.variant == variant and run.stage == "tuning"]
        ended = [run for run in trials if run.scored or run.status in ("diverged", "pruned")]
        known = [run.test for run in ended if run.scored and run.test is not None]
        if len(known) < 10:
            continue
        worst = min(known) if runs.study["direction"] == "max" else max(known)
        # A setting that only some trials have, since it is conditional, has no marginal.
        paths = [path for path in ranges if all(path in run.point for run in ended)]
        points = [[_unit(ranges[path], run.point[path]) for path in paths] for run in ended]
        scores = [
            worst if run.status == "diverged" or run.test is None else run.test for run in ended
        ]
        found[variant] = fanova(np.array(points), np.array(scores), paths)
    return found


def _unit(drawn: dict[str, Any], value: Any) -> float:
    """Returns the share of draws below a value: uniform on [0, 1]."""
    match drawn["kind"]:
        case "Uniform":
            return float((value - drawn["low"]) / (drawn["high"] - drawn["low"]))
        case "LogUniform":
            size = 1.0 - value if drawn["one_minus"] else value
            return math.log(size / drawn["low"]) / math.log(drawn["high"] / drawn["low"])
        case _:
            return (drawn["values"].index(value) + 0.5) / len(drawn["values"])

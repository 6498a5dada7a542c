"""What an analysis found, in words and as a table.

In: results of `analyses.py`. Out: for each one a sentence for the summary, and rows of text.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from lstm_lab.explain.analyses import (
    ConstantInput,
    FixedPoints,
    GradientByLag,
    LyapunovSpectrum,
    Signals,
)
from lstm_lab.explain.fixed_points import SETTLING_STEPS, FixedPoint, line_share
from lstm_lab.explain.gradient import reach
from lstm_lab.explain.lesions import Lesions
from lstm_lab.explain.lyapunov import LOWEST
from lstm_lab.explain.rtrl import LearningRules
from lstm_lab.report.render.formats import p_value
from lstm_lab.report.render.tables import TextTable

# Beyond this, rounding decides.
LONGEST_TIME = 10_000
# Points of one input in a table; a line attractor has one for each start.
MOST_POINTS = 6
# More points than this may be those of a line.
FEW_POINTS = 7
SIGNIFICANT = 0.05
GRADIENT_SHARE = 0.01


def fixed_points_found(result: FixedPoints) -> str:
    """Returns how many points of which kind there are under each input, and the cycles."""
    return " ".join(_under(of_input, result.spread) for of_input in result.inputs)


def fixed_points_in_short(result: FixedPoints) -> str:
    """Returns the points and cycles under each input, without their times."""
    return " ".join(f"{_kinds(of_input)}." for of_input in result.inputs)


def _under(of_input: ConstantInput, spread: float) -> str:
    text = _kinds(of_input)
    far = sum(distance > 1.0 for distance in of_input.distances)
    if far:
        text += f" ({far} of the points outside of the visited states)"
    if fixed := [point.slowest for point in of_input.points if point.kind != "slow"]:
        text += f"; slowest time constant {_time(max(fixed))}"
    if slow := [_crossing(point, spread) for point in of_input.points if point.kind == "slow"]:
        text += f"; the slowest point moves by the spread of the states in {_time(max(slow))}"
    if len(of_input.points) > FEW_POINTS:
        share = line_share(of_input.points)
        text += f"; the points have {share:.0%} of their variance along one line"
    settled = sum(attractor.share for attractor in of_input.attractors)
    if settled < 1.0 - 1e-9:
        text += f"; {1.0 - settled:.0%} of the starts do not settle in {SETTLING_STEPS:,} steps"
    return f"{text}."


def _kinds(of_input: ConstantInput) -> str:
    kinds: Counter[str] = Counter(point.kind for point in of_input.points)
    words = {"stable": "stable fixed point", "saddle": "saddle", "slow": "slow point"}
    parts = [_count(kinds[kind], word) for kind, word in words.items() if kinds[kind]]
    cycles = Counter(a.period for a in of_input.attractors if a.period > 1)
    parts += [_count(n, f"stable cycle of {p} steps", "cycles") for p, n in cycles.items()]
    return f"Under {of_input.name}: {', '.join(parts) or 'no fixed or slow point found'}"


def _crossing(point: FixedPoint, spread: float) -> float:
    """Returns the steps in which a slow point would move by the spread of the visited states."""
    return float(spread / np.sqrt(2.0 * point.q))


def _count(number: int, word: str, plural: str = "") -> str:
    if number == 1:
        return f"1 {word}"
    return f"{number} {word.replace('cycle', plural) if plural else word + 's'}"


def _time(steps: float) -> str:
    return f"over {LONGEST_TIME:,} steps" if steps > LONGEST_TIME else f"{steps:.3g} steps"


def fixed_points_table(result: FixedPoints) -> TextTable:
    """Returns one row per point and cycle, with the most frequent points of each input first."""
    header = ["input", "kind", "q", "starts", "distance", "growing", "largest |l|"]
    rows = [[*header, "time"]]
    for of_input in result.inputs:
        shown = list(zip(of_input.points, of_input.distances, strict=True))[:MOST_POINTS]
        for point, distance in shown:
            cells = [f"{point.q:.1e}", f"{point.share:.0%}", f"{distance:.2f}", str(point.unstable)]
            largest = f"{np.abs(point.eigenvalues[0]):.4f}"
            slow = point.kind == "slow"
            time = _crossing(point, result.spread) if slow else point.slowest
            rows.append([of_input.name, point.kind, *cells, largest, _time(time)])
        hidden = len(of_input.points) - MOST_POINTS
        if hidden > 0:
            rows.append([of_input.name, f"{hidden} more points", *[""] * 6])
        for attractor in of_input.attractors:
            if attractor.period > 1:
                kind = f"cycle of {attractor.period}"
                rows.append([of_input.name, kind, "", f"{attractor.share:.0%}", *[""] * 4])
    return rows


FIXED_POINTS_NOTE = (
    "q = 0.5 |F(s, x) - s|². Starts: share of the visited states from which the search ended there "
    "or, for a cycle, from which the network ends in it; a point without starts was found from a "
    "state in which the network comes to rest. Distance: to the nearest visited state, in spreads "
    "of the visited states. Growing: number of directions in which the state leaves the point. "
    "Slow: no fixed point is near, but the state needs more than 100 steps to move by the spread. "
    "Time: of a fixed point |1 / log |l|| of the eigenvalue l nearest to the circle; of a slow "
    "point the steps in which the state would move by the spread, because a minimum of q that is "
    "no fixed point has an eigenvalue of 1 whatever the network. The search is not complete: it "
    "finds what its starts lead to."
)


def lyapunov_found(result: LyapunovSpectrum) -> str:
    """Returns the largest exponent and what it means."""
    largest_B = result.exponents_BE[:, 0]
    mean, positive = float(largest_B.mean()), int((result.exponents_BE.mean(0) > 0.0).sum())
    text = f"The largest Lyapunov exponent is {mean:.3g} per step"
    if positive:
        direction = "1 direction" if positive == 1 else f"{positive} directions"
        return f"{text}: small differences of the state grow in {direction}."
    if mean == 0.0:
        return f"{text}: small differences of the state neither grow nor shrink."
    return f"{text}: small differences of the state shrink by a factor e within {_time(-1 / mean)}."


def lyapunov_table(result: LyapunovSpectrum) -> TextTable:
    """Returns the first exponents and the last one."""
    exponents_BE = result.exponents_BE
    E = exponents_BE.shape[1]
    chosen = list(dict.fromkeys([*range(min(5, E)), E - 1]))
    rows = [["exponent", "mean", "lowest sequence", "highest sequence", "time constant"]]
    for k in chosen:
        mean = float(exponents_BE[:, k].mean())
        values = [mean, float(exponents_BE[:, k].min()), float(exponents_BE[:, k].max())]
        shown = [f"{v:.4f}" if v > LOWEST else f"below {LOWEST:.0f}" for v in values]
        rows.append([f"{k + 1} of {result.states}", *shown, _time(abs(1 / mean)) if mean else ""])
    return rows


def lyapunov_note(result: LyapunovSpectrum) -> str:
    """Returns what the exponents were measured on."""
    return (
        f"{len(result.exponents_BE)} validation sequences, {result.steps:.0f} counted steps each. "
        "Exponents of so short sequences are averages over these steps, not limits; the inputs are "
        "those of the data."
    )


def gradient_found(result: GradientByLag) -> str:
    """Returns after which lag little of the gradient is left."""
    lag = reach(result.inputs_T, GRADIENT_SHARE)
    if lag is None:
        # Windows are padded to the longest sequence, and no sequence measures the lags beyond.
        longest = int(np.flatnonzero(~np.isnan(result.inputs_T))[-1])
        return f"The gradient reaches back over all {longest} steps: more than 1 % of it is left."
    return f"Less than 1 % of the gradient against the input is left from {lag} steps back on."


def gradient_table(result: GradientByLag) -> TextTable:
    """Returns the norms at some lags, as shares of the largest."""
    T = len(result.inputs_T)
    lags = [lag for lag in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if lag < T]
    curves = [norm_T / np.nanmax(norm_T) for norm_T in (result.inputs_T, result.states_T)]
    rows = [["lag", "against the input", "against the state"]]
    for lag in lags:
        values = [curve[lag] if lag < len(curve) else np.nan for curve in curves]
        rows.append([str(lag), *("" if np.isnan(v) else f"{v:.2e}" for v in values)])
    return rows


GRADIENT_NOTE = (
    "Mean norm of the gradient of the last logits that have a target, in a random direction, as a "
    "share of its largest value over lags."
)


def lesions_found(result: Lesions) -> str:
    """Returns which gates cost most and least when they are fixed to their mean."""
    loss = next(iter(result.intact))
    fixed = [lesion for lesion in result.lesions if lesion.value == "mean"]
    ranked = sorted(fixed, key=lambda lesion: -lesion.metrics[loss])
    intact = f"{result.intact[loss]:.3g}"
    shown = ranked if len(ranked) <= 2 else [ranked[0], ranked[-1]]
    costs = [f"{_gate(lesion.layer, lesion.gate)} {lesion.metrics[loss]:.3g}" for lesion in shown]
    return (
        f"With a gate fixed to its mean, validation {loss} changes from {intact} to: "
        f"{', '.join(costs)}{' (most and least costly)' if len(ranked) > 2 else ''}."
    )


def _gate(layer: str, gate: str) -> str:
    return f"{gate} of {layer.replace('_', ' ')}"


def lesions_table(result: Lesions) -> TextTable:
    """Returns the metrics with each gate fixed."""
    names = list(result.intact)
    rows = [["gate", "fixed to", *names]]
    rows.append(["intact", "", *(f"{result.intact[name]:.4f}" for name in names)])
    for lesion in result.lesions:
        values = [f"{lesion.metrics[name]:.4f}" for name in names]
        rows.append([_gate(lesion.layer, lesion.gate), lesion.value, *values])
    rows += [
        [gate, f"not possible: {why}", *[""] * len(names)] for gate, why in result.refused.items()
    ]
    return rows


LESIONS_NOTE = (
    "Validation metrics on the sequences of the analysis. The model is not trained again, so a "
    "cost is not that of a model without the gate. Fixed to its mean: each unit to its own mean."
)


def signals_found(result: Signals) -> str:
    """Returns the units that follow signals most clearly."""
    significant = [match for match in result.matches if match.p < SIGNIFICANT]
    if not significant:
        return "No unit follows a known signal more closely than shuffled sequences do."
    clearest = sorted(significant, key=lambda match: -abs(match.r_S[match.best]))[:3]
    parts = [
        f"{result.places[match.best]} follows '{match.signal}' (r = {match.r_S[match.best]:.2f}, "
        f"p = {p_value(match.p)})"
        for match in clearest
    ]
    return f"Unit {'; unit '.join(parts)}."


def signals_table(result: Signals) -> TextTable:
    """Returns the best unit for each signal."""
    rows = [["signal", "best unit", "r", "95 % of shuffled", "p", "R² of all units"]]
    for match in result.matches:
        threshold = "" if np.isnan(match.threshold) else f"{match.threshold:.3f}"
        values = [f"{match.r_S[match.best]:.3f}", threshold, p_value(match.p)]
        direction = "" if np.isnan(match.direction) else f"{match.direction:.3f}"
        rows.append([match.signal, str(result.places[match.best]), *values, direction])
    return rows


def signals_note(result: Signals) -> str:
    """Returns how the test was done."""
    return (
        f"Over {result.sequences} validation sequences. r: correlation of deviations from the mean "
        "over sequences at the same step, so that a common trend does not count; for targets, at "
        "the same number of the target, since other steps have none. p: permutations "
        "that give each sequence the signals of another one, maximum over all units, not corrected "
        "for the number of signals. A signal that all sequences share has the correlation of the "
        "values, and no test. R²: a linear map from all units, on sequences that it was not fitted "
        "on. A correlation does not show what a unit is for; lesions do."
    )


def learning_rules_found(result: LearningRules) -> str:
    """Returns whether the rules agree."""
    text = f"RTRL gives the gradient of BPTT up to {result.difference:.1e} of its largest number"
    if not result.cosines:
        return f"{text}."
    return f"{text}; e-prop's gradient has a cosine of {result.cosines['all']:.2f} with it."


def learning_rules_table(result: LearningRules) -> TextTable:
    """Returns cosines by group of weights, and what each rule costs."""
    stored = result.states * result.weights
    rows = [["", "value"]]
    rows.append(["largest difference of RTRL and BPTT, relative", f"{result.difference:.2e}"])
    rows.append(["numbers that RTRL carries for a sequence", f"{stored:,}"])
    kept = result.steps * result.states
    rows.append([f"states that BPTT keeps for {result.steps} steps", f"{kept:,}"])
    rows.append(["time of a gradient by RTRL", f"{1e3 * result.rtrl_s:.3g} ms"])
    rows.append(["time of a gradient by BPTT", f"{1e3 * result.bptt_s:.3g} ms"])
    for name, cosine in result.cosines.items():
        ratio = result.norms[name]
        text = "no gradient" if np.isnan(cosine) else f"{cosine:.3f}, norm {ratio:.2f} of BPTT's"
        rows.append([f"e-prop, {name}: cosine", text])
    return rows


LEARNING_RULES_NOTE = (
    "At the trained weights, on a few validation sequences. Times are of one call on this "
    "machine. At a good minimum the gradient is small and noisy, so its cosine says less than "
    "during training."
)

"""The figures of an explanation, one for each analysis.

In: results of `analyses.py`. Out: `ReportFigure`. They are narrow, as those of a bench, so that
their text stays legible on the screen of a phone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lab.explain.analyses import (
    ConstantInput,
    FixedPoints,
    GradientByLag,
    LyapunovSpectrum,
    Signals,
)
from lstm_lab.explain.lesions import Lesions
from lstm_lab.explain.rtrl import LearningRules
from lstm_lab.report.render.figures.style import (
    ACCENT,
    COLORS,
    INK,
    MUTED,
    ReportFigure,
    apply_style,
    logarithmic_x,
    name_label,
    new_axes,
)

WIDTH = 5.2  # inches; a screen of 390 pixels shows text of 9 points at about its size
MARKERS = {"stable": "o", "saddle": "D", "slow": "x"}
LESION_MARKERS = {"mean": "o", "0": "v", "1": "^"}


def draw_fixed_points(result: FixedPoints) -> ReportFigure:
    """Draws the points in the plane of the visited states, and their eigenvalues.

    Args:
      result: the fixed points.
    """
    figure = Figure(figsize=(WIDTH, 8.0), layout="constrained")
    above, below = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1.0, 1.0]})
    above.plot(*result.visited_N2.T, ".", color=MUTED, ms=2, alpha=0.35, label="visited states")
    for number, of_input in enumerate(result.inputs):
        color = COLORS[number % len(COLORS)]
        _points(above, result, of_input, color)
        _eigenvalues(below, of_input, color)
    above.set_xlabel("first principal component of the visited states")
    above.set_ylabel("second principal component")
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    below.plot(np.cos(angle), np.sin(angle), color=INK, lw=1.0)
    below.set_aspect("equal")
    below.set_xlabel("eigenvalues of the Jacobian, real part")
    below.set_ylabel("imaginary part")
    for axes in (above, below):
        apply_style(axes)
    _legend(figure, above)
    return ReportFigure(
        "fixed_points",
        "Where the state stays",
        "Above: fixed points under a constant input (circle: stable, diamond: saddle, cross: "
        "slow), and cycles as lines with squares, among the states of the validation data. Below: "
        "eigenvalues at these points; inside of the circle a direction shrinks, outside it grows, "
        "and close to the circle it does so slowly.",
        figure,
    )


def _points(axes: Axes, result: FixedPoints, of_input: ConstantInput, color: str) -> None:
    """Draws the points and cycles under one input."""
    for point in of_input.points:
        x, y = result.plane.project(point.s_S[None])[0]
        marker = MARKERS[point.kind]
        filled = color if point.kind == "stable" else "none"
        style: dict[str, Any] = {"color": color, "mfc": filled, "ls": "none", "ms": 6, "mew": 1.4}
        axes.plot(x, y, marker, label=f"{of_input.name}, {point.kind}", **style)
    for attractor in of_input.attractors:
        if attractor.period > 1:
            cycle = result.plane.project(attractor.states[[*range(attractor.period), 0]])
            label = f"{of_input.name}, cycle of {attractor.period}"
            axes.plot(*cycle.T, "-s", color=color, ms=5, lw=1.2, label=label)


def _eigenvalues(axes: Axes, of_input: ConstantInput, color: str) -> None:
    for point in of_input.points:
        values, marker = point.eigenvalues, MARKERS[point.kind]
        filled = color if point.kind == "stable" else "none"
        axes.plot(values.real, values.imag, marker, color=color, mfc=filled, ms=3.5, mew=0.9)


_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8, "labelcolor": INK}


def _legend(figure: Figure, axes: Axes) -> None:
    """Adds a legend above the axes, with each label once."""
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(zip(map(name_label, labels), handles, strict=True))
    figure.legend(
        list(by_label.values()), list(by_label), loc="outside upper left", ncols=2, **_LEGEND
    )


def draw_lyapunov(result: LyapunovSpectrum) -> ReportFigure:
    """Draws the mean spectrum over sequences, with its range.

    Args:
      result: the exponents.
    """
    figure, axes = new_axes(width=WIDTH)
    exponents_BE = result.exponents_BE
    index = np.arange(1, exponents_BE.shape[1] + 1)
    axes.fill_between(
        index, exponents_BE.min(0), exponents_BE.max(0), color=COLORS[0], alpha=0.2, lw=0
    )
    axes.plot(index, exponents_BE.mean(0), "-o", color=COLORS[0], ms=3, lw=1.4)
    axes.axhline(0.0, color=INK, lw=1.0)
    axes.set_xlabel("number of the exponent")
    axes.set_ylabel("exponent per step")
    return ReportFigure(
        "lyapunov",
        "Growth of small differences",
        "Lyapunov exponents along validation sequences, their mean and range. Below the line at 0, "
        "differences of the state shrink: by a factor e within -1 / exponent steps.",
        figure,
    )


def draw_gradient(result: GradientByLag) -> ReportFigure:
    """Draws the gradient's norm by lag.

    Args:
      result: the norms.
    """
    figure, axes = new_axes(width=WIDTH)
    curves = (("against the input", result.inputs_T), ("against the state", result.states_T))
    for number, (label, norm_T) in enumerate(curves):
        # A logarithmic axis has no place for zeros, as of a gradient that underflowed.
        shown = np.where(norm_T > 0.0, norm_T, np.nan)
        axes.plot(shown, color=COLORS[number], ls=("-", "--")[number], lw=1.6, label=label)
    axes.set_yscale("log")
    # Minor ticks have labels of their own if the axis spans less than a decade.
    axes.tick_params(which="both", color=MUTED, labelcolor=INK, labelsize=8)
    axes.set_xlabel("lag in steps before the last output")
    axes.set_ylabel("mean norm of the gradient")
    axes.legend(**_LEGEND)
    return ReportFigure(
        "gradient",
        "How far back the output looks",
        "Norm of the gradient of the last logits that have a target, against the input, or the "
        "state, so many steps before. A straight line down is exponential forgetting; a flat line "
        "keeps everything.",
        figure,
    )


def draw_lesions(result: Lesions) -> ReportFigure:
    """Draws the loss with each gate fixed.

    Args:
      result: the lesions.
    """
    rows = list(dict.fromkeys((lesion.layer, lesion.gate) for lesion in result.lesions))
    loss = next(iter(result.intact))
    figure, axes = new_axes(height=0.36 * len(rows) + 1.4, width=WIDTH)
    axes.axvline(result.intact[loss], color=ACCENT, lw=1.4, label="intact")
    for lesion in result.lesions:
        # A small shift: equal losses would hide each other.
        place = list(LESION_MARKERS).index(lesion.value)
        y = rows.index((lesion.layer, lesion.gate)) + 0.18 * (place - 1)
        color = COLORS[place]
        label = "fixed to its mean" if lesion.value == "mean" else f"fixed to {lesion.value}"
        marker = LESION_MARKERS[lesion.value]
        axes.plot(lesion.metrics[loss], y, marker, color=color, ms=6, ls="none", label=label)
    if all(value > 0.0 for value in _losses(result, loss)):
        logarithmic_x(axes, np.array(_losses(result, loss)))
    axes.set_yticks(range(len(rows)), [name_label(f"{layer}  {gate}") for layer, gate in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{loss} on validation sequences")
    _legend(figure, axes)
    return ReportFigure(
        "lesions",
        "What a gate is worth",
        f"Validation {loss} with one gate of one layer fixed, everything else as trained. Far "
        "right of the line of the intact model: the model needs what this gate does. Fixed to "
        "its mean: each unit to its own.",
        figure,
    )


def _losses(result: Lesions, loss: str) -> list[float]:
    return [result.intact[loss], *(lesion.metrics[loss] for lesion in result.lesions)]


def draw_signals(result: Signals) -> ReportFigure:
    """Draws how strongly each unit follows each signal, with the threshold of the test.

    Args:
      result: the matches.
    """
    matches = result.matches
    figure, axes = new_axes(height=0.34 * len(matches) + 1.3, width=WIDTH)
    for row, match in enumerate(matches):
        strength = np.abs(match.r_S)
        axes.plot(strength, np.full(len(strength), row), "|", color=MUTED, ms=7, label="all units")
        significant = match.p < 0.05
        axes.plot(
            strength[match.best],
            row,
            "o",
            color=ACCENT,
            mfc=ACCENT if significant else "none",
            ms=6,
            label="best unit, p < 0.05" if significant else "best unit, not significant",
        )
        ends = [row - 0.35, row + 0.35]
        axes.plot([match.threshold] * 2, ends, color=INK, lw=1.6, label="95 % of shuffled")
    axes.set_yticks(range(len(matches)), [name_label(match.signal) for match in matches])
    axes.set_ylim(len(matches) - 0.4, -0.6)
    axes.set_xlim(0.0, 1.02)
    axes.set_xlabel("|correlation| over all steps of all sequences")
    _legend(figure, axes)
    return ReportFigure(
        "signals",
        "Units that follow a signal",
        "Correlation of each unit with a known signal. Right of the bar, the best unit follows it "
        "more closely than the best unit of 95 % of the permutations, which give each sequence "
        "the signals of another one.",
        figure,
    )


def draw_learning_rules(result: LearningRules) -> ReportFigure:
    """Draws the cosines of e-prop's gradient with the exact one.

    Args:
      result: the gradients.
    """
    names = list(result.cosines)
    figure, axes = new_axes(height=0.34 * len(names) + 1.1, width=WIDTH)
    values = np.nan_to_num([result.cosines[name] for name in names])
    axes.barh(names, values, height=0.6, color=COLORS[0])
    axes.axvline(0.0, color=INK, lw=1.0)
    axes.axvline(1.0, color=INK, lw=1.0)
    axes.set_xlim(min(0.0, float(values.min(initial=0.0)) - 0.05), 1.04)
    axes.invert_yaxis()
    axes.set_yticks(range(len(names)), [name_label(name) for name in names])
    axes.set_xlabel("cosine of e-prop's gradient with the exact gradient")
    return ReportFigure(
        "learning_rules",
        "What a local learning rule keeps",
        "Cosine of e-prop's gradient with that of BPTT, by group of weights. 1: the same "
        "direction; 0: no more than chance.",
        figure,
    )

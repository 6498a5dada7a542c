"""Pictures of a comparison, each a figure with words for those who cannot see it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from lstm_lab.report.comparison import ALPHA, Comparison, Row
from lstm_lab.report.fanova import GRID

INK, MUTED, ACCENT, GRID_LINE = "#1f2933", "#829ab1", "#c05621", "#e4e7eb"
# On a page these colours are its own, so that they follow its light or dark.
VARIABLES = {INK: "ink", MUTED: "muted", ACCENT: "accent", GRID_LINE: "line"}
SHOWN = 8  # variants drawn as curves
# Told apart by most eyes, and from the baseline's.
COLORS = (
    "#2b6cb0",
    "#2f855a",
    "#6b46c1",
    "#b7791f",
    "#0987a0",
    "#b83280",
    "#718096",
    "#553c9a",
    "#68a02b",
)


@dataclass(frozen=True)
class Picture:
    """A figure of a report.

    Attributes:
      name: of its files.
      title: a heading.
      alt: what it shows, in a sentence.
      figure: the figure.
    """

    name: str
    title: str
    alt: str
    figure: Figure


def pictures(comparison: Comparison) -> list[Picture]:
    """Draws what a comparison has enough runs for; the caller closes the figures."""
    drawn = []
    for draw in (_ranking, _curves, _best_of, _trials, _significance, _ranks, _marginals):
        found = draw(comparison)
        if found is not None:
            drawn.append(found)
    return drawn


def svg(figure: Figure, *, themed: bool = False) -> str:
    """Returns a figure as SVG; themed, with the page's colours and without a background."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lstm_lab"}):
        figure.savefig(file, format="svg", transparent=themed, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    if themed:
        for color, name in VARIABLES.items():
            text = text.replace(color, f"var(--{name})")
    return text


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, facecolor="white")
    return file.getvalue()


# ---- the pictures


def _ranking(c: Comparison) -> Picture | None:
    rows = [row for row in c.rows if row.scores][::-1]
    if not rows:
        return None
    figure, axes = _axes(height=max(2.4, 0.34 * len(rows) + 1.0))
    for y, row in enumerate(rows):
        color = ACCENT if row.variant == c.baseline else INK
        axes.plot(row.scores, [y - 0.25] * len(row.scores), "o", color=MUTED, ms=3, zorder=1)
        if np.isfinite(row.interval.low):
            axes.plot(row.interval[1:], [y, y], color=color, lw=2, zorder=2)
        axes.plot(row.interval.mean, y, "o", color=color, ms=6, zorder=3)
    _published(axes, c, [row.variant for row in rows])
    axes.set_yticks(range(len(rows)), [row.variant for row in rows])
    axes.set_xlabel(f"test {c.metric}: mean, 95 % interval, single runs")
    axes.grid(axis="x", color=GRID_LINE)
    if c.baseline is not None:
        axes.set_title(f"baseline {c.baseline}", color=ACCENT, fontsize=9, loc="right")
    best = rows[-1]
    alt = f"Mean test {c.metric} by variant with 95 % intervals; best is {best.variant}."
    return Picture("ranking", "Ranking", alt, figure)


def _published(axes: Axes, c: Comparison, variants: list[str]) -> None:
    """Draws published figures: of a variant on its line, others as lines with their names above."""
    top = len(variants) - 0.5
    for reference in c.references:
        value = reference["value"]
        if reference["variant"] in variants:
            y = variants.index(reference["variant"])
            axes.plot(value, y, "D", color=MUTED, mfc="none", ms=6, label="published", zorder=3)
            continue
        axes.axvline(value, color=MUTED, lw=1, ls="--", zorder=0)
        axes.annotate(
            reference["label"],
            (value, top),
            xytext=(3, 0),
            textcoords="offset points",
            color=MUTED,
            fontsize=8,
            va="bottom",
        )
        top += 0.45
    axes.set_ylim(-0.6, top)
    known = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    if known:
        axes.legend(
            known.values(), known.keys(), fontsize=8, frameon=False, loc="best", labelcolor=INK
        )


def _curves(c: Comparison) -> Picture | None:
    """Mean validation curves with bands of one standard error, as far as all runs go."""
    rows = _shown(c, lambda row: bool(row.curves))
    if not rows:
        return None
    figure, axes = _axes()
    lowest, highest = [], []
    for row in rows:
        shortest = min(len(curve) for curve in row.curves)
        steps = [step for step, _ in row.curves[0][:shortest]]
        values = np.array([[value for _, value in curve[:shortest]] for curve in row.curves])
        middle = values.mean(0)
        error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0 * middle
        style = _style(c, row)
        axes.plot(steps, middle, **style, lw=1.6, label=row.variant)
        band = {"color": style["color"], "alpha": 0.15, "lw": 0}
        axes.fill_between(steps, middle - error, middle + error, **band)
        lowest.append(np.quantile(middle, 0.0 if c.direction == "min" else 0.1))
        highest.append(np.quantile(middle, 0.9 if c.direction == "min" else 1.0))
    margin = 0.05 * (max(highest) - min(lowest) or 1.0)
    axes.set_ylim(min(lowest) - margin, max(highest) + margin)
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(f"validation {c.metric}")
    _legend(axes, c, rows)
    alt = f"Validation {c.metric} against optimiser steps, mean and standard error by variant."
    return Picture("curves", "Learning curves", alt, figure)


def _best_of(c: Comparison) -> Picture | None:
    rows = _shown(c, lambda row: len(row.best_of) > 1)
    if not rows:
        return None
    figure, axes = _axes()
    for row in rows:
        numbers = np.arange(1, len(row.best_of) + 1)
        axes.plot(numbers, row.best_of, **_style(c, row), lw=1.6, label=row.variant)
    _logarithmic(axes, np.array([1, max(len(row.best_of) for row in rows)]))
    axes.set_xlabel("trials k")
    axes.set_ylabel(f"expected test {c.metric} of the best of k")
    _legend(axes, c, rows)
    alt = f"Expected test {c.metric} of the best of k trials on validation, by variant."
    return Picture("best_of", "Expected best of k trials", alt, figure)


def _trials(c: Comparison) -> Picture | None:
    """Boxes over all tuning trials, and points of those that are compared."""
    rows = [row for row in c.rows if len(row.trials) > 4][::-1]
    if not rows:
        return None
    figure, axes = _axes(height=max(2.4, 0.34 * len(rows) + 1.0))
    line = {"color": INK, "lw": 1.2}
    axes.boxplot(
        [row.trials for row in rows],
        orientation="horizontal",
        positions=range(len(rows)),
        widths=0.5,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops={"color": ACCENT, "lw": 2},
        flierprops={"marker": ".", "ms": 3, "markeredgecolor": MUTED},
    )
    if not c.seeds:
        for y, row in enumerate(rows):
            axes.plot(row.scores, [y] * len(row.scores), "|", color=ACCENT, ms=9)
    axes.set_yticks(range(len(rows)), [row.variant for row in rows])
    everything = np.concatenate([row.trials for row in rows])
    if np.min(everything) > 0 and np.max(everything) > 20 * np.min(everything):
        axes.set_xscale("log")
    compared = "" if c.seeds else f"; ticks: the best {c.top:.0%} on validation"
    axes.set_xlabel(f"test {c.metric} of all trials{compared}")
    axes.grid(axis="x", color=GRID_LINE)
    alt = f"Distribution of the test {c.metric} of all trials of each variant, as boxes."
    return Picture("trials", "Distribution of trials", alt, figure)


def _significance(c: Comparison) -> Picture | None:
    names = [row.variant for row in c.rows if row.scores]
    if len(names) < 2:
        return None
    size = len(names)
    p = np.full((size, size), np.nan)
    for (a, b), value in c.pairwise.items():
        if a in names and b in names:
            p[names.index(a), names.index(b)] = p[names.index(b), names.index(a)] = value
    figure, axes = _axes(height=max(2.8, 0.36 * size + 1.2), width=max(4.4, 0.5 * size + 2))
    axes.grid(visible=False)
    axes.imshow(np.where(np.isnan(p), 1.0, p) < ALPHA, cmap=_two_colors(), vmin=0, vmax=1)
    for i in range(size):
        for j in range(size):
            if not np.isnan(p[i, j]):
                text = "<.001" if p[i, j] < 1e-3 else f"{p[i, j]:.3f}".lstrip("0")
                color = "white" if p[i, j] < ALPHA else INK
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    axes.set_xticks(range(size), names, rotation=45, ha="right")
    axes.set_yticks(range(size), names)
    axes.set_xlabel(f"p of Welch's test, Holm over {len(c.pairwise)} pairs; filled: below {ALPHA}")
    for side in axes.spines.values():
        side.set_visible(False)
    alt = "Matrix of corrected p-values over all pairs of variants."
    return Picture("significance", "Significance", alt, figure)


def _two_colors() -> Any:
    return matplotlib.colors.ListedColormap([(0, 0, 0, 0.04), "#486581"])


def _ranks(c: Comparison) -> Picture | None:
    """A critical-difference diagram: bars join variants whose ranks are not told apart."""
    if c.ranks is None:
        return None
    ranked = sorted(c.ranks.ranks.items(), key=lambda item: item[1])
    names, at = [name for name, _ in ranked], np.array([rank for _, rank in ranked])
    figure, axes = _axes(height=1.6 + 0.22 * len(names))
    axes.plot(at, np.zeros(len(at)), "o", color=INK, ms=4, clip_on=False)
    half = (len(names) + 1) // 2
    for k, (name, rank) in enumerate(ranked):
        left = k < half
        depth = 0.6 + 0.5 * (k if left else len(names) - 1 - k)
        edge = at[0] - 0.4 if left else at[-1] + 0.4
        axes.plot([rank, rank, edge], [0, -depth, -depth], color=MUTED, lw=0.8)
        side = "right" if left else "left"
        axes.text(edge, -depth, f" {name} {rank:.2f} ", ha=side, va="center", fontsize=8, color=INK)
    height = 0.4
    for first, last in _groups(at, c.ranks.distance):
        axes.plot([at[first], at[last]], [height, height], color=ACCENT, lw=3)
        height += 0.35
    axes.plot([at[0], at[0] + c.ranks.distance], [height + 0.5] * 2, color=INK, lw=1.2)
    axes.text(at[0], height + 0.65, f"critical difference {c.ranks.distance:.2f}", fontsize=8)
    axes.set_xlim(at[0] - 1.6, max(at[-1] + 1.6, at[0] + c.ranks.distance))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    p = "" if np.isnan(c.ranks.p) else f"; Friedman p = {c.ranks.p:.3g}"
    axes.set_xlabel(f"mean rank over {c.ranks.blocks} seeds, 1 is best{p}")
    alt = "Critical-difference diagram of mean ranks; best is " + names[0] + "."
    return Picture("ranks", "Ranks within seeds", alt, figure)


def _groups(at: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """Returns the longest stretches of sorted ranks that lie within a distance."""
    groups: list[tuple[int, int]] = []
    for first in range(len(at)):
        last = int(np.searchsorted(at, at[first] + distance, side="right")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def _marginals(c: Comparison) -> Picture | None:
    """What each setting does, averaged over all others; fANOVA's forest says it."""
    rows = _shown(c, lambda row: row.variant in c.importances)
    if not rows:
        return None
    paths = [
        path
        for path in c.ranges
        if any(path in c.importances[row.variant].marginals for row in rows)
    ]
    columns = min(len(paths), 2)
    lines = -(-len(paths) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(7.2, 2.6 * lines), layout="constrained", squeeze=False
    )
    for k, path in enumerate(paths):
        axes = grid[k // columns][k % columns]
        for row in rows:
            marginals = c.importances[row.variant].marginals
            if path in marginals:
                at, scale, label = _values(path, c.ranges[path])
                axes.plot(at, marginals[path][0], **_style(c, row), lw=1.4, label=row.variant)
                axes.set_xlabel(label)
                if scale == "log":
                    _logarithmic(axes, at)
        _plain(axes)
    for axes in grid.flat[len(paths) :]:
        axes.set_visible(False)
    grid[0][0].set_ylabel(f"expected test {c.metric}")
    _legend(grid[0][0], c, rows)
    alt = f"Expected test {c.metric} against each setting, averaged over the others, by variant."
    return Picture("marginals", "What the settings do", alt, figure)


def _values(path: str, drawn: dict[str, Any]) -> tuple[np.ndarray, str, str]:
    """Returns a setting's values at GRID of its range, the scale of its axis, and a label."""
    match drawn["kind"]:
        case "LogUniform":
            at = drawn["low"] * (drawn["high"] / drawn["low"]) ** GRID
            return at, "log", f"1 - {path}" if drawn["one_minus"] else path
        case "Uniform":
            return drawn["low"] + GRID * (drawn["high"] - drawn["low"]), "linear", path
        case _:
            return GRID * len(drawn["values"]), "linear", f"{path}: {drawn['values']}"


# ---- shared


def _axes(height: float = 3.6, width: float = 7.2) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.grid(color=GRID_LINE)
    for name, side in axes.spines.items():
        side.set_visible(name in ("left", "bottom"))
        side.set_color(MUTED)
    for item in (axes.xaxis.label, axes.yaxis.label):
        item.set_color(INK)
        item.set_fontsize(9)
    axes.tick_params(color=MUTED, labelcolor=INK, labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _logarithmic(axes: Axes, at: np.ndarray) -> None:
    """Makes the x axis logarithmic, with ticks at 1, 2 and 5 where it spans few decades."""
    axes.set_xscale("log")
    few = np.ptp(np.log10(at)) < 2.5
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if few:
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _shown(c: Comparison, wanted: Callable[[Row], bool]) -> list[Row]:
    """Returns the rows to draw: the best ones, the baseline and the last, of those wanted."""
    rows = [row for row in c.rows if wanted(row)]
    extra = [row for row in rows[SHOWN:] if row.variant == c.baseline or row is rows[-1]]
    return [*rows[:SHOWN], *extra]


def _style(c: Comparison, row: Row) -> dict[str, Any]:
    """Returns a variant's line, the same in all pictures: the baseline has the accent, and more
    variants than colours are told apart by dashes."""
    if row.variant == c.baseline:
        return {"color": ACCENT, "ls": "-"}
    turn, place = divmod([other.variant for other in c.rows].index(row.variant), len(COLORS))
    return {"color": COLORS[place], "ls": ("-", "--", ":", "-.")[turn % 4]}


def _legend(axes: Axes, c: Comparison, rows: list[Row]) -> None:
    legend = axes.legend(frameon=False, fontsize=8, loc="best", ncols=1 + (len(rows) > 5))
    for text in legend.get_texts():
        text.set_color(INK)
    if len(rows) > SHOWN and len(rows) < len(c.rows):
        title = f"the best {SHOWN}, the baseline and the last"
        axes.set_title(title, color=INK, fontsize=8, loc="right")

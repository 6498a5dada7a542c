"""Pictures of a study."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from lstm_lab.report.compare import Comparison
from lstm_lab.report.stats import mean_interval

INK, MUTED, ACCENT = "#1f2933", "#9aa5b1", "#c05621"
SHOWN_CURVES = 6


def draw(comparison: Comparison, path: Path) -> None:
    """Draws each variant's mean with its interval, and the learning curves, into a PNG."""
    rows = [row for row in comparison.rows if row.scores]
    height = max(3.6, 0.36 * len(rows) + 1.5)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, height), width_ratios=(1, 1.15), layout="constrained"
    )
    _draw_ranking(left, comparison)
    _draw_curves(right, comparison)
    figure.suptitle(comparison.title, color=INK, fontsize=13, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, facecolor="white")
    plt.close(figure)


def _draw_ranking(axes: Axes, comparison: Comparison) -> None:
    rows = [row for row in comparison.rows if row.scores][::-1]
    for y, row in enumerate(rows):
        color = ACCENT if row.variant == comparison.baseline else INK
        axes.plot(row.scores, [y - 0.25] * len(row.scores), "o", color=MUTED, ms=3, zorder=1)
        if np.isfinite(row.interval.low):
            axes.plot(row.interval[1:], [y, y], color=color, lw=2, zorder=2)
        axes.plot(row.interval.mean, y, "o", color=color, ms=6, zorder=3)
    axes.set_yticks(range(len(rows)), [row.variant for row in rows])
    axes.set_xlabel(f"test {comparison.metric}: mean, 95 % interval, single runs")
    axes.grid(axis="x", color="#e4e7eb")
    _plain(axes)
    if comparison.baseline is not None:
        axes.set_title(f"baseline {comparison.baseline}", color=ACCENT, fontsize=9, loc="right")


def _draw_curves(axes: Axes, comparison: Comparison) -> None:
    """Draws mean validation curves with bands of one standard error."""
    shown = [row for row in comparison.rows if row.curves][:SHOWN_CURVES]
    names = {row.variant for row in shown}
    extra = [comparison.baseline, comparison.rows[-1].variant if comparison.rows else None]
    shown += [row for row in comparison.rows if row.variant in extra and row.variant not in names]
    colors = plt.get_cmap("tab10")
    lowest, highest = [], []
    for k, row in enumerate(shown):
        if not row.curves:
            continue
        shortest = min(len(curve) for curve in row.curves)
        steps = [step for step, _ in row.curves[0][:shortest]]
        values = np.array([[value for _, value in curve[:shortest]] for curve in row.curves])
        middle = np.array([mean_interval(column).mean for column in values.T])
        error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0 * middle
        axes.plot(steps, middle, color=colors(k % 10), lw=1.6, label=row.variant)
        axes.fill_between(steps, middle - error, middle + error, color=colors(k % 10), alpha=0.15)
        lowest.append(np.quantile(middle, 0.1))
        highest.append(middle.max())
    if lowest and highest:
        margin = 0.05 * (max(highest) - min(lowest) or 1.0)
        axes.set_ylim(min(lowest) - margin, max(highest) + margin)
        axes.legend(frameon=False, fontsize=9, loc="best")
    if len(shown) < len(comparison.rows):
        axes.set_title(
            "the best six, the baseline and the last", color=INK, fontsize=9, loc="right"
        )
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(f"validation {comparison.metric}: mean ± standard error")
    axes.grid(color="#e4e7eb")
    _plain(axes)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for item in (axes.xaxis.label, axes.yaxis.label):
        item.set_color(INK)
        item.set_fontsize(10)
    axes.tick_params(colors=INK, labelsize=9)

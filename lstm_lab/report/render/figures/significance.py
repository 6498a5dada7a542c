"""Which variants differ: a matrix of p-values, and a critical-difference diagram of ranks.

In: a `Comparison`. Out: figures, or None if there is nothing to draw.
"""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap

from lstm_lab.report.against_baseline import ALPHA
from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.report.render.figures.panels import (
    COLUMNS,
    PANEL_WIDTH,
    Panel,
    panel_label,
    panels_of_rows,
    rows_by_task,
)
from lstm_lab.report.render.figures.style import (
    ACCENT,
    INK,
    MUTED,
    ReportFigure,
    name_label,
    new_axes,
)

# Not significant, significant. The first is translucent: it has to fit a light and a dark page.
CELL_COLORS = ListedColormap(["#8080801f", "#486581"])


def significance(c: Comparison) -> ReportFigure | None:
    """Draws the corrected p-values of all pairs of variants as a matrix.

    Args:
      c: the comparison.
    """
    by_task = {task: rows for task, rows in rows_by_task(c, _scored).items() if len(rows) > 1}
    if not by_task:
        return None
    size = max(map(len, by_task.values()))
    if not c.crosses_tasks:
        figure, axes = new_axes(max(2.8, 0.36 * size + 1.2), max(4.4, 0.5 * size + 2))
        panels = [Panel(axes, by_task[""])]
    else:
        # Wide enough that the numbers can be read, and as many side by side as fit on a page.
        width = max(PANEL_WIDTH, 0.36 * size + 1.4)
        columns = max(1, int(COLUMNS * PANEL_WIDTH / width))
        figure, panels = panels_of_rows(by_task, 0.3 * size + 1.1, columns, width)
    for panel in panels:
        _draw_matrix(c, panel)
    pairs = f"{len(c.pairwise)} pair{'s' * (len(c.pairwise) != 1)}"
    figure.supxlabel(f"p (Welch), Holm over {pairs}; filled: below {ALPHA}", fontsize=9, color=INK)
    alt = "Matrix of corrected p-values over all pairs of variants."
    if c.crosses_tasks:
        alt = "Matrices of corrected p-values over all pairs of variants of a task."
    return ReportFigure("significance", "Significance", alt, figure)


def _scored(row: VariantRow) -> bool:
    return bool(row.scores)


def _draw_matrix(c: Comparison, panel: Panel) -> None:
    axes, names = panel.axes, [row.variant for row in panel.rows]
    size = len(names)
    p = np.full((size, size), np.nan)
    for (a, b), value in c.pairwise.items():
        if a in names and b in names:
            p[names.index(a), names.index(b)] = p[names.index(b), names.index(a)] = value
    axes.grid(visible=False)
    axes.imshow(np.where(np.isnan(p), 1.0, p) < ALPHA, cmap=CELL_COLORS, vmin=0, vmax=1)
    for i in range(size):
        for j in range(size):
            if not np.isnan(p[i, j]):
                text = "<.001" if p[i, j] < 1e-3 else f"{p[i, j]:.3f}".lstrip("0")
                color = "white" if p[i, j] < ALPHA else INK
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=color)
    labels = [panel_label(c, row) for row in panel.rows]
    axes.set_xticks(range(size), labels, rotation=45, ha="right")
    axes.set_yticks(range(size), labels)
    for spine in axes.spines.values():
        spine.set_visible(False)


def critical_differences(c: Comparison) -> ReportFigure | None:
    """Draws mean ranks; bars join variants whose ranks do not differ significantly.

    Args:
      c: the comparison.

    Source: Demsar 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, figure 1.
    """
    if c.friedman is None:
        return None
    ranked = sorted(c.friedman.mean_ranks.items(), key=lambda item: item[1])
    names, ranks = [name for name, _ in ranked], np.array([rank for _, rank in ranked])
    figure, axes = new_axes(height=1.6 + 0.22 * len(names))
    axes.plot(ranks, np.zeros(len(ranks)), "o", color=INK, ms=4, clip_on=False)
    half = (len(names) + 1) // 2
    for k, (name, rank) in enumerate(ranked):
        # The better half has its labels on the left, nearest rank on top, so no two lines cross.
        left = k < half
        depth = 0.6 + 0.5 * (k if left else len(names) - 1 - k)
        edge = ranks[0] - 0.4 if left else ranks[-1] + 0.4
        axes.plot([rank, rank, edge], [0, -depth, -depth], color=MUTED, lw=0.8)
        side = "right" if left else "left"
        axes.text(
            edge,
            -depth,
            f" {name_label(name)} {rank:.2f} ",
            ha=side,
            va="center",
            fontsize=8,
            color=INK,
        )
    distance = c.friedman.critical_difference
    height = 0.4
    for first, last in _groups(ranks, distance):
        axes.plot([ranks[first], ranks[last]], [height, height], color=ACCENT, lw=3)
        height += 0.35
    axes.plot([ranks[0], ranks[0] + distance], [height + 0.5] * 2, color=INK, lw=1.2)
    label = f"critical difference {distance:.2f}"
    axes.text(ranks[0], height + 0.65, label, fontsize=8, color=INK)
    axes.set_xlim(ranks[0] - 1.6, max(ranks[-1] + 1.6, ranks[0] + distance))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    p = "" if np.isnan(c.friedman.p) else f"; Friedman p = {c.friedman.p:.3g}"
    blocks = "tasks" if c.crosses_tasks else "seeds"
    axes.set_xlabel(f"mean rank over {c.friedman.n_blocks} {blocks}, 1 is best{p}")
    best = [name for name, rank in ranked if rank == ranks[0]]
    which = f"{'tied for best are' if len(best) > 1 else 'best is'} {', '.join(best)}"
    alt = f"Critical-difference diagram of mean ranks; {which}."
    return ReportFigure("ranks", f"Ranks within {blocks}", alt, figure)


def _groups(ranks: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """Returns the maximal ranges (first, last) of sorted ranks within a distance.

    Only maximal ones: a bar inside another bar says nothing new.
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + distance, side="right")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups

"""The curves of single runs: training loss and validation metric over the steps.

In: `RunRecord` objects by label. Out: a matplotlib figure.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lab.report.render.figures.style import (
    ACCENT,
    COLORS,
    INK,
    MUTED,
    apply_style,
    png,
)
from lstm_lab.report.single_run import RunRecord


def draw_curves(records: Mapping[str, RunRecord]) -> Figure:
    """Draws the training loss and the validation metric of runs, side by side.

    Args:
      records: the runs by label; the label of a single run is empty.
    """
    figure = Figure(figsize=(8.4, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    metric = next((r.metric for r in records.values() if r.metric), None)
    for number, (label, record) in enumerate(records.items()):
        color = COLORS[number % len(COLORS)]
        columns = record.history.columns
        # A run that has not ended has no metric yet: the first validation column stands in.
        column = f"valid_{record.metric or metric}"
        if column not in columns:
            column = next((name for name in columns if name.startswith("valid_")), "")
        _draw(left, record, "train_loss", color, label)
        if column:
            _draw(right, record, column, color, label)
            right.set_ylabel(column.replace("valid_", "validation "))
        if record.best_step is not None and len(records) == 1:
            right.axvline(record.best_step, color=ACCENT, lw=1.0, ls="--")
            note = f"best checkpoint, step {record.best_step}"
            right.set_title(note, color=ACCENT, fontsize=8, loc="right")
    left.set_ylabel("training loss")
    for axes in (left, right):
        apply_style(axes)
        axes.set_xlabel("optimizer steps")
        if any(records):
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


def show_inline(figure: Figure) -> Figure:
    """Makes sure that a notebook shows figures that pyplot did not create; returns the figure.

    Args:
      figure: the figure.
    """
    # Without a notebook, IPython is not loaded.
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None:
        formatter = shell.display_formatter.formatters["image/png"]
        # A user who chose a format keeps it.
        if Figure not in formatter.type_printers:
            formatter.for_type(Figure, png)
    return figure


def _draw(axes: Axes, record: RunRecord, column: str, color: str, label: str) -> None:
    steps, values = record.history["step"], record.history[column]
    points = [(s, v) for s, v in zip(steps, values, strict=True) if v is not None]
    if not points:
        axes.text(0.5, 0.5, "no values yet", ha="center", color=MUTED, transform=axes.transAxes)
        return
    # A marker shows where a curve of few evaluations has its points.
    marker = "o" if len(points) <= 25 else ""
    x, y = zip(*points, strict=True)
    axes.plot(x, y, color=color, lw=1.6, marker=marker, ms=3, label=label or None)

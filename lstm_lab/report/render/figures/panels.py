"""One panel per task: axes for figures whose variants were trained on several tasks.

In: a `Comparison`. Out: a figure and its `Panel`s. A study of one task has one panel, with the rows
and the legend that fit it. The other files of this folder draw into the panels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lstm_lab.report.comparison import Comparison, VariantRow
from lstm_lab.report.render.figures.style import (
    INK,
    MAX_CURVES,
    add_legend,
    apply_style,
    label_without_task,
    line_style,
    name_label,
    new_axes,
    rows_to_draw,
)

PANEL_WIDTH = 3.6
COLUMNS = 3


class Panel(NamedTuple):
    """Axes and the variants to draw there.

    Attributes:
      axes: the axes.
      rows: the variants, best first.
      hidden: how many more have what the figure draws.
    """

    axes: Axes
    rows: list[VariantRow]
    hidden: int = 0


def panels_of_rows(
    by_task: dict[str, list[VariantRow]],
    height: float,
    columns: int = COLUMNS,
    width: float = PANEL_WIDTH,
) -> tuple[Figure, list[Panel]]:
    """Returns a figure with a panel for each task.

    Args:
      by_task: the rows of each task that has some; a study of one task has the key "".
      height: of a panel, in inches.
      columns: number of panels side by side.
      width: of a panel, in inches.
    """
    if list(by_task) == [""]:
        figure, axes = new_axes(height)
        return figure, [Panel(axes, by_task[""])]
    columns = min(columns, len(by_task))
    n_rows = -(-len(by_task) // columns)
    size = (width * columns, height * n_rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid: Sequence[Axes] = list(figure.subplots(n_rows, columns, squeeze=False).flat)
    for axes in grid[len(by_task) :]:
        axes.set_visible(False)
    panels = []
    for axes, (task, rows) in zip(grid, by_task.items(), strict=False):
        apply_style(axes)
        axes.set_title(name_label(task), color=INK, fontsize=9, loc="left")
        panels.append(Panel(axes, rows))
    return figure, panels


def rows_by_task(
    c: Comparison, condition: Callable[[VariantRow], bool]
) -> dict[str, list[VariantRow]]:
    """Returns the rows with what a figure draws, by task, without tasks that have none.

    Args:
      c: the comparison.
      condition: whether a row has what the figure draws.
    """
    by_task = {
        task: [row for row in c.rows if row.variant in names and condition(row)]
        for task, names in c.tasks.items()
    }
    return {task: rows for task, rows in by_task.items() if rows}


def curve_panels(
    c: Comparison, condition: Callable[[VariantRow], bool]
) -> tuple[Figure, list[Panel]] | None:
    """Returns a figure for one line per variant, or None if no row has what it draws.

    Each panel shows at most `MAX_CURVES` variants and the baseline; of one task, the last as well.

    Args:
      c: the comparison.
      condition: whether a row has what the figure draws.
    """
    by_task = rows_by_task(c, condition)
    if not by_task:
        return None
    if not c.crosses_tasks:
        figure, panels = panels_of_rows({"": rows_to_draw(c, condition)}, 3.6)
    else:
        shown = {task: _best_rows(c, rows) for task, rows in by_task.items()}
        figure, panels = panels_of_rows(shown, 2.5)
    counts = map(len, by_task.values())
    return figure, [
        panel._replace(hidden=n - len(panel.rows)) for panel, n in zip(panels, counts, strict=True)
    ]


def _best_rows(c: Comparison, rows: list[VariantRow]) -> list[VariantRow]:
    """Returns the best `MAX_CURVES` rows of a task, and the one with the baseline's settings."""
    base = c.labels[c.baseline][1] if c.baseline is not None else None
    extra = [row for row in rows[MAX_CURVES:] if c.labels[row.variant][1] == base]
    return [*rows[:MAX_CURVES], *extra]


def panel_label(c: Comparison, row: VariantRow) -> str:
    """Returns the label of a variant in its panel, whose title has the task.

    Args:
      c: the comparison.
      row: the variant.
    """
    return name_label(label_without_task(c, row) if c.crosses_tasks else row.variant)


def line_arguments(c: Comparison, row: VariantRow) -> dict[str, Any]:
    """Returns color, dashes and label of a variant's line in its panel, for matplotlib's `plot`.

    Args:
      c: the comparison.
      row: the variant.
    """
    return {**line_style(c, row), "label": panel_label(c, row)}


def add_panel_legend(figure: Figure, panels: Sequence[Panel], c: Comparison) -> None:
    """Adds a legend of the lines: inside the axes, or above all panels.

    Args:
      figure: the figure.
      panels: its panels, with labeled lines.
      c: the comparison.
    """
    if not c.crosses_tasks:
        add_legend(panels[0].axes, c, panels[0].rows, panels[0].hidden)
        return
    lines = {str(line.get_label()): line for panel in panels for line in panel.axes.get_lines()}
    # matplotlib begins the labels of lines without a name with an underscore.
    named = {label: line for label, line in lines.items() if not label.startswith("_")}
    hidden = any(panel.hidden for panel in panels)
    note = f"at most the best {MAX_CURVES} of each task{', and the baseline' * bool(c.baseline)}"
    figure.legend(
        named.values(),
        named.keys(),
        title=note if hidden else None,
        title_fontsize=8,
        loc="outside upper right",
        frameon=False,
        fontsize=8,
        ncols=min(len(named), MAX_CURVES),
        labelcolor=INK,
    )

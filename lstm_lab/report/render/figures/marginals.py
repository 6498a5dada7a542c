"""The effect of each hyperparameter: fANOVA's marginals, one panel per hyperparameter.

In: a `Comparison` with importances. Out: a figure. `report/fanova.py` computes the marginals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lstm_lab.report.comparison import Comparison
from lstm_lab.report.fanova import GRID
from lstm_lab.report.render.figures.style import (
    ReportFigure,
    add_legend,
    apply_style,
    limit_to_most,
    line_style,
    logarithmic_x,
    name_label,
    rows_to_draw,
)


def marginals(c: Comparison) -> ReportFigure | None:
    """Draws the expected score over each hyperparameter, averaged over all others.

    Args:
      c: the comparison.
    """
    rows = rows_to_draw(c, lambda row: row.variant in c.importances)
    if not rows:
        return None
    # In the order of the study. A conditional hyperparameter has no marginal, so no panel.
    paths = [
        path
        for path in c.ranges
        if any(path in c.importances[row.variant].marginals for row in rows)
    ]
    n_columns = min(len(paths), 2)
    n_rows = -(-len(paths) // n_columns)
    figure = Figure(figsize=(7.2, 2.6 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    for k, path in enumerate(paths):
        axes = panels[k // n_columns][k % n_columns]
        values, scale, label = _axis_values(path, c.ranges[path])
        curves = {}
        for row in rows:
            by_path = c.importances[row.variant].marginals
            if path in by_path:
                name = name_label(row.variant)
                curves[name] = np.asarray(by_path[path][0])
                axes.plot(values, curves[name], **line_style(c, row), lw=1.4, label=name)
        limit_to_most(axes, curves)
        axes.set_xlabel(label)
        if scale == "log":
            logarithmic_x(axes, values)
        apply_style(axes)
    for axes in panels.flat[len(paths) :]:
        axes.set_visible(False)
    panels[0][0].set_ylabel(f"expected test {c.test_metric}")
    add_legend(panels[0][0], c, rows, hidden=len(c.importances) - len(rows))
    alt = (
        f"Expected test {c.test_metric} over each hyperparameter, averaged over the others, by "
        "variant."
    )
    return ReportFigure("marginals", "Effect of each hyperparameter", alt, figure)


def _axis_values(path: str, distribution: Mapping[str, Any]) -> tuple[np.ndarray, str, str]:
    """Returns a hyperparameter's values at GRID of its range, the axis' scale, and its label."""
    match distribution["kind"]:
        case "LogUniform":
            values = distribution["low"] * (distribution["high"] / distribution["low"]) ** GRID
            # Drawn as the search draws it: momentum 0.9 and 0.99 differ by their distance to 1.
            return values, "log", f"1 - {path}" if distribution["one_minus"] else path
        case "Uniform":
            width = distribution["high"] - distribution["low"]
            return distribution["low"] + GRID * width, "linear", path
        case _:
            choices = distribution["values"]
            return GRID * len(choices), "linear", f"{path}: {choices}"

"""The figure of a learning-rate range test (Smith 2017, Cyclical Learning Rates).

In: the rates and losses of `lstm_lab.training.lr_range_test`. Out: a PNG file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from lstm_lab.report.render.figures.style import ACCENT, INK, MUTED, png
from lstm_lab.utils.files import write_bytes


def write_figure(
    rates: Sequence[float], losses: Sequence[float], suggested: float, highest: float, path: Path
) -> None:
    """Draws the smoothed loss over the learning rate, with the suggested rates, into a PNG file.

    Args:
      rates: learning rates, in ascending order.
      losses: the smoothed loss at each.
      suggested: the rate at which the loss decreases fastest.
      highest: the rate above which training may diverge.
      path: the file.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=INK)
    # The test raises the rate by a constant factor, so that is a constant distance here.
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("smoothed loss")
    for rate, color, text in (
        (suggested, ACCENT, "steepest descent"),
        (highest, MUTED, "1/10 of the minimum"),
    ):
        axes.axvline(rate, color=color, linewidth=1.2)
        axes.annotate(
            f"{text}\n{rate:.1e}",
            (rate, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            color=color,
            fontsize=8,
        )
    axes.spines[["top", "right"]].set_visible(False)
    write_bytes(path, png(figure))

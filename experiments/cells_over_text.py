"""Shows how single cells of a language model correlate with features of a text.

For each of three features (position in the line, position in the word, whether the line names a
speaker) it finds the cell of the last layer whose tanh(c) correlates most with the feature, and
colors the text by the activation of that cell. Karpathy, Johnson and Fei-Fei 2015, Visualizing and
understanding recurrent networks, found such cells by eye; here a correlation selects them.

Command: python experiments/cells_over_text.py --workdir=runs/shakespeare
Time: 20 seconds on 2 cores, after lstm-lab train characters.
Output: WORKDIR/cells_over_text.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from lstm_lab.inference.load import Trained, load_run
from lstm_lab.models.build import build_model
from lstm_lab.tasks.readers.text import encode

TEXT = """ROMEO:
It is my lady, O, it is my love!
O, that she knew she were!
She speaks yet she says nothing: what of that?

JULIET:
O Romeo, Romeo! wherefore art thou Romeo?
Deny thy father and refuse thy name.
"""
COLUMNS = 48


def text_features(text: str) -> dict[str, np.ndarray]:
    """Returns features of the text at each character [T], by name."""
    line = word = 0
    names_speaker: list[bool] = []
    lines, words = [], []
    for row in text.split("\n"):
        names_speaker += [row.endswith(":")] * (len(row) + 1)
    for character in text:
        lines.append(line)
        words.append(word)
        line = 0 if character == "\n" else line + 1
        word = word + 1 if character.isalpha() else 0
    return {
        "position in the line": np.array(lines, float),
        "position in the word": np.array(words, float),
        "line names a speaker": np.array(names_speaker[: len(text)], float),
    }


def activations(trained: Trained, text: str) -> np.ndarray:
    """Returns tanh(c) of the cells of the last layer after each character [T,H]."""
    numbers = encode(text, tuple(trained.preprocessing["inputs"]))
    model = build_model(trained.spec, trace=True)
    x = jnp.asarray(numbers)[None]
    _, collections = model.apply({"params": trained.params}, x, mutable=["traces"])
    (traced,) = collections["traces"]["lstm"][f"layer_{len(trained.spec.model.layer_widths) - 1}"]
    return np.tanh(np.asarray(traced["c"], np.float64)[:, 0])


def most_correlated(
    values_TH: np.ndarray, features: dict[str, np.ndarray]
) -> list[tuple[str, int, float]]:
    """Returns (feature, cell, correlation) for the most correlated cell of each feature.

    Args:
      values_TH: activations [T,H].
      features: features [T] by name; constant ones are left out.
    """
    chosen = []
    for name, feature_T in features.items():
        if feature_T.std() > 0:
            deviations_TH = values_TH - values_TH.mean(0)
            # A cell that never changes gets correlation 0 instead of a division by zero.
            norms_H = np.sqrt((deviations_TH**2).sum(0)) + 1e-12
            centered_T = feature_T - feature_T.mean()
            r_H = centered_T @ deviations_TH / (norms_H * np.sqrt((centered_T**2).sum()))
            cell = int(np.abs(r_H).argmax())
            chosen.append((name, cell, float(r_H[cell])))
    return chosen


def draw(text: str, values_TH: np.ndarray, chosen: list[tuple[str, int, float]]) -> Figure:
    """Draws the text once per cell, with each character on the color of the cell's activation."""
    positions, row, column = [], 0, 0
    for character in text:
        positions.append((row, column))
        row, column = (row + 1, 0) if character == "\n" or column == COLUMNS else (row, column + 1)
    rows = positions[-1][0] + 1
    height = 0.19 * rows * len(chosen) + 0.5 * len(chosen)
    figure, axes = plt.subplots(
        len(chosen), 1, figsize=(6.4, height), squeeze=False, layout="constrained"
    )
    for (name, cell, r), panel in zip(chosen, axes[:, 0], strict=True):
        grid = np.full((rows, COLUMNS + 1), np.nan)
        for (y, x), value in zip(positions, values_TH[:, cell], strict=True):
            grid[y, x] = value
        image = panel.imshow(grid, cmap="RdBu", vmin=-1.0, vmax=1.0, aspect="auto")
        for character, (y, x) in zip(text, positions, strict=True):
            dark = abs(grid[y, x]) > 0.6
            panel.text(
                x,
                y,
                character.strip(),
                ha="center",
                va="center",
                family="monospace",
                fontsize=7,
                color="white" if dark else "black",
            )
        panel.set_title(f"cell {cell}: {name} (r = {r:+.2f})", fontsize=9, loc="left")
        panel.axis("off")
        bar = figure.colorbar(image, ax=panel, ticks=(-1, 0, 1), pad=0.01, aspect=30)
        bar.set_label("tanh(c)", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def main() -> None:
    """Reads a run and writes the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument(
        "--text", type=Path, help="a text file; the default is a scene of Shakespeare"
    )
    args = parser.parse_args()
    text = args.text.read_text(encoding="utf-8")[:600] if args.text else TEXT
    trained = load_run(args.workdir)
    values_TH = activations(trained, text)
    chosen = most_correlated(values_TH, text_features(text))
    draw(text, values_TH, chosen).savefig(args.workdir / "cells_over_text.png", dpi=110)
    for name, cell, r in chosen:
        print(f"cell {cell:>4}  r {r:+.2f}  {name}")


if __name__ == "__main__":
    main()

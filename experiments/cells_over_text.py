"""What single cells of a language model follow: their activations, coloured over a text.

For each of a few things that a reader sees (how far into the line, how far into the word, whether
the line names a speaker) the cell of the last layer whose tanh(c) goes along with it most, by the
correlation over the text. After Karpathy, Johnson and Fei-Fei 2015, Visualizing and understanding
recurrent networks; there cells were found by eye, here by these correlations.

Command: python experiments/cells_over_text.py --workdir=runs/shakespeare
Time: 20 seconds on 2 cores, after lstm-lab train --config=configs/characters.py.
Written: WORKDIR/cells_over_text.png.
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


def followed(text: str) -> dict[str, np.ndarray]:
    """Returns what a reader sees at each character [T], by name."""
    line = word = 0
    names: list[bool] = []
    lines, words = [], []
    for row in text.split("\n"):
        names += [row.endswith(":")] * (len(row) + 1)
    for character in text:
        lines.append(line)
        words.append(word)
        line = 0 if character == "\n" else line + 1
        word = word + 1 if character.isalpha() else 0
    return {
        "how far into the line": np.array(lines, float),
        "how far into the word": np.array(words, float),
        "whether the line names a speaker": np.array(names[: len(text)], float),
    }


def activations(trained: Trained, text: str) -> np.ndarray:
    """Returns tanh(c) of the last layer's cells after each character [T,H]."""
    numbers = encode(text, tuple(trained.preprocessing["inputs"]))
    model = build_model(trained.spec, trace=True)
    x = jnp.asarray(numbers)[None]
    _, kept = model.apply({"params": trained.params}, x, mutable=["traces"])
    (traced,) = kept["traces"]["lstm"][f"layer_{len(trained.spec.model.layer_widths) - 1}"]
    return np.tanh(np.asarray(traced["c"], np.float64)[:, 0])


def choose(values_TH: np.ndarray, seen: dict[str, np.ndarray]) -> list[tuple[str, int, float]]:
    """Returns for each thing seen the cell that goes along with it most, and their correlation."""
    found = []
    for name, seen_T in seen.items():
        if seen_T.std() > 0:
            deviations_TH = values_TH - values_TH.mean(0)
            norms_H = np.sqrt((deviations_TH**2).sum(0)) + 1e-12
            known_T = seen_T - seen_T.mean()
            r_H = known_T @ deviations_TH / (norms_H * np.sqrt((known_T**2).sum()))
            cell = int(np.abs(r_H).argmax())
            found.append((name, cell, float(r_H[cell])))
    return found


def draw(text: str, values_TH: np.ndarray, chosen: list[tuple[str, int, float]]) -> Figure:
    """Draws the text once for each cell chosen, on the colours of its activation."""
    places, row, column = [], 0, 0
    for character in text:
        places.append((row, column))
        row, column = (row + 1, 0) if character == "\n" or column == COLUMNS else (row, column + 1)
    rows = places[-1][0] + 1
    height = 0.19 * rows * len(chosen) + 0.5 * len(chosen)
    figure, axes = plt.subplots(
        len(chosen), 1, figsize=(6.4, height), squeeze=False, layout="constrained"
    )
    for (name, cell, r), panel in zip(chosen, axes[:, 0], strict=True):
        grid = np.full((rows, COLUMNS + 1), np.nan)
        for (y, x), value in zip(places, values_TH[:, cell], strict=True):
            grid[y, x] = value
        image = panel.imshow(grid, cmap="RdBu", vmin=-1.0, vmax=1.0, aspect="auto")
        for character, (y, x) in zip(text, places, strict=True):
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
    """Reads a run, writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--text", type=Path, help="a file; the beginning of a scene by default")
    given = parser.parse_args()
    text = given.text.read_text(encoding="utf-8")[:600] if given.text else TEXT
    trained = load_run(given.workdir)
    values_TH = activations(trained, text)
    chosen = choose(values_TH, followed(text))
    draw(text, values_TH, chosen).savefig(given.workdir / "cells_over_text.png", dpi=110)
    for name, cell, r in chosen:
        print(f"cell {cell:>4}  r {r:+.2f}  {name}")


if __name__ == "__main__":
    main()

"""How far back the gradient reaches at initialization, for an RNN and LSTMs.

The norm of the gradient of the last hidden state against the input so many steps before, at
initialization, averaged over sequences and seeds, as a share of the norm at no lag. Curves of one
color family differ in one thing: lstm with three forget biases, and np, which is the lstm with
other initial weights and forget bias 0, also with the bias of lstm. What is learned is another
question: the study `forget_bias` trains.

Command: python experiments/gradient_flow.py --workdir=runs/gradient_flow
Time: a minute on 2 cores. Written: gradient_flow.png, .csv, and TensorBoard's events.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from tensorboardX import SummaryWriter

from lstm_lab.cells import CellSpec, Spec, get_variant
from lstm_lab.explain.gradient import gradient_norms
from lstm_lab.recurrence import unroll

STYLES = {
    "rnn": ("#718096", "-"),
    "np": ("#2b6cb0", "-"),
    "np, forget bias 1": ("#2b6cb0", "--"),
    "lstm, forget bias 0": ("#6b46c1", ":"),
    "lstm": ("#6b46c1", "-"),
    "lstm, forget bias 3": ("#6b46c1", "--"),
    "chrono": ("#c05621", "-"),
}
FLOOR = 1e-12  # below it float32 has nothing to say


def cells(T: int) -> dict[str, Spec]:
    """Returns the cells that are compared; chrono's biases are drawn for lags up to T."""
    np_weights = CellSpec(init="normal(0.1)")  # those of np: every weight and bias from N(0, 0.1)
    return {
        "rnn": get_variant("rnn").spec,
        "np": np_weights,
        "np, forget bias 1": replace(np_weights, forget_bias=1.0),
        "lstm, forget bias 0": CellSpec(),
        "lstm": CellSpec(forget_bias=1.0),
        "lstm, forget bias 3": CellSpec(forget_bias=3.0),
        "chrono": CellSpec(init=f"chrono({T})"),
    }


def gradient_by_lag(spec: Spec, key: jax.Array, T: int, H: int, B: int = 16) -> jax.Array:
    """Computes the share of the gradient's norm that is left after each lag.

    g(k) = E ||d(v . h_T) / d x_(T-k)|| / E ||d(v . h_T) / d x_T||, v a random direction

    Args:
      spec: the cell.
      key: of weights, inputs and directions.
      T: steps.
      H: hidden units and input features.
      B: sequences.

    Returns:
      An array [T] by lag, from 0 on.
    """
    key_w, key_x, key_v = jax.random.split(key, 3)
    params = spec.cell.init(spec, key_w, H, H)
    x_TBD, v_BH = jax.random.normal(key_x, (T, B, H)), jax.random.normal(key_v, (B, H))

    def read(x_TBD: jax.Array) -> jax.Array:
        h_TBH = unroll(spec, params, x_TBD, backend="scan").h
        return (h_TBH[-1] * v_BH).sum()

    norm_T = gradient_norms(read, x_TBD).mean(-1)[::-1]
    return norm_T / norm_T[0]


def measure(T: int, H: int, seeds: int) -> dict[str, np.ndarray]:
    """Returns for each cell the geometric mean over seeds, by lag [T]."""
    keys = jax.random.split(jax.random.key(0), seeds)
    shares_by_cell = {}
    for name, spec in cells(T).items():
        one = jax.jit(lambda key, spec=spec: gradient_by_lag(spec, key, T, H))
        shares = np.stack([np.asarray(one(key)) for key in keys])
        shares_by_cell[name] = np.exp(np.log(np.maximum(shares, FLOOR)).mean(0))
    return shares_by_cell


def draw(shares_by_cell: dict[str, np.ndarray]) -> Figure:
    """Draws the shares against the lag."""
    figure, axes = plt.subplots(figsize=(7.2, 4.0), layout="constrained")
    for name, share_T in shares_by_cell.items():
        shown = share_T > FLOOR
        color, style = STYLES[name]
        axes.plot(np.flatnonzero(shown), share_T[shown], style, color=color, lw=1.8, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("lag in steps")
    axes.set_ylabel("gradient norm, as a share of that at no lag")
    axes.set_title("How far back the gradient reaches, at initialization", loc="left", fontsize=11)
    axes.grid(color="#e4e7eb")
    axes.legend(frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    """Measures, draws and writes."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--workdir", type=Path, default=Path("runs/gradient_flow"))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    shares_by_cell = measure(args.steps, args.hidden, args.seeds)
    args.workdir.mkdir(parents=True, exist_ok=True)
    figure = draw(shares_by_cell)
    figure.savefig(args.workdir / "gradient_flow.png", dpi=110)
    with (args.workdir / "gradient_flow.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["lag", *shares_by_cell])
        rows = zip(*shares_by_cell.values(), strict=True)
        writer.writerows([lag, *row] for lag, row in enumerate(rows))
    figure.canvas.draw()
    with SummaryWriter(str(args.workdir)) as events:
        image = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
        events.add_image("gradient_by_lag", image, 0, dataformats="HWC")
        for name, share_T in shares_by_cell.items():
            for lag, share in enumerate(share_T):
                events.add_scalar(f"gradient_by_lag/{name}", share, lag)
    for name, share_T in shares_by_cell.items():
        reach = int(np.argmax(share_T < 0.01)) if (share_T < 0.01).any() else len(share_T)
        print(f"{name:<19} 1 % of the gradient is left after {reach} steps")


if __name__ == "__main__":
    main()

"""One process's share of the trials of the JSB protocol, in PyTorch, as its users would write it.

One piece per update, Nesterov momentum, noise on the inputs, the loss summed over time. After every
epoch the validation split is evaluated in one padded batch; at the end the test split is evaluated
with the best weights. `trials.py` starts these processes.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

NOTES = 88  # the keys of a piano, which are the features of the JSB chorales


def main(folder: str, part: str, parts: str, threads: str) -> None:
    """Trains the trials number part, part + parts, ...; prints each one's metrics as a JSON line.

    Args:
      folder: the folder of protocol.json and data.npz, which `trials.py` wrote.
      part, parts: which share of the trials, as text from the command line.
      threads: threads of this process.
    """
    import torch

    torch.set_num_threads(int(threads))
    protocol = json.loads((Path(folder) / "protocol.json").read_text())
    with np.load(Path(folder) / "data.npz") as content:
        data = {name: torch.from_numpy(content[name]) for name in content.files}
    for point in protocol["points"][int(part) :: int(parts)]:
        print(json.dumps(_train(torch, data, point, protocol["epochs"])), flush=True)


def _train(torch: Any, data: dict[str, Any], point: dict[str, Any], epochs: int) -> dict[str, Any]:
    torch.manual_seed(point["seed"])
    lstm = torch.nn.LSTM(NOTES, point["hidden"], batch_first=True)
    head = torch.nn.Linear(point["hidden"], NOTES)
    model = torch.nn.ModuleList([lstm, head])
    for weight in model.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.1)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=point["lr"], momentum=point["momentum"], nesterov=True
    )
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    # Cut to their length: one piece per update needs no padding.
    pieces = [
        (x[:length][None], y[:length][None])
        for x, y, length in zip(
            data["train_x"], data["train_y"], data["train_lengths"].tolist(), strict=True
        )
    ]

    def nll(split: str) -> float:
        x, y, lengths = (data[f"{split}_{name}"] for name in ("x", "y", "lengths"))
        with torch.no_grad():
            nll_BT = bce(head(lstm(x)[0]), y, reduction="none").sum(-1)
        real = torch.arange(x.shape[1])[None] < lengths[:, None]
        return float((nll_BT * real).sum() / real.sum())

    best, best_weights = float("inf"), model.state_dict()
    for _ in range(epochs):
        for k in torch.randperm(len(pieces)).tolist():
            x, y = pieces[k]
            noisy = x + point["noise"] * torch.randn_like(x)
            optimizer.zero_grad()
            bce(head(lstm(noisy)[0]), y, reduction="sum").backward()
            optimizer.step()
        valid = nll("valid")
        if valid < best:
            # A copy: `state_dict` refers to the weights that the next epoch changes.
            best, best_weights = valid, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return {**point, "valid": best, "test": nll("test")}


if __name__ == "__main__":
    main(*sys.argv[1:])

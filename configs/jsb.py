"""JSB chorales: which of 88 notes sound next (Boulanger-Lewandowski et al. 2012).

Command: lstm-lab train jsb:np
Time: 20 seconds on 2 CPU cores.
Score: test NLL 8.38 a frame, every frame counted from the first on; the notes' frequencies
alone give 11.060. Greff et al. 2017 report 8.38 as their best.
Data: lstm-lab data get jsb (also nottingham, musedata, piano_midi); downloaded at first use.

Words after the colon: `nottingham`, `musedata` or `piano_midi` for these collections, which are not
measured here (the notes' frequencies alone give 10.252, 11.510 and 11.046); a variant of the
catalogue, `stacked`, joined by commas. `bidirectional` sees the frame that it predicts: its score
means nothing.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks.datasets import music


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    listed = (words or "").split(",")
    collections = [word for word in listed if word in music.FILES]
    config = ConfigDict(
        {
            "task": {"name": "jsb", "collection": [*collections, "jsb"][0]},
            "model": {"cell": "np", "hidden": 100},
            "optim": {"name": "adam", "lr": 0.005, "clip": 5.0},
            "train": {
                "batch_size": 16,
                "epochs": 150,
                "patience": 15,
                "loss_reduction": "sum_time_mean_batch",
                # The longest piece is several times as long as most others.
                "bucket": True,
            },
        }
    )
    return shorthand.apply(config, ",".join(word for word in listed if word not in music.FILES))

"""MNIST pixel by pixel, 784 steps, in order or permuted (Le, Jaitly and Hinton 2015).

Command: lstm-lab train mnist:permuted
Time: six minutes on one CPU core for 10,000 images (--config.task.train_size=10000), by
that rate half an hour for all.
Score: permuted, with 10,000 images, test accuracy 0.633 (seed 0); for an LSTM of 100 units, all
images and many more epochs 0.989 in order and 0.902 permuted are published (Cooijmans et al. 2017).
Data: lstm-lab data get mnist; downloaded at first use.

Words after the colon: `permuted`; `rows` reads 28 rows of 28 pixels; a variant of the catalogue;
`bidirectional`; `stacked`; joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    listed = (words or "").split(",")
    config = ConfigDict(
        {
            "task": {
                "name": "mnist",
                "permuted": "permuted" in listed,
                "pixels_per_step": 28 if "rows" in listed else 1,
            },
            "model": {"cell": "lstm", "hidden": 100},
            "optim": {"name": "adam", "lr": 0.002, "clip": 1.0, "schedule": "cosine"},
            "train": {"batch_size": 128, "epochs": 10},
        }
    )
    rest = [word for word in listed if word not in ("permuted", "rows")]
    return shorthand.apply(config, ",".join(rest))

"""Whether the ones so far are odd, at every step, on longer sequences than those of training.

Command: lstm-lab train parity
Time: 15 seconds on 2 CPU cores.
Score: test accuracy 1.000 at 300 steps (seed 0); chance is 0.5.

Words after the colon: a variant of the catalogue, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "parity", "length": 30, "test_length": 300},
            "model": {"cell": "lstm", "hidden": 32},
            "optim": {"name": "adam", "lr": 0.01, "clip": 1.0, "schedule": "cosine"},
            "train": {"batch_size": 32, "steps": 2000},
        }
    )
    return shorthand.apply(config, words)

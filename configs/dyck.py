"""Brackets of four kinds: which one is closed, on longer sequences than those of training.

Command: lstm-lab train dyck
Time: 12 seconds on 2 CPU cores.
Score: test accuracy 0.987 on sequences twice as long (seed 0); whoever knows no kind has 0.625.

Words after the colon: a variant of the catalogue, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "dyck", "length": 40, "test_length": 80},
            "model": {"cell": "lstm", "hidden": 64},
            "optim": {"name": "adam", "lr": 0.005, "clip": 1.0, "schedule": "cosine"},
            "train": {"batch_size": 32, "steps": 3000},
        }
    )
    return shorthand.apply(config, words)

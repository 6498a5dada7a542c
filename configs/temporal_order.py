"""Temporal order (Hochreiter and Schmidhuber 1997): which of X and Y stood at two places.

Command: lstm-lab train temporal_order
Time: 50 seconds on one CPU core.
Score: test accuracy 1.000 (seed 0); chance is 0.25.

Words after the colon: a variant of the catalogue, `bidirectional`, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "temporal_order", "length": 100},
            "model": {"cell": "lstm", "hidden": 64},
            "optim": {"name": "adam", "lr": 0.005, "clip": 1.0},
            "train": {"batch_size": 50, "steps": 3000, "eval_every": 200},
        }
    )
    return shorthand.apply(config, words)

"""Counting (Gers and Schmidhuber 2001; Suzgun et al. 2019): the next symbols of a^n b^n c^n.

Command: lstm-lab train counter_language:lstm
Time: 10 seconds on 2 CPU cores.
Score: first failing n 132 (seed 0): every sequence up to n = 131 is right, n up to 50 in training.

Words after the colon: a variant of the catalogue, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "counter_language"},
            # PyTorch's initial weights, as in the authors' code: biases have no offset.
            "model": {"cell": "lstm", "hidden": 3, "init": "uniform", "forget_bias": 0.0},
            "optim": {"name": "rmsprop", "lr": 0.01, "beta2": 0.99, "clip": None},
            "train": {"batch_size": 1, "steps": 30_000, "eval_every": 1000},
        }
    )
    return shorthand.apply(config, words)

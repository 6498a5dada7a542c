"""The adding problem (Hochreiter and Schmidhuber 1997).

Command: lstm-lab train adding:lstm --config.task.length=100
Time: 25 seconds on 2 CPU cores.
Score: test MSE 0.0002; predicting 1 gives 0.1667.

Words after the colon: a variant of the catalogue, `bidirectional`, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "adding", "length": 100},
            "model": {"cell": "lstm", "hidden": 64},
            "optim": {"name": "adam", "lr": 0.005, "clip": 1.0},
            "train": {"batch_size": 50, "steps": 3000, "eval_every": 200},
        }
    )
    return shorthand.apply(config, words)

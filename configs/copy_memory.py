"""Copy memory (Arjovsky et al. 2016): repeat ten symbols after a delay.

Command: lstm-lab train copy_memory:lstm
Time: a minute on 2 CPU cores.
Score: test NLL 0.295 after 4,000 steps, and still falling; without memory it is
10 ln 8 / (delay + 20) = 0.4159.

Words after the colon: a variant of the catalogue, `bidirectional`, `stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    config = ConfigDict(
        {
            "task": {"name": "copy_memory", "delay": 30},
            "model": {"cell": "lstm", "hidden": 128},
            "optim": {"name": "adam", "lr": 0.003, "clip": 1.0},
            "train": {"batch_size": 64, "steps": 4000, "eval_every": 200},
        }
    )
    return shorthand.apply(config, words)

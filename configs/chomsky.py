"""A problem of the Chomsky hierarchy: trained up to length 40, tested at every length up to 500.

Command: lstm-lab train chomsky
Time: 20 to 55 seconds of CPU, by problem.
Score: test accuracy 1.000 at every length from 1 to 500, parity check (seed 0); chance is 0.5.

Words after the colon: a problem, a variant of the catalogue, `stacked`, joined by commas.
`lstm-lab train chomsky:reverse_string,gru` trains a GRU to reverse strings.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks.datasets.chomsky import PROBLEMS


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    listed = (words or "").split(",")
    problem = next((word for word in listed if word in PROBLEMS), "parity_check")
    config = ConfigDict(
        {
            "task": {"name": "chomsky", "problem": problem},
            "model": {"cell": "lstm", "hidden": 64},
            "optim": {"name": "adam", "lr": 0.01, "clip": 1.0, "schedule": "cosine"},
            # Not the accuracy: it is 1 long before the model is right on long sequences.
            "train": {"batch_size": 32, "steps": 10000, "eval_every": 1000, "metric": "nll"},
        }
    )
    return shorthand.apply(config, ",".join(word for word in listed if word not in PROBLEMS))

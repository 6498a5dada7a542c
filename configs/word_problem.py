"""Word problems of groups (Merrill et al. 2024): the product of all elements so far, at every step.

Command: lstm-lab train word_problem:lstm
Time: a minute of CPU time on one core.
Score: accuracy 0.986 at lengths up to 20, as in training, and 0.750 up to 100 (A5, seed 0); chance
is 1/60.

Words after the colon: a group, such as A5, S5, Z60 or A4xZ5; a variant of the catalogue,
`stacked`, joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    listed = (words or "").split(",")
    # Names of groups begin with a capital letter, and no other word does.
    groups = [word for word in listed if word[:1].isupper()]
    config = ConfigDict(
        {
            "task": {"name": "word_problem", "group": "A5", "length": 20, "test_length": 100},
            "model": {"cell": "lstm", "hidden": 128},
            "optim": {"name": "adam", "lr": 0.01, "clip": 1.0, "schedule": "cosine"},
            "train": {"batch_size": 64, "steps": 5000},
        }
    )
    for group in groups:
        config.task.group = group
    return shorthand.apply(config, ",".join(word for word in listed if word not in groups))

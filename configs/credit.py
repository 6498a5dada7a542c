"""Credit risk: the attributes of 1,000 applicants as sequences (Statlog, German credit).

Command: lstm-lab train credit
Time: 10 seconds on 2 CPU cores.
Score: mean AUC over the five folds 0.780; logistic regression, which each run prints, has 0.776.
Data: lstm-lab data get german_credit; downloaded at first use, from
https://archive.ics.uci.edu/dataset/144.

Words after the colon: tables of your own with a header, whose last column is the label: TRAIN,
TRAIN,TEST or TRAIN,VALID,TEST, as in credit:my.csv; a variant of the catalogue; `bidirectional`;
joined by commas. --config.task.label names another column.
`--config.task.fold=K` with --config.task.folds=5 makes part K the test split.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks import Table


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    files, words = shorthand.take_files(words)
    own = {"name": Table.name, **shorthand.split_options(files, Table.files)} if files else None
    known = {
        "name": Table.name,
        "file": "german_credit/german.csv",
        "header": False,
        "labels": ("1", "2"),  # good, bad
        "attributes": 20,
        "categories": 10,
        "folds": 5,
        "fold": 0,
    }
    config = ConfigDict(
        {
            "task": {**(own or known), "balanced": True},
            "model": {"cell": "lstm", "hidden": 16, "bidirectional": True},
            "optim": {"name": "adamw", "lr": 0.003, "weight_decay": 0.01},
            "train": {"batch_size": 32, "epochs": 60, "patience": 10},
        }
    )
    return shorthand.apply(config, words)

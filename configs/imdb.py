"""Sentiment of films' reviews: IMDB, Maas et al. 2011, 25,000 reviews to train and 25,000 to test.

Command: lstm-lab train imdb
Time: two to three minutes on 2 CPU cores.
Score: test accuracy 0.867 (mean of three seeds; bidirectional 0.865). By other protocols, Keras'
old bidirectional script gives 0.8146, and a model on Hugging Face 0.8778, as cited by others.
Data: lstm-lab data get imdb; downloaded at first use (84 MB) and converted to JSON lines with
`text` and `label`, 0 or 1 as the review is negative or positive.

Words after the colon: files of your own, tables with a header or JSON lines: TRAIN, TRAIN,TEST or
TRAIN,VALID,TEST, as in imdb:train.csv,test.csv; a variant of the catalogue; `bidirectional`;
`stacked`; joined by commas. --config.task.text and --config.task.label name the columns, where they
are not clear.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks import Text

IMDB = {
    "name": "text",
    "train": "imdb/train.jsonl.gz",
    "test": "imdb/test.jsonl.gz",
    "labels": ("0", "1"),
    "vocabulary": 10_000,
}


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    files, words = shorthand.take_files(words)
    own = {"name": Text.name, **shorthand.split_options(files, Text.files)} if files else None
    config = ConfigDict(
        {
            "task": {**(own or IMDB), "max_length": 300},
            "model": {"cell": "lstm", "hidden": 64, "embedding": 64},
            "optim": {"name": "adam", "lr": 0.002, "clip": 1.0},
            "train": {"batch_size": 64, "epochs": 6, "patience": 2, "bucket": True},
        }
    )
    return shorthand.apply(config, words)

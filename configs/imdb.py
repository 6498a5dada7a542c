"""Sentiment of films' reviews: IMDB, Maas et al. 2011, 25,000 reviews to train and 25,000 to test.

Command: lstm-lab train imdb
Time: two to three minutes on 2 CPU cores.
Score: test accuracy 0.867 (mean of three seeds; bidirectional 0.865); for its bidirectional example
Keras itself gives 0.815 and 0.878, in two older versions of the page.
Data: lstm-lab data get imdb; downloaded at first use (84 MB) and converted to JSON lines with
`text` and `label`, 0 or 1 as the review is negative or positive.

Words after the colon: a file of your own, CSV with a header or JSON lines, with columns `text` and
`label`, as in imdb:reviews.csv; a variant of the catalogue; `bidirectional`; `stacked`;
joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks.datasets import text_classification

IMDB = {
    "name": "text",
    "train": "imdb/train.jsonl.gz",
    "test": "imdb/test.jsonl.gz",
    "labels": ("0", "1"),
    "vocabulary": 10_000,
}


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    file, words = shorthand.take_file(words)
    config = ConfigDict(
        {
            "task": {**(text_classification.options(file) if file else IMDB), "max_length": 300},
            "model": {"cell": "lstm", "hidden": 64, "embedding": 64},
            "optim": {"name": "adam", "lr": 0.002, "clip": 1.0},
            "train": {"batch_size": 64, "epochs": 6, "patience": 2, "bucket": True},
        }
    )
    return shorthand.apply(config, words)

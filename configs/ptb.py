"""Penn Treebank by words: Zaremba, Sutskever and Vinyals 2014, the small model.

Command: lstm-lab train --config=configs/ptb.py
Time: 35 minutes on 2 CPU cores, by the first hundred steps.
Score: not measured yet; test perplexity 115.9 in the authors' log, 114.5 in the paper.
Data: ptb/ptb.{train,valid,test}.txt, downloaded, or under --data_dir or $LSTM_LAB_DATA.

Words after the colon: a text of your own, of words that white space separates, as in
configs/ptb.py:my.txt; a variant of the catalogue; `stacked`; joined by commas.
"""

from ml_collections import ConfigDict

from lstm_lab import shorthand
from lstm_lab.tasks import language

PTB = {
    "name": "language",
    "train": "ptb/ptb.train.txt",
    "valid": "ptb/ptb.valid.txt",
    "test": "ptb/ptb.test.txt",
    "vocabulary": 10_000,
}
EPOCH = 2323  # chunks of 20 words by 20 tracks


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    file, words = shorthand.take_file(words)
    config = ConfigDict(
        {
            "task": {**(language.options(file, "word") if file else PTB), "unroll": 20},
            "model": {
                "cell": "np",
                "hidden": 200,
                "layers": 2,
                "embedding": 200,
                "init": "uniform(0.1)",
            },
            "optim": {
                "name": "sgd",
                "lr": 1.0,
                "clip": 5.0,
                "schedule": "exponential",
                "decay_begin": 3 * EPOCH,
                "decay_steps": EPOCH,
                "decay_rate": 0.5,
                "staircase": True,
            },
            # Two devices would spend more on sharing gradients than the halves of a batch save.
            "compute": {"devices": 1},
            "train": {"batch_size": 20, "epochs": 13, "loss_reduction": "sum_time_mean_batch"},
        }
    )
    return shorthand.apply(config, words)

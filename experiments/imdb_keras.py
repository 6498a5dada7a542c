"""Keras' example of a bidirectional LSTM: sentiment of films' reviews, IMDB.

Command: lstm-lab reproduce imdb_keras
Data: as the config imdb.

Protocol of keras.io (examples/nlp/bidirectional_lstm_imdb.py): the 20,000 most frequent words, the
last 200 words of a review, an embedding of 128, two bidirectional layers of 64, Adam, two epochs of
all 25,000 reviews in batches of 32, and the accuracy on the 25,000 others at the end. Nothing is
chosen, so the reviews of the test split may be those of the validation, too: there is one
evaluation. What differs: words are separated by this project's rules; the padding of a short review
is not read, while Keras reads it as words; batches hold reviews of similar length; and the head has
two outputs instead of one (2,757,890 parameters instead of 2,757,761).
"""

from lstm_lab.configs.imdb import IMDB
from ml_collections import ConfigDict

from lstm_lab.studies import Reference, Reproduces, Study, grid

EPOCHS, BATCH, REVIEWS = 2, 32, 25_000


def get_config() -> ConfigDict:
    """Returns the config."""
    return ConfigDict(
        {
            "task": {**IMDB, "valid": IMDB["test"], "vocabulary": 20_000, "max_length": 200},
            "model": {
                "cell": "lstm",
                "hidden": 64,
                "layers": 2,
                "embedding": 128,
                "bidirectional": True,
            },
            "optim": {"name": "adam", "lr": 0.001, "clip": None},
            "train": {
                "batch_size": BATCH,
                "epochs": EPOCHS,
                # Once, at the end: an earlier epoch that is better does not count.
                "eval_every": EPOCHS * -(-REVIEWS // BATCH),
                "bucket": True,
            },
        }
    )


def get_study() -> Study:
    """Returns the study."""
    example = "keras.io, Bidirectional LSTM on IMDB"
    return Study(
        name="imdb_keras",
        title="Keras' bidirectional LSTM (IMDB)",
        base=get_config(),
        axes=(grid("model.cell", ("lstm",)),),
        seeds=(0, 1, 2, 3, 4),
        claims=(Reproduces("lstm", "accuracy", 0.8428, 0.02, example),),
        references=(
            Reference("the old script, one layer", 0.8146, "keras-team/keras, examples", "lstm"),
            Reference("another, after ten epochs", 0.8778, "keras-io on Hugging Face", "lstm"),
        ),
    )

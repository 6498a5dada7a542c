"""The next character of a text: Karpathy's char-rnn on tiny Shakespeare, or on a text of your own.

Command: lstm-lab train characters
Time: 9 minutes on 2 busy CPU cores.
Score: 2.34 bits a character (1.62 nats) on the last twentieth of the text, 2.10 (1.46) on the one
before, the validation part (seed 0).
Data: lstm-lab data get tinyshakespeare; downloaded at first use.

Words after the colon: texts of any language: TRAIN, TRAIN,TEST or TRAIN,VALID,TEST, as in
characters:my.txt; a variant of the catalogue; `stacked`; joined by commas.
`lstm-lab generate --workdir=DIR` generates text.
"""

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks import Language

SHAKESPEARE = {
    "name": "language",
    "train": "tinyshakespeare/input.txt",
    "unit": "character",
    "vocabulary": 66,
}


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    files, words = shorthand.take_files(words)
    own = {"name": Language.name, "unit": "character"}
    if files:
        own |= shorthand.split_options(files, Language.files)
    config = ConfigDict(
        {
            "task": {
                **(own if files else SHAKESPEARE),
                "unroll": 50,
                "eval_tracks": 10,
            },
            "model": {"cell": "lstm", "hidden": 128, "layers": 2},
            "optim": {"name": "adam", "lr": 0.004, "clip": 5.0, "schedule": "cosine"},
            "train": {"batch_size": 50, "epochs": 25},
        }
    )
    return shorthand.apply(config, words)

"""Penn Treebank by words: Zaremba, Sutskever and Vinyals 2014, and the recipes after them.

Command: lstm-lab train ptb
Time: 83 minutes on 2 busy CPU cores; about 35 on idle ones, estimated from the first steps.
Score: test perplexity 115.2 (seed 0); 115.91 in TensorFlow's tutorial, 115 in the
authors' repository, 114.5 in the paper.
Data: lstm-lab data get ptb; downloaded at first use.

Words after the colon: `medium` (published: 82.7) and `large` (78.4) of the same paper; `gal`, the
variational LSTM of Gal and Ghahramani 2016 (76.5); `awd`, the AWD-LSTM of Merity et al. 2018 (58.8
without fine-tuning): these four are for a GPU and not measured here. Texts of your own, of words
that white space separates: TRAIN, TRAIN,TEST or TRAIN,VALID,TEST, as in ptb:my.txt; a variant of
the catalogue; `stacked`; joined by commas.
"""

from typing import Any

from ml_collections import ConfigDict

from lstm_lab.config import shorthand
from lstm_lab.tasks import Language

PTB = {
    "name": "language",
    "train": "ptb/ptb.train.txt",
    "valid": "ptb/ptb.valid.txt",
    "test": "ptb/ptb.test.txt",
    "vocabulary": 10_000,
}
TRACKS = 20
WORDS_OF_A_TRACK = 929_588 // TRACKS


def zaremba(
    hidden: int, unroll: int, init: float, clip: float, epochs: int, full: int, fall: float
) -> dict[str, Any]:
    """Returns a model of the paper: its learning rate falls after each epoch from `full` on."""
    epoch = WORDS_OF_A_TRACK // unroll
    return {
        "task": {"unroll": unroll},
        "model": {
            "cell": "np",
            "hidden": hidden,
            "layers": 2,
            "embedding": hidden,
            "init": f"uniform({init})",
        },
        "optim": {
            "name": "sgd",
            "lr": 1.0,
            "clip": clip,
            "schedule": "exponential",
            "decay_begin": (full - 1) * epoch,
            "decay_steps": epoch,
            "decay_rate": fall,
            "staircase": True,
        },
        "train": {"epochs": epochs},
    }


def with_dropout(recipe: dict[str, Any], rate: float) -> dict[str, Any]:
    """Returns a recipe with dropout before, between and behind the layers."""
    rates = dict.fromkeys(("dropout_in", "dropout", "dropout_out"), rate)
    return {**recipe, "model": {**recipe["model"], **rates}}


# Its clipping, rate and weight decay are of a loss that is averaged over time, 70 steps; ours sums.
AWD_UNROLL = 70
RECIPES = {
    "small": zaremba(200, 20, 0.1, 5.0, 13, 4, 0.5),
    "medium": with_dropout(zaremba(650, 35, 0.05, 5.0, 39, 6, 1 / 1.2), 0.5),
    "large": with_dropout(zaremba(1500, 35, 0.04, 10.0, 55, 14, 1 / 1.15), 0.65),
    "gal": {
        "task": {"unroll": 35},
        "model": {
            "cell": "variational",
            "hidden": 1250,
            "layers": 2,
            "embedding": 1250,
            "init": "uniform(0.04)",
            "dropout_words": 0.3,
            "recurrent_dropout": 0.3,
            "dropout_in": 0.5,
            "dropout": 0.5,
            "dropout_out": 0.5,
            "locked": True,
        },
        "optim": {
            "name": "sgd",
            "lr": 1.0,
            "clip": 10.0,
            "weight_decay": 1e-7,
            "schedule": "exponential",
            "decay_begin": 13 * (WORDS_OF_A_TRACK // 35),
            "decay_steps": WORDS_OF_A_TRACK // 35,
            "decay_rate": 1 / 1.15,
            "staircase": True,
        },
        "train": {"epochs": 55},
    },
    "awd": {
        "task": {"unroll": AWD_UNROLL, "unroll_std": 5.0},
        "model": {
            "cell": "weightdrop",
            "hidden_sizes": (1150, 1150, 400),
            "embedding": 400,
            "tied": True,
            "init": "uniform",
            "weight_drop": 0.5,
            "dropout_words": 0.1,
            "dropout_in": 0.4,
            "dropout": 0.25,
            "dropout_out": 0.4,
            "locked": True,
        },
        "optim": {
            "name": "sgd",
            "lr": 30.0 / AWD_UNROLL,
            "clip": 0.25 * AWD_UNROLL,
            "weight_decay": 1.2e-6 * AWD_UNROLL,
            "average": 5,
        },
        "train": {"epochs": 500, "activation_reg": 2.0, "temporal_reg": 1.0},
    },
}


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    files, words = shorthand.take_files(words)
    own = {"name": Language.name, "unit": "word"}
    if files:
        own |= shorthand.split_options(files, Language.files)
    listed = (words or "").split(",")
    named = [word for word in listed if word in RECIPES] or ["small"]
    recipe = RECIPES[named[0]]
    config = ConfigDict(
        {
            "task": {**(own if files else PTB), **recipe["task"]},
            "model": recipe["model"],
            "optim": recipe["optim"],
            # Two devices would spend more on sharing gradients than the halves of a batch save.
            "compute": {"devices": 1},
            "train": {
                "batch_size": TRACKS,
                "loss_reduction": "sum_time_mean_batch",
                **recipe["train"],
            },
        }
    )
    return shorthand.apply(config, ",".join(word for word in listed if word not in RECIPES))

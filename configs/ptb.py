"""Penn Treebank by words: Zaremba, Sutskever and Vinyals 2014, and the recipes after them.

Command: lstm-lab train ptb
Time: 83 minutes on 2 busy CPU cores; about 35 on idle ones, estimated from the first steps.
Score: test perplexity 115.2 (seed 0); 115.91 in TensorFlow's tutorial, 115 in the
authors' repository, 114.5 in the paper.
Data: lstm-lab data get ptb; downloaded at first use.

Words after the colon: `medium` (published: 82.7) and `large` (78.4) of the same paper; `gal`, the
variational LSTM of Gal and Ghahramani 2016 (76.5 in their repository, for this model of 1,250
units; 75.2 in the paper, with 1,500); `awd`, the AWD-LSTM of Merity et al. 2018 (58.8 without
fine-tuning): these four are for a GPU and not measured here. Texts of your own, of words that white
space separates, whose length sets the schedule: TRAIN, TRAIN,TEST or TRAIN,VALID,TEST, as in
ptb:my.txt; a variant of the catalogue; `stacked`; joined by commas.
`--config.task.vocabulary=N` sets the number of words.
"""

from collections.abc import Callable
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
WORDS = 929_589  # of the training part


def zaremba(
    hidden: int,
    unroll: int,
    init: float,
    clip: float,
    epochs: int,
    full: int,
    fall: float,
    treebank: bool,
) -> dict[str, Any]:
    """Returns a model of the paper: its learning rate falls after each epoch from `full` on."""
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
            **falling(full - 1, unroll, fall, treebank),
        },
        "train": {"epochs": epochs},
    }


def falling(begin: int, unroll: int, fall: float, treebank: bool) -> dict[str, Any]:
    """Returns a schedule that falls once in each epoch: of the treebank, or of any other text."""
    # In updates for the treebank, as all published runs of this config count.
    epoch = (WORDS - 1) // TRACKS // unroll if treebank else 1
    return {
        "schedule": "exponential",
        "decay_unit": "update" if treebank else "epoch",
        "decay_begin": begin * epoch,
        "decay_steps": epoch,
        "decay_rate": fall,
        "staircase": True,
    }


def with_dropout(recipe: dict[str, Any], rate: float) -> dict[str, Any]:
    """Returns a recipe with dropout before, between and behind the layers."""
    rates = dict.fromkeys(("dropout_in", "dropout", "dropout_out"), rate)
    return {**recipe, "model": {**recipe["model"], **rates}}


def gal(treebank: bool) -> dict[str, Any]:
    """Returns the variational LSTM of Gal and Ghahramani 2016.

    Masks, decay and schedule are those of the authors' code (yaringal/BayesianRNN,
    main_new_dropout_SOTA.lua and its log: the learning rate is full for eleven epochs). Its gates
    have two biases, each from U(-0.04, 0.04), that SGD moves at the same time; here they have one.
    """
    return {
        "task": {"unroll": 35},
        "model": {
            "cell": "variational_untied",
            "hidden": 1250,
            "layers": 2,
            "embedding": 1250,
            "init": "uniform(0.04)",
            "forget_bias": 0.0,
            "dropout_words": 0.3,
            "dropout_words_per": "sequence",
            # Masks of the cells act on the inputs of both layers: no dropout in front of them.
            "recurrent_dropout": 0.3,
            "input_dropout": 0.5,
            "dropout_out": 0.5,
            "locked": True,
        },
        "optim": {
            "name": "sgd",
            "lr": 1.0,
            "clip": 10.0,
            "weight_decay": 1e-7,
            "weight_decay_on": "weights",
            **falling(10, 35, 1 / 1.15, treebank),
        },
        "train": {"epochs": 55},
    }


# Its clipping, rate and weight decay are of a loss that is averaged over time, 70 steps; ours sums.
AWD_UNROLL = 70


def awd(treebank: bool) -> dict[str, Any]:
    """Returns the AWD-LSTM of Merity et al. 2018; no part of it depends on the length."""
    del treebank
    return {
        "task": {"unroll": AWD_UNROLL, "unroll_std": 5.0},
        "model": {
            "cell": "weightdrop",
            "hidden_sizes": (1150, 1150, 400),
            "embedding": 400,
            "tied": True,
            "init": "uniform",
            "forget_bias": 0.0,
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
    }


# A function of whether the text is the treebank, whose epochs have a known length.
RECIPES: dict[str, Callable[[bool], dict[str, Any]]] = {
    "small": lambda treebank: zaremba(200, 20, 0.1, 5.0, 13, 4, 0.5, treebank),
    "medium": lambda treebank: with_dropout(
        zaremba(650, 35, 0.05, 5.0, 39, 6, 1 / 1.2, treebank), 0.5
    ),
    "large": lambda treebank: with_dropout(
        zaremba(1500, 35, 0.04, 10.0, 55, 14, 1 / 1.15, treebank), 0.65
    ),
    "gal": gal,
    "awd": awd,
}


def get_config(words: str | None = None) -> ConfigDict:
    """Returns the config, changed as the words say."""
    files, words = shorthand.take_files(words)
    task: dict[str, Any] = PTB
    if files:
        own = shorthand.split_options(files, Language.files)
        task = {"name": Language.name, "unit": "word", **own}
    listed = (words or "").split(",")
    named = [word for word in listed if word in RECIPES] or ["small"]
    # The text itself is read later; its schedule counts its epochs and not those of the treebank.
    recipe = RECIPES[named[0]](not files)
    config = ConfigDict(
        {
            "task": {**task, **recipe["task"]},
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

"""LSTM: A Search Space Odyssey (Greff et al. 2017), its study on the JSB chorales.

Nine variants, each with 200 random trials of its own over hidden size, learning rate, momentum and
input noise; a variant's best tenth on validation is compared on the test split.

Command: lstm-lab reproduce odyssey_jsb [--trials=N]
Data: jsb/JSB_Chorales.mat, downloaded, or under --data_dir or $LSTM_LAB_DATA.

Protocol, after the paper, quoted second-hand: one layer, weights from N(0, 0.1), one update for
each sequence with Nesterov momentum and a learning rate scaled by 1 - momentum, full
backpropagation through time, the loss summed over time, 150 epochs at most, stopped after 15
without a better validation loss.
"""

from ml_collections import ConfigDict

from lstm_lab.studies import (
    Best,
    Claim,
    Equivalent,
    LogUniform,
    Matters,
    SearchRange,
    Study,
    Trials,
    Tuning,
    Uniform,
    grid,
)

VARIANTS = ("vanilla", "nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr")
TRIALS = 200
MARGIN = 0.1  # nats a frame, about one hundredth of the score: no difference that matters


def get_config() -> ConfigDict:
    """Returns the config that all trials share."""
    return ConfigDict(
        {
            "task": {"name": "jsb"},
            "model": {"cell": "vanilla", "hidden": 100, "input_noise": 0.0},
            "optim": {
                "name": "sgd",
                "lr": 1e-3,
                "momentum": 0.9,
                "nesterov": True,
                "dampening": True,
                "clip": None,
            },
            "train": {
                "batch_size": 1,
                "epochs": 150,
                "patience": 15,
                "loss_reduction": "sum_time_mean_batch",
            },
            "compute": {"log_every": 229},
        }
    )


def get_study(trials: int = TRIALS) -> Study:
    """Returns the study; fewer trials are the first of those of more."""
    ranges: dict[str, SearchRange] = {
        "model.hidden": LogUniform(20, 200, integer=True),
        "optim.lr": LogUniform(1e-6, 1e-2),
        "optim.momentum": LogUniform(0.01, 1.0, one_minus=True),
        "model.input_noise": Uniform(0.0, 1.0),
    }
    return Study(
        name="odyssey_jsb",
        title="LSTM: A Search Space Odyssey, on the JSB chorales",
        base=get_config(),
        axes=(grid("model.cell", VARIANTS),),
        seeds=(),
        baseline="vanilla",
        tuning=Tuning(trials=Trials(trials, ranges, paired=False)),
        top=0.1,
        rope=MARGIN,
        claims=(
            *(Claim(better="vanilla", worse=name, alpha=0.025) for name in ("nfg", "noaf", "fgr")),
            *(Equivalent("vanilla", name, MARGIN) for name in ("nig", "nog", "niaf", "cifg", "np")),
            Best(8.38, MARGIN, "Greff et al. 2017, NIAF"),
            Matters("optim.lr", at_least=2 / 3),
            Matters("optim.momentum", at_most=0.01),
        ),
    )

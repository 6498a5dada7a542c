"""Twelve LSTM variants on handwritten digits read pixel by pixel.

The nine of Greff et al. 2017 (LSTM: A Search Space Odyssey), lstm, rnn and gru.

Command: make ablation, or lstm-lab sweep digits_ablation --jobs=2
Time: four to seven minutes on 2 CPU cores.

Every variant gets the same trials: three learning rates, two seeds each, over the first 12 epochs;
the mean of the best validation accuracy chooses the rate, ties going to the first. Five fresh seeds
then train at that rate for 40 epochs, and only those are compared on the test split.
"""

from lstm_lab.configs import digits

from lstm_lab.studies import Claim, Study, Tuning, grid

VARIANTS = (
    *("vanilla", "nig", "nfg", "nog", "niaf", "noaf", "cifg", "np", "fgr"),
    *("lstm", "rnn", "gru"),
)


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="digits_ablation",
        title="Twelve LSTM variants on digits read pixel by pixel",
        base=digits.get_config(),
        axes=(grid("model.cell", VARIANTS),),
        seeds=(100, 101, 102, 103, 104),
        baseline="vanilla",
        tuning=Tuning(
            axes=(grid("optim.lr", (0.008, 0.004, 0.016)),),
            seeds=(0, 1),
            overrides={"train.epochs": 12},
        ),
        claims=(Claim(better="np", worse="nfg"),),
    )

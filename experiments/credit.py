"""Credit risk, German credit: an LSTM over the attributes, compared with logistic regression.

Command: lstm-lab reproduce credit
Data: as the config credit.

Five-fold cross-validation; every run also reports the score of logistic regression on its fold. No
published figure is compared.
"""

from lstm_lab.configs import credit

from lstm_lab.studies import Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="credit",
        title="Credit risk (German credit), by cross-validation",
        base=credit.get_config(),
        axes=(grid("model.cell", ("lstm", "gru", "rnn")),),
        seeds=(0, 1, 2, 3, 4),
        folds=5,
        baseline="lstm",
    )

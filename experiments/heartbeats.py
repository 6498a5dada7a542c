"""Classes of heartbeats, ECG5000: one layer and two, by five-fold cross-validation.

Command: lstm-lab reproduce heartbeats
Data: as the config heartbeats.
"""

from lstm_lab.configs import heartbeats

from lstm_lab.studies import Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="heartbeats",
        title="Classes of heartbeats (ECG5000), by cross-validation",
        base=heartbeats.get_config(),
        axes=(grid("model.layers", (1, 2)),),
        seeds=(0, 1, 2, 3, 4),
        folds=5,
        baseline="1",
    )

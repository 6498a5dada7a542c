"""Spoken digits, log-mel frames at 8 kHz: both ways and forward, on the official split.

Command: lstm-lab reproduce spoken_digits
Data: fsdd/fsdd.tar.gz under --data_dir or $LSTM_LAB_DATA; see configs/spoken_digits.py.
"""

from lstm_lab.configs import spoken_digits

from lstm_lab.studies import Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="spoken_digits",
        title="Spoken digits (FSDD), official split",
        base=spoken_digits.get_config(),
        axes=(grid("model.bidirectional", (True, False)),),
        seeds=(0, 1, 2, 3, 4),
        baseline="bidirectional=False",
    )

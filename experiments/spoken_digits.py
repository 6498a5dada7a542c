"""Spoken digits, log-mel frames at 8 kHz: both ways and forward, on the official split.

Command: lstm-lab reproduce spoken_digits
Data: as the config spoken_digits.
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

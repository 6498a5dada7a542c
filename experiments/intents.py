"""Intents of requests, ATIS: what a sentence asks for, from its last state.

Command: lstm-lab reproduce intents
Data: as the config tags.
"""

from lstm_lab.configs import tags

from lstm_lab.studies import Study, grid


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="intents",
        title="Intents of requests (ATIS)",
        base=tags.get_config("intent"),
        axes=(grid("model.bidirectional", (True, False)),),
        seeds=(0, 1, 2, 3, 4),
        baseline="bidirectional=False",
    )

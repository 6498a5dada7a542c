"""Slots of requests, ATIS: an LSTM that reads both ways, and one that reads forward.

Command: lstm-lab reproduce slots
Data: as the config tags.
"""

from lstm_lab.configs import tags

from lstm_lab.studies import Claim, Reference, Scores, Study, grid

FORWARD, BOTH = "bidirectional=False", "bidirectional=True"


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="slots",
        title="Slots of requests (ATIS)",
        base=tags.get_config(),
        axes=(grid("model.bidirectional", (True, False)),),
        seeds=(0, 1, 2, 3, 4),
        baseline=FORWARD,
        claims=(
            Scores(BOTH, "span_f1", at_least=0.94, source="LSTMs, 0.946 to 0.958 published"),
            Claim(better=BOTH, worse=FORWARD),
        ),
        references=(
            Reference("LSTM, lowest published", 0.946, "several papers, second-hand", BOTH),
            Reference("LSTM, highest published", 0.958, "several papers, second-hand", BOTH),
        ),
    )

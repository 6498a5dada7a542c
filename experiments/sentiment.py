"""Sentiment of films' reviews, IMDB: an LSTM that reads forward, and one that reads both ways.

Command: lstm-lab reproduce sentiment
Data: as the config imdb.
"""

from lstm_lab.configs import imdb

from lstm_lab.studies import Reference, Scores, Study, grid

FORWARD, BOTH = "bidirectional=False", "bidirectional=True"
KERAS = "keras.io, older versions of the page"


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="sentiment",
        title="Sentiment of films' reviews (IMDB)",
        base=imdb.get_config(),
        axes=(grid("model.bidirectional", (False, True)),),
        seeds=(0, 1, 2),
        baseline=FORWARD,
        claims=tuple(Scores(name, "accuracy", at_least=0.85) for name in (FORWARD, BOTH)),
        references=(
            Reference("bidirectional example, lowest", 0.815, KERAS, BOTH),
            Reference("bidirectional example, highest", 0.878, KERAS, BOTH),
        ),
    )

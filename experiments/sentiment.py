"""Sentiment of films' reviews, IMDB: an LSTM that reads forward, and one that reads both ways.

Command: lstm-lab reproduce sentiment
Data: as the config imdb.
"""

from lstm_lab.configs import imdb

from lstm_lab.studies import Reference, Scores, Study, grid

FORWARD, BOTH = "bidirectional=False", "bidirectional=True"
# Other protocols: one layer, four epochs; ten epochs, as cited by others.
KERAS = "keras-team/keras, old example script, 4 epochs"
HUGGING_FACE = "keras-io on Hugging Face, 10 epochs, second-hand"


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
            Reference("Keras, bidirectional, another protocol", 0.8146, KERAS, BOTH),
            Reference("the same on Hugging Face", 0.8778, HUGGING_FACE, BOTH),
        ),
    )

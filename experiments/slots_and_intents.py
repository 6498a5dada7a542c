"""Slots and intents of requests by one model, ATIS.

Command: lstm-lab reproduce slots_and_intents
Data: as the config tags.

One bidirectional LSTM tags the words of a sentence and, at its end, tells the intent (Hakkani-Tür
et al. 2016). Sentences with several intents have a class of their own; others count a sentence as
right if the model finds one of them.
"""

from lstm_lab.configs import tags

from lstm_lab.studies import Reference, Reproduces, Study, grid

# Second-hand, from repositories that compare their models with a BiLSTM.
SOURCE = "BiLSTM, several repositories, second-hand"


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="slots_and_intents",
        title="Slots and intents of requests by one model (ATIS)",
        base=tags.get_config("both"),
        axes=(grid("model.cell", ("lstm",)),),
        seeds=(0, 1, 2, 3, 4),
        claims=(
            Reproduces("lstm", "span_f1", 0.9508, 0.01, SOURCE),
            Reproduces("lstm", "last_accuracy", 0.9462, 0.02, SOURCE),
        ),
        references=(
            Reference("BiLSTM, F1 of slots", 0.9508, SOURCE, "lstm"),
            Reference("slot-gated, F1 of slots", 0.952, "Goo et al. 2018, second-hand", "lstm"),
        ),
    )

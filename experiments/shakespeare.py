"""Tiny Shakespeare by characters, scored on the tenth of the text on which nanoGPT is scored.

Command: lstm-lab reproduce shakespeare
Data: as the config characters.

nanoGPT trains on nine tenths of the text and reports the loss on the last tenth, at the best of its
evaluations there. Here, the last tenth is the test alone: the twentieth before it chooses the
weights, and the rest trains. nanoGPT reads windows of 64 or 256 characters at random places; here,
ten tracks are read from their beginning to their end.
"""

from lstm_lab.configs import characters

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Reference, Scores, Study, grid

SOURCE = "karpathy/nanoGPT, readme"


def get_study() -> Study:
    """Returns the study."""
    config = characters.get_config()
    split = {"task.test_share": 0.1, "task.valid_share": 0.05, "train.metric": "nll"}
    return Study(
        name="shakespeare",
        title="Tiny Shakespeare by characters, nanoGPT's last tenth (nats)",
        base=with_values(config, {**split, "train.epochs": 10}),
        axes=(grid("model.cell", ("lstm",)),),
        seeds=(0, 1, 2, 3, 4),
        claims=(
            Scores("lstm", "nll", at_most=1.88, source=f"{SOURCE}: transformer, 3 min of CPU"),
        ),
        references=(
            Reference("transformer, 0.8 million weights, CPU", 1.88, SOURCE, "lstm"),
            Reference("transformer, 10 million weights, GPU", 1.4697, SOURCE, "lstm"),
        ),
    )

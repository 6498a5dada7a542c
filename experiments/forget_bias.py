"""The forget bias alone: adding by length, with one cell and an equally tuned learning rate.

Command: lstm-lab reproduce forget_bias

Nothing but the initial bias of the forget gate differs between the variants of a length: cell,
initial weights, data and tuning budget are the same. Predicting 1 always gives an error of 0.1667.
"""

from lstm_lab.configs import adding
from lstm_lab.experiments.long_memory import BUDGET

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Claim, Study, Tuning, grid

BIASES = (0.0, 1.0, 3.0)
LENGTHS = (50, 100, 200)
ALPHA = 0.05 / 4  # four claims


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="forget_bias",
        title="The initial bias of the forget gate, on adding",
        base=with_values(adding.get_config(), {**BUDGET, "model.cell": "lstm"}),
        axes=(grid("model.forget_bias", BIASES), grid("task.length", LENGTHS)),
        seeds=(0, 1, 2, 3, 4),
        tuning=Tuning(axes=(grid("optim.lr", (0.001, 0.003, 0.01)),), seeds=(100,)),
        claims=tuple(
            Claim(
                better=f"forget_bias={bias} length={length}",
                worse=f"forget_bias=0.0 length={length}",
                alpha=ALPHA,
            )
            for bias in BIASES[1:]
            for length in LENGTHS[1:]
        ),
    )

"""What two details of the evaluation change in the Odyssey's scores on the JSB chorales.

Command: lstm-lab reproduce odyssey_evaluation
Data: as the study odyssey_jsb.

The Odyssey's framework (brainstorm) evaluates the weights before Nesterov's momentum looks ahead,
and averages errors over pieces. The study odyssey_jsb evaluates the weights at the look-ahead, and
averages over frames. Here, the same runs are evaluated in both ways: variants with the same seed
and cell differ only in the evaluated weights, and every run has both averages (nll, piece_nll).
"""

from lstm_lab.experiments.odyssey_jsb import MARGIN, get_config

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Equivalent, Study, grid

CELLS = ("vanilla", "nfg")
# Rounded from those of the best trials.
SETTINGS = {
    "model.hidden": 70,
    "model.input_noise": 0.15,
    "optim.lr": 0.005,
    "optim.momentum": 0.95,
}


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="odyssey_evaluation",
        title="Two details of the Odyssey's evaluation, on the JSB chorales",
        base=with_values(get_config(), SETTINGS),
        axes=(grid("model.cell", CELLS), grid("optim.evaluate_at", ("lookahead", "position"))),
        seeds=(0, 1, 2, 3, 4),
        claims=tuple(
            Equivalent(
                f"cell={cell} evaluate_at=lookahead",
                f"cell={cell} evaluate_at=position",
                margin=MARGIN,
                alpha=0.05 / len(CELLS),
            )
            for cell in CELLS
        ),
    )

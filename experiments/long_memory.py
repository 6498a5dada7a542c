"""What the studies of long memory share: five cells, trained at several lengths, tested at one.

Every cell gets the same tuning at every length: four learning rates on one seed. Five new seeds are
compared. Learning rates and checkpoints are chosen by the validation loss, since several of them
often reach an accuracy of 1.
"""

from typing import Literal

from ml_collections import ConfigDict

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Study, Tuning, grid

RATES = (0.001, 0.003, 0.01, 0.03)
CELLS = ("np", "peephole", "chrono", "rnn", "slstm")
BUDGET = {
    "model.hidden": 32,
    "train.batch_size": 32,
    "train.steps": 2000,
    "train.eval_every": 200,
}


def memory(
    name: str,
    title: str,
    config: ConfigDict,
    lengths: tuple[int, ...],
    tested: int,
    of: Literal["length", "delay"] = "length",
    score: Literal["accuracy", "mse", "nll"] = "accuracy",
) -> Study:
    """Returns a study of cells by lengths.

    Args:
      name, title: of the study.
      config: of the task.
      lengths: at which models are trained and validated.
      tested: length of the test split's sequences.
      of: what has these lengths.
      score: the test metric that ranks the variants.
    """
    loss = "nll" if score == "accuracy" else score
    return Study(
        name=name,
        title=title,
        base=with_values(config, {**BUDGET, f"task.test_{of}": tested, "train.metric": loss}),
        axes=(
            grid("model.cell", CELLS),
            grid(f"task.{of}", lengths),
            grid("model.init", (f"chrono({max(lengths)})",), when={"model.cell": "chrono"}),
        ),
        seeds=(0, 1, 2, 3, 4),
        test_metric=score,
        tuning=Tuning(axes=(grid("optim.lr", RATES),), seeds=(100,)),
    )

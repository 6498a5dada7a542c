"""What the studies of long memory share: five cells, trained at several lengths, tested at one."""

from ml_collections import ConfigDict

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Study, grid

CELLS = ("np", "peephole", "chrono", "rnn", "slstm")
BUDGET = {
    "model.hidden": 32,
    "train.batch_size": 32,
    "train.steps": 2000,
    "train.eval_every": 200,
}


def memory(
    name: str, title: str, config: ConfigDict, lengths: tuple[int, ...], tested: int, of: str
) -> Study:
    """Returns a study of cells by lengths.

    Args:
      name, title: of the study.
      config: of the task.
      lengths: at which models are trained and validated.
      tested: length of the test split's sequences.
      of: what has these lengths, `length` or `delay`.
    """
    return Study(
        name=name,
        title=title,
        base=with_values(config, {**BUDGET, f"task.test_{of}": tested}),
        axes=(
            grid("model.cell", CELLS),
            grid(f"task.{of}", lengths),
            grid("model.init", (f"chrono({max(lengths)})",), when={"model.cell": "chrono"}),
        ),
        seeds=(0, 1, 2),
    )

"""Which cells track the state of a group: word problems of Z60, A4xZ5, A5 and S5.

Command: lstm-lab reproduce word_problems
Time: an hour on two cores that did other work too, from 8 minutes (Z60) to 24 (S5) for a group,
estimated from the times of the runs.

After Merrill, Petty and Sabharwal 2024, The illusion of state in state-space models. Six cells of
128 units are trained at 20 elements and tested at every length up to 500. Each variant gets the
same tuning: three learning rates on one seed; five new seeds are compared. The state of minlstm is
multiplied by gates that read the input alone. One layer of such a diagonal recurrence cannot track
the state of a group that is not abelian, at finite precision (Shakerinava et al. 2026, arXiv
2603.01959), so the claims expect that lstm, rnn, gru and
slstm are better on A5.
"""

from lstm_lab.configs import word_problem

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Claim, Study, Tuning, grid

GROUPS = ("Z60", "A4xZ5", "A5", "S5")
CELLS = ("lstm", "rnn", "gru", "slstm", "janet", "minlstm")
CLAIMED = ("lstm", "rnn", "gru", "slstm")
SIZES = {"task.test_length": 500, "task.test_size": 300}
# Several learning rates and checkpoints may reach an accuracy of 1 at the trained length.
CHOSEN_BY = {"train.metric": "nll"}


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="word_problems",
        title="Word problems of groups, trained at 20 elements and tested up to 500",
        base=with_values(word_problem.get_config(), {**SIZES, **CHOSEN_BY}),
        axes=(grid("task.group", GROUPS), grid("model.cell", CELLS)),
        seeds=(0, 1, 2, 3, 4),
        test_metric="accuracy",
        tuning=Tuning(axes=(grid("optim.lr", (0.003, 0.01, 0.03)),), seeds=(100,)),
        claims=tuple(
            Claim(
                better=f"group=A5 cell={cell}",
                worse="group=A5 cell=minlstm",
                alpha=0.05 / len(CLAIMED),
            )
            for cell in CLAIMED
        ),
    )

"""The Chomsky hierarchy: fifteen problems, seven cells, tested on lengths far beyond training.

Command: lstm-lab reproduce chomsky --jobs=2
Time: 109 minutes on two cores, which did other work for half of that time; 840 runs.

Trained on lengths 1 to 40, tested on lengths 41 to 500; the score is the mean of the accuracies at
these lengths. The budget is far smaller than that of the paper, 1,000,000 steps of 128 sequences
with 256 units, and the best of ten seeds and three learning rates: here 10,000 steps of 32
sequences with 64 units, and the mean of five seeds after a learning rate was chosen on another one.
"""

from lstm_lab.configs import chomsky

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Claim, Reference, Scores, Study, Tuning, grid
from lstm_lab.tasks.datasets.chomsky import PROBLEMS

CELLS = ("rnn", "lstm", "peephole", "gru", "slstm", "minlstm", "janet")
BUDGET = {"train.steps": 10_000, "task.test_per_length": 4}
# Of the LSTM, in percent. Figures that could not be confirmed are left out.
PUBLISHED = {
    **{"even_pairs": 100.0, "modular_arithmetic": 100.0},
    **{"parity_check": 100.0, "cycle_navigation": 100.0},
    **{"stack_manipulation": 59.1, "reverse_string": 60.9},
    **{"duplicate_string": 57.6, "odds_first": 55.6},
}
SOURCE = "Deletang et al. 2023, second-hand"
# A score from which on the paper takes a problem for solved.
SOLVED = 0.9


def label(problem: str, cell: str) -> str:
    """Returns the name of a variant."""
    return f"problem={problem} cell={cell}"


def claims() -> tuple[Scores | Claim, ...]:
    """Returns what the published figures say about the LSTM, and one claim about a linear cell."""
    solved = {name: value / 100 >= SOLVED for name, value in PUBLISHED.items()}
    scores = tuple(
        Scores(
            label(name, "lstm"),
            "long_accuracy",
            at_least=SOLVED if is_solved else None,
            at_most=None if is_solved else SOLVED,
            source=SOURCE,
        )
        for name, is_solved in solved.items()
    )
    # Its state changes by a factor between 0 and 1 that the state does not influence, so that it
    # cannot change a sign with each 1.
    return (*scores, Claim(label("parity_check", "lstm"), label("parity_check", "minlstm")))


def get_study() -> Study:
    """Returns the study."""
    levels = dict.fromkeys(problem.level for problem in PROBLEMS.values())
    return Study(
        name="chomsky",
        title="The Chomsky hierarchy, by cell",
        base=with_values(chomsky.get_config(), BUDGET),
        axes=(grid("task.problem", tuple(PROBLEMS)), grid("model.cell", CELLS)),
        seeds=(0, 1, 2, 3, 4),
        tuning=Tuning(axes=(grid("optim.lr", (0.001, 0.003, 0.01)),), seeds=(100,)),
        test_metric="long_accuracy",
        groups={
            f"{level}, {cell}": tuple(
                label(name, cell) for name, problem in PROBLEMS.items() if problem.level == level
            )
            for level in levels
            for cell in CELLS
        },
        claims=claims(),
        references=tuple(
            Reference(f"{name}, LSTM", value / 100, SOURCE, variant=label(name, "lstm"))
            for name, value in PUBLISHED.items()
        ),
    )

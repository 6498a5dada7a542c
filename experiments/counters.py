"""How far an LSTM of three units counts: a^n b^n c^n, by the distribution of n in training.

Command: lstm-lab reproduce counters

After Suzgun, Belinkov and Shieber 2019, On evaluating the generalization of LSTM models in formal
languages: three hidden units, n from 1 to 50, RMSprop with a learning rate of 0.01, one update for
each sequence, ten seeds. Settings and distributions are those of the authors' code,
suzgunmirac/lstm-eval (main.py, model.py, sample_generator.py). Every run has 150,000 updates, as
many as their 150 epochs of 1,000 sequences. The published figures are second-hand: the means of ten
runs in the repository's raw results, whose epoch is not known here.

What differs: the loss is the cross-entropy of each symbol, summed over the four symbols, theirs is
the squared error of the probabilities; sequences are drawn anew instead of 1,000 once; the weights
are those of the best validation loss (n from the same distribution as in training).
"""

from lstm_lab.configs import counter_language

from lstm_lab.config.parsing import with_values
from lstm_lab.studies import Reference, Scores, Study, grid

LARGEST_N = 50  # of training
SOURCE = "suzgunmirac/lstm-eval, raw results, second-hand"
PUBLISHED = {"uniform": 145.9, "u_shaped": 106.1, "right_tailed": 81.2}


def get_study() -> Study:
    """Returns the study."""
    return Study(
        name="counters",
        title="Counting a^n b^n c^n with three units, by the distribution of n",
        base=with_values(counter_language.get_config(), {"train.steps": 150_000}),
        axes=(grid("task.distribution", tuple(PUBLISHED)),),
        seeds=tuple(range(10)),
        baseline="uniform",
        test_metric="first_failing_n",
        claims=tuple(
            # Every sequence of a length that training has is accepted, in every run.
            Scores(name, "first_failing_n", at_least=LARGEST_N + 1, source=f"mean {mean}, {SOURCE}")
            for name, mean in PUBLISHED.items()
        ),
        references=tuple(
            Reference(f"LSTM, 3 units, {name}", mean, SOURCE, name)
            for name, mean in PUBLISHED.items()
        ),
    )

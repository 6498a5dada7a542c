"""The task: a question in symbols, then one blank for each symbol of the answer.

In: the name of a problem and the longest question. Out: training examples, generated on the device;
validation with the same lengths; a test with every length up to a far larger one. Read problem.py
for what a problem is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks.base import Categorical, Dataset, Direction, Task, Tokens
from lstm_lab.tasks.datasets.chomsky.context_free import CONTEXT_FREE
from lstm_lab.tasks.datasets.chomsky.context_sensitive import CONTEXT_SENSITIVE
from lstm_lab.tasks.datasets.chomsky.problem import Problem
from lstm_lab.tasks.datasets.chomsky.regular import REGULAR
from lstm_lab.tasks.datasets.synthetic import check_sizes, split_keys
from lstm_lab.tasks.examples import IGNORE_INDEX, Examples, Stored
from lstm_lab.utils.curve import Curve
from lstm_lab.utils.errors import UserError

PROBLEMS = {problem.name: problem for problem in (*REGULAR, *CONTEXT_FREE, *CONTEXT_SENSITIVE)}
Name = Literal[
    "even_pairs",
    "modular_arithmetic",
    "parity_check",
    "cycle_navigation",
    "stack_manipulation",
    "reverse_string",
    "modular_arithmetic_brackets",
    "solve_equation",
    "duplicate_string",
    "missing_duplicate",
    "odds_first",
    "binary_addition",
    "binary_multiplication",
    "compute_sqrt",
    "bucket_sort",
]


@dataclass(frozen=True)
class Chomsky(Task):
    """A problem of Deletang et al.: trained on short questions, tested on far longer ones.

    A sequence is a question, and then as many blanks as the answer has symbols; at each blank the
    target is a symbol of the answer, and there is no target elsewhere. The length of a training
    question is uniform from 1 to `length`. The test has the same number of questions of each length
    from 1 to `test_length`; `long_accuracy` is the mean of the accuracies at the lengths above
    `length`, all with the same weight, which is the score of the paper.

    Differences to the authors' code: every sequence of a batch has a length of its own, theirs
    share one; what follows the end of an answer (stack, addition, multiplication) counts neither in
    the accuracy, as there, nor in the loss.

    Attributes:
      problem: the problem.
      length: the longest question of training and validation.
      test_length: the longest question of the test.
      test_per_length: number of test questions of each length; the paper has 512.
      valid_size: number of validation examples.
      split_seed: seed of the fixed splits, the same for all runs.

    Example:
      task = Chomsky("reverse_string", length=3)
      task.sample(jax.random.key(1)).x  # such as [0, 1, 2, 2, 0, 0]: two bits and two blanks

    Source: Deletang et al. 2023, Neural networks and the Chomsky hierarchy, section 4 and their
    code.
    """

    problem: Name = "parity_check"
    length: int = 40
    test_length: int = 500
    test_per_length: int = 8
    valid_size: int = 1000
    split_seed: int = 0

    name: ClassVar[str] = "chomsky"
    metric: ClassVar[str] = "accuracy"
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"long_accuracy": "max"}
    curve_names: ClassVar[tuple[str, ...]] = ("accuracy_by_length",)

    def __post_init__(self) -> None:
        check_sizes(self.length, 1, self.valid_size, self.test_per_length)
        if self.test_length <= self.length:
            raise ValueError(
                f"test_length: got {self.test_length}, expected more than length={self.length}"
            )

    @property
    def inputs(self) -> Tokens:
        """The symbols of questions, and the blank."""
        return Tokens(self._problem.symbols + 1)

    @property
    def target(self) -> Categorical:
        """The symbols of answers."""
        return Categorical(self._problem.answers, every_step=True)

    @property
    def _problem(self) -> Problem:
        return PROBLEMS[self.problem]

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T], T being that of the longest question."""
        key_length, key = jax.random.split(key)
        n = jax.random.randint(key_length, (), 1, self.length + 1)
        return draw_sequence(self._problem, key, n, self.length)

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        del data_dir
        size, tested = self.valid_size, self.test_lengths
        (key,) = split_keys(self.split_seed, 2, 1)
        lengths = jax.random.randint(key, (size,), 1, self.length + 1)
        keys = (split_keys(self.split_seed, k, n) for k, n in enumerate((size, len(tested))))
        # Both at once: compiling a sampler takes longer than drawing.
        drawn = _draw_rows(
            self._problem,
            jnp.concatenate([*keys]),
            jnp.concatenate([lengths, jnp.asarray(tested)]),
            self.test_length,
        )
        x, y, ends = (np.asarray(array) for array in (drawn.x, drawn.y, drawn.lengths))
        T = self.length + int(self._problem.answer_length(self.length))
        return Dataset(
            {
                "valid": Examples(x[:size, :T], y[:size, :T], ends[:size]),
                "test": Examples(x[size:], y[size:], ends[size:]),
            }
        )

    @property
    def test_lengths(self) -> np.ndarray:
        """The length of the question of each test example, int32."""
        return np.repeat(np.arange(1, self.test_length + 1, dtype=np.int32), self.test_per_length)

    def accuracy_by_length(self, outputs: np.ndarray, test: Stored) -> np.ndarray:
        """Returns the share of right symbols for each length [test_length].

        Args:
          outputs: logits of the test split [N,T,C].
          test: the test split.
        """
        y = test.take(np.arange(test.rows)).y
        counted = y != IGNORE_INDEX
        right = (outputs.argmax(-1) == y) & counted
        sums = (part.sum(1).reshape(-1, self.test_per_length).sum(1) for part in (right, counted))
        return np.divide(*sums)

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the mean of the accuracies at all lengths above the trained ones."""
        accuracies = self.accuracy_by_length(outputs, test)
        return {"long_accuracy": float(accuracies[self.length :].mean())}

    def final_curves(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, Curve]:
        """Returns the accuracy at each length of the question."""
        y = tuple(self.accuracy_by_length(outputs, test).tolist())
        x = tuple(range(1, self.test_length + 1))
        curve = Curve("length", "accuracy", x, y, self.length, "longest trained length")
        return {"accuracy_by_length": curve}

    def read_line(self, line: str, preprocessing: Mapping[str, Any]) -> np.ndarray:
        """Reads the symbols of a question as numbers, and adds the blanks of its answer."""
        x = super().read_line(line, preprocessing)
        blank = self._problem.symbols
        if (x == blank).any():
            raise UserError(
                f"input: got {blank}, the blank; expected a question without its blanks"
            )
        return np.append(x, np.full(self._problem.answer_length(len(x)), blank, np.int32))

    def describe_prediction(
        self, x: np.ndarray, outputs: np.ndarray, preprocessing: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Converts the outputs at the blanks: the answer."""
        return super().describe_prediction(x, outputs[x == self._problem.symbols], preprocessing)


def draw_sequence(problem: Problem, key: jax.Array, n: jax.Array, most: int) -> Examples:
    """Draws one example: a question and blanks, and targets at the blanks.

    Args:
      problem: the problem.
      key: the key.
      n: the length that is asked for, from 1 to `most`.
      most: the largest length, which sets the number of steps T.
    """
    n = jnp.asarray(problem.question_length(n))
    x, y = problem.sample(key, n, most)
    steps = jnp.arange(most + y.shape[0])
    end = n + problem.answer_length(n)
    asking, answering = steps < n, (steps >= n) & (steps < end)
    x_T = jnp.where(
        answering, problem.symbols, jnp.where(asking, x[jnp.minimum(steps, most - 1)], 0)
    )
    y_T = jnp.where(answering, y[jnp.clip(steps - n, 0, y.shape[0] - 1)], IGNORE_INDEX)
    return Examples(x_T.astype(jnp.int32), y_T.astype(jnp.int32), end.astype(jnp.int32))


# The problem is static: equal ones share a compiled program, also over the runs of a study.
@partial(jax.jit, static_argnums=(0, 3))
def _draw_rows(problem: Problem, keys: jax.Array, lengths: jax.Array, most: int) -> Examples:
    return jax.vmap(lambda key, n: draw_sequence(problem, key, n, most))(keys, lengths)

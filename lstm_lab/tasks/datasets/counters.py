"""Counter languages a^n b^n, a^n b^n c^n and a^n b^n c^n d^n: which symbols may come next.

In: n, drawn in training from one of four distributions. Out: the sequence, and at every step the
set of symbols that may follow. The test has each n from 1 to `test_n` once, so it shows up to which
n a model counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.tasks.base import Bernoulli, Dataset, Direction, Task, Tokens
from lstm_lab.tasks.datasets.synthetic import check_sizes, fixed_split
from lstm_lab.tasks.examples import Examples, Stored
from lstm_lab.utils.curve import Curve

Distribution = Literal["uniform", "u_shaped", "left_tailed", "right_tailed"]

# Of n - min_n: the parameters of the beta-binomial distribution, as in the authors' code. The name
# of a tail says where probability is low: `right_tailed` has mostly small n.
SHAPES: dict[Distribution, tuple[float, float]] = {
    "uniform": (1.0, 1.0),
    "u_shaped": (0.25, 0.25),
    "left_tailed": (5.0, 1.0),
    "right_tailed": (1.0, 5.0),
}


@dataclass(frozen=True)
class CounterLanguage(Task):
    """The symbols that may come next in a^n b^n c^n: a or b after an a, then exactly one.

    The target is a set, one binary number for each symbol and one for the end. After an a, nothing
    tells n; from the first b on, a model that has counted knows each next symbol, and when the
    sequence ends. A sequence is accepted if the sets of all its steps are right, with a threshold
    of 0.5 on each probability.

    Final metric `first_failing_n`: the smallest n whose sequence is not accepted, in the order 1,
    2, 3, ...; test_n + 1 if all are accepted. It is the e_1 of the paper.

    Attributes:
      symbols: 2 for a^n b^n, 3 for a^n b^n c^n, 4 for a^n b^n c^n d^n.
      distribution: of n in training and validation over min_n to max_n, beta-binomial: uniform,
        u_shaped, left_tailed or right_tailed.
      min_n, max_n: the smallest and the largest n of training and validation.
      test_n: the test has the sequences of n = 1, 2, ..., test_n.
      valid_size: number of validation examples.
      split_seed: seed of the validation split, the same for all runs.

    Example:
      example = CounterLanguage(symbols=2, min_n=2, max_n=2).sample(jax.random.key(0))
      example.x  # [0, 0, 1, 1]: a a b b
      example.y  # [[1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]]

    Source: Gers and Schmidhuber 2001; distributions and e_1 of Suzgun, Belinkov and Shieber 2019,
    On evaluating the generalization of LSTM models in formal languages, and their code,
    suzgunmirac/lstm-eval.
    """

    symbols: Literal[2, 3, 4] = 3
    distribution: Distribution = "uniform"
    min_n: int = 1
    max_n: int = 50
    test_n: int = 300
    valid_size: int = 1000
    split_seed: int = 0

    name: ClassVar[str] = "counter_language"
    metric: ClassVar[str] = "nll"
    final_metric_directions: ClassVar[Mapping[str, Direction]] = {"first_failing_n": "max"}
    curve_names: ClassVar[tuple[str, ...]] = ("accepted_by_n",)

    def __post_init__(self) -> None:
        check_sizes(self.symbols * self.max_n, 2, self.valid_size, 1)
        for name, value, least in (
            ("min_n", self.min_n, 1),
            ("max_n", self.max_n, self.min_n),
            ("test_n", self.test_n, 1),
        ):
            if value < least:
                raise ValueError(f"{name}: got {value}, expected {least} or more")

    @property
    def inputs(self) -> Tokens:
        """0 is a, 1 is b, and so on. There is no symbol for the end."""
        return Tokens(self.symbols)

    @property
    def target(self) -> Bernoulli:
        """Whether each symbol may come next; the last number is the end."""
        return Bernoulli(self.symbols + 1, every_step=True)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its targets [T,C], padded to the length of `max_n`."""
        n = self.min_n + jax.random.categorical(key, jnp.asarray(self.log_probabilities()))
        return self._sequence(n, self.max_n)

    def log_probabilities(self) -> np.ndarray:
        """Returns the log-probabilities of n = min_n to max_n in training, float32."""
        # Late, since SciPy's distributions take half a second to import.
        from scipy.stats import betabinom

        most = self.max_n - self.min_n
        log_p = betabinom.logpmf(np.arange(most + 1), most, *SHAPES[self.distribution])
        return np.asarray(log_p, np.float32)

    def _sequence(self, n: jax.Array, largest: int) -> Examples:
        """Returns the sequence of n, padded to the length of the largest n."""
        t = jnp.arange(self.symbols * largest)
        # Steps in the padding have the last symbol and no target; `lengths` leaves them out.
        x_T = jnp.minimum(t // n, self.symbols - 1)
        y_TC = jax.nn.one_hot((t + 1) // n, self.symbols + 1)
        a_or_b_C = jnp.arange(self.symbols + 1) < 2
        y_TC = jnp.where((x_T == 0)[:, None], a_or_b_C, y_TC)
        return Examples(x_T.astype(jnp.int32), y_TC, (self.symbols * n).astype(jnp.int32))

    def load(self, data_dir: Path) -> Dataset:
        """Draws the validation split, and makes the test; `data_dir` is not used."""
        one = jax.vmap(lambda n: self._sequence(n, self.test_n))
        test = jax.device_get(jax.jit(one)(jnp.arange(1, self.test_n + 1)))
        return Dataset({"valid": fixed_split(self, 0, self.valid_size), "test": test})

    def final_metrics(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, float]:
        """Returns the smallest n whose sequence is not accepted.

        Args:
          outputs: logits [N,T,C].
          test: the test split, whose sequences have n = 1, 2, ...
          preprocessing: not used.
        """
        del preprocessing
        accepted_N = accepted(outputs, test)
        return {"first_failing_n": float(np.append(accepted_N, False).argmin() + 1)}

    def final_curves(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, Curve]:
        """Returns for each n whether its sequence is accepted, 1 or 0.

        Args:
          outputs, test, preprocessing: as in `final_metrics`.
        """
        del preprocessing
        n, y = tuple(range(1, test.rows + 1)), tuple(map(float, accepted(outputs, test)))
        curve = Curve("n", "share of accepted sequences", n, y, self.max_n, "largest trained n")
        return {"accepted_by_n": curve}


def accepted(outputs: np.ndarray, test: Stored) -> np.ndarray:
    """Returns for which sequences the sets of all steps are right [N].

    Args:
      outputs: logits [N,T,C].
      test: the sequences with their targets and lengths.
    """
    examples = test.take(np.arange(test.rows))
    assert examples.lengths is not None
    right_NT = ((outputs > 0) == (examples.y > 0.5)).all(-1)
    padding_NT = np.arange(test.steps) >= examples.lengths[:, None]
    return np.asarray((right_NT | padding_NT).all(-1))

"""Word problems of finite groups: the product of all elements so far, at every step.

In: the name of a group, such as A5 or A4xZ5. Out: sequences of its elements with their prefix
products, generated on the device. The structure of the group sets how hard it is to track the
state: A5 and S5 are not solvable, and their word problem is complete for NC1 (Barrington 1989).
State-space models with diagonal matrices and transformers cannot express it at fixed depth, unless
TC0 = NC1 (Merrill et al. 2024).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lstm_lab.tasks.base import Categorical, Dataset, Task, Tokens
from lstm_lab.tasks.datasets.synthetic import accuracy_by_step, check_sizes, fixed_splits
from lstm_lab.tasks.examples import Examples, Stored
from lstm_lab.utils.curve import Curve

# The largest order of a group, that of S6: the table has the square of it.
LARGEST_ORDER = 720


@dataclass(frozen=True)
class WordProblem(Task):
    """The word problem of a group: the product of all elements so far, at every step.

    y_t = x_1 x_2 ... x_t, and y_t = y_(t-1) x_t: each new element multiplies from the right. A
    product of permutations applies its right factor first: (a b)(i) = a(b(i)). Elements are drawn
    uniformly, so each product is uniform too, and guessing has an accuracy of 1 / order.

    Attributes:
      group: Zn (cyclic), Sn (symmetric) or An (alternating), or a product of them, as A4xZ5; of
        order 2 to 720.
      length: number of steps of a sequence.
      valid_size, test_size: number of examples of these fixed splits. The accuracy by length needs
        all outputs of the test at once: 4 bytes for each example, step and element.
      split_seed: seed of the fixed splits, the same for all runs.
      test_length: number of steps of the test sequences; None means `length`. The product at step t
        is the answer for a sequence of t elements, so one test shows all lengths up to this one.

    Example:
      WordProblem(group="A4xZ5").target.size  # 60

    Source: Merrill, Petty and Sabharwal 2024, The illusion of state in state-space models.
    """

    group: str = "S5"
    length: int = 40
    valid_size: int = 1000
    test_size: int = 1000
    split_seed: int = 0
    test_length: int | None = None

    name: ClassVar[str] = "word_problem"
    metric: ClassVar[str] = "accuracy"
    curve_names: ClassVar[tuple[str, ...]] = ("accuracy_by_length",)

    def __post_init__(self) -> None:
        check_sizes(self.length, 1, self.valid_size, self.test_size, self.test_length)
        order = group_order(self.group)
        if not 2 <= order <= LARGEST_ORDER:
            raise ValueError(
                f"group: got {self.group!r} of order {order}, expected an order of 2 to "
                f"{LARGEST_ORDER}"
            )

    @property
    def inputs(self) -> Tokens:
        """The elements, in the order of `group_elements`; 0 is the identity."""
        return Tokens(group_order(self.group))

    @property
    def target(self) -> Categorical:
        """The product so far, an element."""
        return Categorical(group_order(self.group), every_step=True)

    def sample(self, key: jax.Array) -> Examples:
        """Draws one sequence [T] with its prefix products [T]."""
        table_NN = jnp.asarray(cayley_table(self.group))
        x_T = jax.random.randint(key, (self.length,), 0, table_NN.shape[0])
        # A product of a group is associative, so this takes log T steps instead of T.
        return Examples(x_T, lax.associative_scan(lambda a, b: table_NN[a, b], x_T))

    def load(self, data_dir: Path) -> Dataset:
        """Draws validation and test; `data_dir` is not used."""
        return fixed_splits(self, length=self.test_length)

    def final_curves(
        self, outputs: np.ndarray, test: Stored, preprocessing: Mapping[str, Any]
    ) -> dict[str, Curve]:
        """Returns the accuracy of the product of the first t elements, for each t.

        Args:
          outputs: logits of the test split [N,T,C].
          test: the test split.
          preprocessing: not used.
        """
        del preprocessing
        accuracies = accuracy_by_step(outputs, test)
        x, y, trained = tuple(accuracies), tuple(accuracies.values()), self.length
        return {"accuracy_by_length": Curve("length", "accuracy", x, y, trained, "trained length")}


def group_order(group: str) -> int:
    """Returns the number of elements of a group, without making them.

    Args:
      group: its name, as in `WordProblem`.

    Raises:
      ValueError: if it is not the name of a group.

    Example:
      group_order("A4xZ5")  # 60
    """
    order = 1
    for family, n in _factors(group):
        order *= {"Z": n, "S": math.factorial(n), "A": max(math.factorial(n) // 2, 1)}[family]
    return order


def group_elements(group: str) -> np.ndarray:
    """Returns the elements of a group as permutations [N,P] of the points 0 to P - 1.

    The first one is the identity. The factors of a product move points of their own.

    Args:
      group: its name, as in `WordProblem`.

    Example:
      group_elements("Z3")  # [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    elements_NP = np.zeros((1, 0), np.int32)
    for family, n in _factors(group):
        factor_MQ = _rotations(n) if family == "Z" else np.array([*permutations(range(n))])
        if family == "A":
            factor_MQ = factor_MQ[_is_even(factor_MQ)]
        N, M = len(elements_NP), len(factor_MQ)
        moved_MQ = factor_MQ + elements_NP.shape[1]
        both = np.repeat(elements_NP, M, axis=0), np.tile(moved_MQ, (N, 1))
        elements_NP = np.concatenate(both, axis=1).astype(np.int32)
    return elements_NP


@lru_cache(maxsize=16)
def cayley_table(group: str) -> np.ndarray:
    """Returns the products of all pairs of elements [N,N], int32: row times column.

    Args:
      group: its name, as in `WordProblem`.

    Example:
      cayley_table("Z3")  # [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    """
    elements_NP = group_elements(group)
    number = {element_P.tobytes(): k for k, element_P in enumerate(elements_NP)}
    rows = [[number[p.tobytes()] for p in a_P[elements_NP]] for a_P in elements_NP]
    table_NN = np.array(rows, np.int32)
    # The cache returns the same array to everybody.
    table_NN.setflags(write=False)
    return table_NN


def _factors(group: str) -> list[tuple[str, int]]:
    """Returns the factors of a group as (family, n): A4xZ5 has ("A", 4) and ("Z", 5)."""
    # Three digits: n! of a larger number takes long, and no group of that size is allowed.
    if not re.fullmatch(r"[ASZ][1-9]\d{0,2}(x[ASZ][1-9]\d{0,2})*", group):
        raise ValueError(f"group: got {group!r}, expected Zn, Sn, An or a product, as A4xZ5")
    return [(factor[0], int(factor[1:])) for factor in group.split("x")]


def _rotations(n: int) -> np.ndarray:
    """Returns the n rotations of n points [N,P]."""
    return (np.arange(n)[:, None] + np.arange(n)) % n


def _is_even(elements_NP: np.ndarray) -> np.ndarray:
    """Returns which permutations have an even number of inversions [N]."""
    first, second = np.triu_indices(elements_NP.shape[1], k=1)
    return (elements_NP[:, first] > elements_NP[:, second]).sum(1) % 2 == 0

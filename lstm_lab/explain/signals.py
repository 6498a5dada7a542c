"""Units that follow a known signal of the task, with a test that corrects for many units.

For a unit s and a signal z, both as deviations from their mean over sequences at the same step,

    r = corr(s_bt, z_bt)        p = (1 + #{perm: max over units |r_perm| >= max |r|}) / (1 + perms)

over all real steps of all sequences. A trend that all sequences share, as of a sum that grows,
would correlate with every unit that has a trend; the deviations have none.

A permutation gives each sequence the signals of another one. The maximum over all units in each
permutation corrects for the search among them. Signals are not corrected for each other. A signal
that is the same in all sequences, such as the position, has no deviations: it gets the correlation
of the values themselves, and no p.

A step without a target has no signal of the targets. The steps that have one are numbered in each
sequence, and sequences are compared at the same number in place of the same step: tasks that ask at
a different step in each sequence would have nothing to compare otherwise.

Many codes are spread over units. For each signal, a ridge regression from all units to the signal
is fitted on every other sequence, and its R^2 is measured on the rest.

Source: Nichols and Holmes 2002, Nonparametric permutation tests, for the maximum statistic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from lstm_lab.tasks import IGNORE_INDEX, Examples, Task, Tokens, Vectors

# More columns than this, such as the words of a vocabulary, get no signals of their own.
MOST_COLUMNS = 12
PERMUTATIONS = 200


@dataclass(frozen=True)
class SignalMatch:
    """How well units follow a signal.

    Attributes:
      signal: its name.
      r_S: correlation with each number of the state [S]; 0 for one that never changes.
      best: index of the number with the largest |r|.
      threshold: the 95 % quantile of the largest |r| over permutations.
      p: p-value of the largest |r|. Both are NaN for a signal that is the same in all sequences.
      direction: R^2 of the best linear direction on sequences that it was not fitted on.
    """

    signal: str
    r_S: np.ndarray
    best: int
    threshold: float
    p: float
    direction: float


def known_signals(task: Task, examples: Examples) -> dict[str, np.ndarray]:
    """Returns the signals of a task [B,T]: those of every task, and the task's own.

    Every task has the position; each input, or whether it is a certain symbol, with its running sum
    or count; and each target, if targets belong to steps. It is NaN at a step without a target.

    Args:
      task: the task.
      examples: its examples, host arrays.
    """
    x = np.asarray(examples.x)
    B, T = x.shape[:2]
    signals = {"position": np.broadcast_to(np.arange(T), (B, T))}
    for name, column_BT in _columns(x, task.inputs):
        signals[name] = column_BT
        total = "sum" if isinstance(task.inputs, Vectors) else "count"
        signals[f"{total} of {name}"] = np.cumsum(column_BT, 1)
    if task.target.every_step:
        y = np.asarray(examples.y)
        size = task.target.size
        if y.ndim == 2 and size <= MOST_COLUMNS:
            asked_BT = y != IGNORE_INDEX
            signals |= {f"target is {k}": np.where(asked_BT, y == k, np.nan) for k in range(size)}
        elif y.ndim == 3 and size <= MOST_COLUMNS:
            signals |= {f"target {k}" if size > 1 else "target": y[..., k] for k in range(size)}
    signals |= task.known_signals(examples)
    return {name: np.asarray(signal_BT, np.float64) for name, signal_BT in signals.items()}


def _columns(x: np.ndarray, inputs: Tokens | Vectors) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the inputs by name [B,T], unless there are too many."""
    if isinstance(inputs, Tokens):
        for k in range(inputs.vocabulary if inputs.vocabulary <= MOST_COLUMNS else 0):
            yield f"symbol {k}", x == k
    else:
        for k in range(inputs.features if inputs.features <= MOST_COLUMNS else 0):
            yield f"input {k}", x[..., k]


def match_signals(
    s_BTS: np.ndarray,
    is_real_BT: np.ndarray,
    signals: Mapping[str, np.ndarray],
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> list[SignalMatch]:
    """Correlates every unit with every signal, and tests the best unit of each.

    Args:
      s_BTS: states along sequences.
      is_real_BT: whether a step is no padding.
      signals: signals [B,T] by name, NaN at a step without one; those that never change are left
        out.
      seed: of the permutations.
      permutations: how many; p is at least 1 / (1 + permutations).

    Returns:
      A match for each signal, in their order.

    Example:
      match_signals(s_BTS, is_real_BT, {"sum": np.cumsum(x_BT, 1)})[0].p
    """
    groups: dict[bytes, list[str]] = {}
    for name, z_BT in signals.items():
        known_BT = is_real_BT & ~np.isnan(z_BT)
        if known_BT.any() and np.ptp(z_BT[known_BT]) > 0.0:
            groups.setdefault(known_BT.tobytes(), []).append(name)
    matches: dict[str, SignalMatch] = {}
    for names in groups.values():
        z_BTK = np.stack([signals[name] for name in names], -1)
        part = _known_steps(s_BTS, z_BTK, is_real_BT & ~np.isnan(z_BTK[..., 0]))
        matches |= zip(names, _match_group(names, *part, seed, permutations), strict=True)
    return [matches[name] for name in signals if name in matches]


def _known_steps(
    s_BTS: np.ndarray, z_BTK: np.ndarray, known_BT: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moves the steps with a signal to the front: states, signals, and which steps exist."""
    rows_B = known_BT.any(1)
    steps = int(known_BT.sum(1).max())
    order_BT1 = np.argsort(~known_BT[rows_B], axis=1, kind="stable")[:, :steps, None]
    s_BTS, z_BTK, known_BT1 = (
        np.take_along_axis(array[rows_B], order_BT1, 1)
        for array in (s_BTS, z_BTK, known_BT[..., None])
    )
    # What is unknown counts nowhere, but NaN times a weight of 0 is NaN.
    return s_BTS, np.where(known_BT1, z_BTK, 0.0), known_BT1[..., 0]


def _match_group(
    names: list[str],
    s_BTS: np.ndarray,
    z_BTK: np.ndarray,
    is_real_BT: np.ndarray,
    seed: int,
    permutations: int,
) -> list[SignalMatch]:
    """Matches signals that are known at the same steps."""
    shared = [_is_shared(z_BT, is_real_BT) for z_BT in np.moveaxis(z_BTK, -1, 0)]
    s_own, z_own = _deviations(s_BTS, is_real_BT), _deviations(z_BTK, is_real_BT)
    r_SK = np.where(
        np.array(shared)[None],
        _correlations(s_BTS[is_real_BT], z_BTK[is_real_BT]),
        _correlations(s_own[is_real_BT], z_own[is_real_BT]),
    )
    rng = np.random.default_rng(seed)
    null_PK = np.stack([_shuffled(s_own, is_real_BT, z_own, rng) for _ in range(permutations)])
    directions_K = np.where(
        shared, _directions(s_BTS, is_real_BT, z_BTK), _directions(s_own, is_real_BT, z_own)
    )
    matches = []
    for k, name in enumerate(names):
        strength = np.abs(r_SK[:, k])
        p = (1.0 + (null_PK[:, k] >= strength.max()).sum()) / (1.0 + permutations)
        threshold = float(np.quantile(null_PK[:, k], 0.95))
        if shared[k]:
            p = threshold = float("nan")
        best, direction = int(strength.argmax()), float(directions_K[k])
        matches.append(SignalMatch(name, r_SK[:, k], best, threshold, float(p), direction))
    return matches


def _deviations(values_BTS: np.ndarray, is_real_BT: np.ndarray) -> np.ndarray:
    """Returns values minus their mean over the sequences that are real at the same step."""
    weight_BT1 = is_real_BT[..., None]
    mean_TS = (values_BTS * weight_BT1).sum(0) / np.maximum(weight_BT1.sum(0), 1)
    return values_BTS - mean_TS[None]


def _correlations(s_NS: np.ndarray, z_NK: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlations [S,K]; 0 where one of both never changes."""
    s_NS, z_NK = s_NS - s_NS.mean(0), z_NK - z_NK.mean(0)
    norm_SK = np.outer(np.linalg.norm(s_NS, axis=0), np.linalg.norm(z_NK, axis=0))
    product_SK = s_NS.T @ z_NK
    return np.divide(product_SK, norm_SK, out=np.zeros_like(product_SK), where=norm_SK > 1e-12)


def _shuffled(
    s_BTS: np.ndarray, is_real_BT: np.ndarray, z_BTK: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Returns the largest |r| over units [K] after each sequence got the signals of another."""
    order_B = rng.permutation(len(s_BTS))
    both_BT = is_real_BT & is_real_BT[order_B]
    return np.abs(_correlations(s_BTS[both_BT], z_BTK[order_B][both_BT])).max(0)


def _is_shared(z_BT: np.ndarray, is_real_BT: np.ndarray) -> bool:
    """Returns whether all sequences have the same signal, up to their lengths."""
    longest = int(is_real_BT.sum(1).argmax())
    return bool((z_BT == z_BT[longest][None])[is_real_BT].all())


def _directions(s_BTS: np.ndarray, is_real_BT: np.ndarray, z_BTK: np.ndarray) -> np.ndarray:
    """Returns the R^2 of a linear map to each signal [K], on sequences that it did not see."""
    deviation_S = s_BTS[is_real_BT].std(0)
    s_BTS = s_BTS / np.where(deviation_S > 1e-12, deviation_S, 1.0)
    fitted, tested = is_real_BT.copy(), is_real_BT.copy()
    fitted[1::2], tested[::2] = False, False
    if not (fitted.any() and tested.any()):
        return np.full(z_BTK.shape[-1], np.nan)
    model = Ridge(alpha=1.0).fit(s_BTS[fitted], z_BTK[fitted])
    z_NK = z_BTK[tested]
    residual_K = np.square(z_NK - model.predict(s_BTS[tested]).reshape(z_NK.shape)).mean(0)
    variance_K = z_NK.var(0)
    # A signal that varies only in the other half has no R^2 here.
    return np.where(variance_K > 0.0, 1.0 - residual_K / np.maximum(variance_K, 1e-300), np.nan)

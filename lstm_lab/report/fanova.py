"""Which hyperparameters matter: functional analysis of variance over a random forest.

Source: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter
Importance, as Greff et al. 2017 used it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor

TREES = 64
SEED = 0


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of a score over the space that was searched.

    Attributes:
      single: of each setting alone.
      pairs: of each two settings beyond what they explain alone.
      spread: standard deviation over the forest's trees of each of `single`.
    """

    single: dict[str, float]
    pairs: dict[tuple[str, str], float]
    spread: dict[str, float]


def fanova(points: np.ndarray, scores: np.ndarray, names: list[str]) -> Importance:
    """Computes the importance of settings.

    V = sum over sets U of settings of V_U; a set's share is V_U / V, averaged over the trees. A
    tree is constant on boxes, so that its integrals are sums.

    Args:
      points: trials [N,K], each setting scaled so that the search drew it uniformly from [0, 1].
      scores: [N].
      names: of the K settings.

    Returns:
      The shares.

    Raises:
      ValueError: for fewer than ten trials, or scores that do not differ.
    """
    if len(points) < 10:
        raise ValueError(f"fanova: found {len(points)} trials, allowed 10 or more")
    if np.ptp(scores) == 0:
        raise ValueError("fanova: all scores are equal")
    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=SEED).fit(points, scores)
    pairs = list(combinations(range(len(names)), 2))
    shares = []
    for estimator in forest.estimators_:
        boxes, values = _leaves(estimator.tree_, len(names))
        weights = np.prod(boxes[:, :, 1] - boxes[:, :, 0], axis=1)
        mean = float(weights @ values)
        total = float(weights @ (values - mean) ** 2)
        if total <= 0:
            continue
        alone = [_variance(boxes, values, (k,), mean) for k in range(len(names))]
        both = [_variance(boxes, values, p, mean) - alone[p[0]] - alone[p[1]] for p in pairs]
        shares.append(np.array([*alone, *both]) / total)
    average, spread = np.mean(shares, 0), np.std(shares, 0)
    return Importance(
        {name: float(average[k]) for k, name in enumerate(names)},
        {(names[a], names[b]): float(average[len(names) + n]) for n, (a, b) in enumerate(pairs)},
        {name: float(spread[k]) for k, name in enumerate(names)},
    )


def _leaves(tree: Any, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns a tree's boxes [leaves,K,2] within the unit cube, and its values there."""
    left, right = tree.children_left, tree.children_right
    feature, threshold = tree.feature, tree.threshold
    boxes, values = [], []
    stack = [(0, np.tile([0.0, 1.0], (K, 1)))]
    while stack:
        node, box = stack.pop()
        if left[node] < 0:
            boxes.append(box)
            values.append(tree.value[node].item())
            continue
        for child, side in ((left[node], 1), (right[node], 0)):
            part = box.copy()
            part[feature[node], side] = np.clip(threshold[node], *box[feature[node]])
            stack.append((child, part))
    return np.array(boxes), np.array(values)


def _variance(
    boxes: np.ndarray, values: np.ndarray, settings: tuple[int, ...], mean: float
) -> float:
    """Returns the variance of a tree's mean over all settings but some."""
    others = [k for k in range(boxes.shape[1]) if k not in settings]
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    share = values * np.prod(lengths[:, others], axis=1)
    edges = [np.unique(boxes[:, k]) for k in settings]
    inside = [
        (boxes[:, k, 0, None] <= at[None, :-1]) & (boxes[:, k, 1, None] >= at[None, 1:])
        for k, at in zip(settings, edges, strict=True)
    ]
    widths = [np.diff(at) for at in edges]
    if len(settings) == 1:
        marginal = share @ inside[0]
        return float(((marginal - mean) ** 2) @ widths[0])
    marginal = np.einsum("l,la,lb->ab", share, *inside)
    return float(widths[0] @ (marginal - mean) ** 2 @ widths[1])

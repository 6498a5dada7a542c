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
from sklearn.inspection import permutation_importance
from sklearn.model_selection import KFold

TREES = 64
SEED = 0
POINTS = 60
GRID = (np.arange(POINTS) + 0.5) / POINTS


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of a score over the space that was searched.

    Attributes:
      single: of each setting alone.
      pairs: of each two settings beyond what they explain alone.
      spread: standard deviation over the forest's trees of each of `single`.
      marginals: of each setting, the score averaged over all others [2,POINTS], mean and standard
        deviation over the trees, at `GRID` of the setting's range.
      permutation: of each setting, how much of R^2 on trials left out is lost when it is shuffled.
    """

    single: dict[str, float]
    pairs: dict[tuple[str, str], float]
    spread: dict[str, float]
    marginals: dict[str, np.ndarray]
    permutation: dict[str, float]


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
    forest = _forest().fit(points, scores)
    pairs = list(combinations(range(len(names)), 2))
    shares, marginals = [], []
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
        marginals.append([_marginal(boxes, values, k) for k in range(len(names))])
    average, spread = np.mean(shares, 0), np.std(shares, 0)
    middle, around = np.mean(marginals, 0), np.std(marginals, 0)
    return Importance(
        {name: float(average[k]) for k, name in enumerate(names)},
        {(names[a], names[b]): float(average[len(names) + n]) for n, (a, b) in enumerate(pairs)},
        {name: float(spread[k]) for k, name in enumerate(names)},
        {name: np.stack([middle[k], around[k]]) for k, name in enumerate(names)},
        permutation(points, scores, names),
    )


def permutation(points: np.ndarray, scores: np.ndarray, names: list[str]) -> dict[str, float]:
    """Computes how much worse trials left out are predicted when a setting of theirs is shuffled.

    Args:
      points, scores, names: as in `fanova`.

    Returns:
      The loss in R^2 by setting, the mean over three folds.

    Source: Breiman 2001, Random Forests.
    """
    lost = []
    for train, test in KFold(3, shuffle=True, random_state=SEED).split(points):
        forest = _forest().fit(points[train], scores[train])
        found = permutation_importance(
            forest, points[test], scores[test], n_repeats=3, random_state=SEED
        )
        lost.append(found.importances_mean)
    return dict(zip(names, map(float, np.mean(lost, 0)), strict=True))


def _forest() -> RandomForestRegressor:
    return RandomForestRegressor(TREES, min_samples_leaf=2, random_state=SEED)


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


def _marginal(boxes: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Returns a tree's mean over all settings but one, at GRID of that one."""
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    share = values * np.prod(np.delete(lengths, k, axis=1), axis=1)
    inside = (boxes[:, k, 0, None] <= GRID) & (boxes[:, k, 1, None] > GRID)
    return np.asarray(share @ inside)


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

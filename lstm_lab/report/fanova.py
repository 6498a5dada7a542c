"""The importance of hyperparameters: functional analysis of variance over a random forest.

In: the points and scores of random trials. Out: `Importance`. Read `verdicts` for how trials of a
study become points in the unit cube.

Source: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach for Assessing Hyperparameter
Importance, as Greff et al. 2017 used it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.tree._tree import Tree

N_TREES = 64
# Fixed: the same trials give the same report.
SEED = 0
# Each of three folds of ten trials still has at least three trials to test on.
MIN_TRIALS = 10
N_GRID = 60
# Cell centers: a marginal at the borders of the range would rest on fewer trials.
GRID = (np.arange(N_GRID) + 0.5) / N_GRID


@dataclass(frozen=True)
class Importance:
    """Shares of the variance of a score over the search space.

    Attributes:
      main_effects: the share that each hyperparameter explains alone.
      interactions: the share that two hyperparameters explain together, beyond their main effects.
      main_effects_std: standard deviation of each main effect over the trees.
      marginals: for each hyperparameter, the score averaged over all others [2, N_GRID]: mean and
        standard deviation over the trees, at `GRID` of the hyperparameter's range.
      permutation: the R^2 on held-out trials that is lost if a hyperparameter is permuted.
    """

    main_effects: dict[str, float]
    interactions: dict[tuple[str, str], float]
    main_effects_std: dict[str, float]
    marginals: dict[str, np.ndarray]
    permutation: dict[str, float]


def fanova(points: np.ndarray, scores: np.ndarray, names: list[str]) -> Importance:
    """Computes the importance of hyperparameters.

    V = sum over subsets U of hyperparameters of V_U; the share of U is V_U / V, averaged over the
    trees. A tree is constant on boxes, so its integrals are exact sums. Subsets of three or more
    are not computed, so the shares of a result may sum to less than 1.

    Args:
      points: trials [N, K]; each column is scaled so that the search drew it uniformly from [0, 1].
      scores: [N]; higher or lower may be better, since only their variance counts.
      names: of the K hyperparameters.

    Returns:
      Shares from 0 to 1, marginals in the unit of the score, and permutation importances.

    Raises:
      ValueError: for fewer than ten trials, or if all scores are equal.
    """
    if len(points) < MIN_TRIALS:
        raise ValueError(f"fanova: got {len(points)} trials, expected {MIN_TRIALS} or more")
    if np.ptp(scores) == 0:
        raise ValueError("fanova: all scores are equal, expected scores that vary")
    forest = _forest().fit(points, scores)
    pairs = list(combinations(range(len(names)), 2))
    shares, marginals = [], []
    for estimator in forest.estimators_:
        boxes, values = leaf_boxes(estimator.tree_, len(names))
        weights = np.prod(boxes[:, :, 1] - boxes[:, :, 0], axis=1)
        mean = float(weights @ values)
        total = float(weights @ (values - mean) ** 2)
        if total <= 0:
            continue  # a bootstrap sample of equal scores: a tree without splits has no shares
        main = [marginal_variance(boxes, values, (k,), mean) for k in range(len(names))]
        # The variance of a pair's marginal contains both main effects.
        joint = [
            marginal_variance(boxes, values, pair, mean) - main[pair[0]] - main[pair[1]]
            for pair in pairs
        ]
        shares.append(np.array([*main, *joint]) / total)
        marginals.append([_marginal(boxes, values, k) for k in range(len(names))])
    shares_mean, shares_std = np.mean(shares, 0), np.std(shares, 0)
    marginals_mean, marginals_std = np.mean(marginals, 0), np.std(marginals, 0)
    K = len(names)
    return Importance(
        {name: float(shares_mean[k]) for k, name in enumerate(names)},
        {(names[a], names[b]): float(shares_mean[K + n]) for n, (a, b) in enumerate(pairs)},
        {name: float(shares_std[k]) for k, name in enumerate(names)},
        {name: np.stack([marginals_mean[k], marginals_std[k]]) for k, name in enumerate(names)},
        permutation(points, scores, names),
    )


def permutation(points: np.ndarray, scores: np.ndarray, names: list[str]) -> dict[str, float]:
    """Computes the permutation importance on held-out trials.

    A second opinion about fANOVA's shares: it uses no integrals, and held-out trials show how much
    of the forest's fit is real.

    Args:
      points, scores, names: as in `fanova`.

    Returns:
      The loss of R^2 by hyperparameter, the mean over three folds.

    Source: Breiman 2001, Random Forests.
    """
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import KFold

    # Held out: on the trials that it was fitted to, a forest finds any hyperparameter useful.
    losses = []
    for train, test in KFold(3, shuffle=True, random_state=SEED).split(points):
        forest = _forest().fit(points[train], scores[train])
        result = permutation_importance(
            forest, points[test], scores[test], n_repeats=3, random_state=SEED
        )
        losses.append(result.importances_mean)
    return dict(zip(names, map(float, np.mean(losses, 0)), strict=True))


def _forest() -> RandomForestRegressor:
    # Late: scikit-learn takes half a second, and only studies with many trials need it.
    from sklearn.ensemble import RandomForestRegressor

    # Two trials per leaf at least: a leaf of one trial would reproduce the noise of its seed.
    return RandomForestRegressor(N_TREES, min_samples_leaf=2, random_state=SEED)


def leaf_boxes(tree: Tree, K: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes [leaves, K, 2] of a tree's leaves in the unit cube, and their values.

    Args:
      tree: `tree_` of a fitted regression tree.
      K: number of hyperparameters.

    Returns:
      The bounds (low, high) of each leaf in each hyperparameter, and the mean score of its trials.
    """
    left, right = tree.children_left, tree.children_right
    feature, threshold = tree.feature, tree.threshold
    boxes, values = [], []
    stack = [(0, np.tile([0.0, 1.0], (K, 1)))]
    while stack:
        node, box = stack.pop()
        # scikit-learn marks a leaf by a child of -1.
        if left[node] < 0:
            boxes.append(box)
            values.append(tree.value[node].item())
            continue
        # The left child keeps values up to the threshold, so it gets a new upper bound (side 1).
        for child, side in ((left[node], 1), (right[node], 0)):
            part = box.copy()
            # Clipped: a box with a negative side would count negatively.
            part[feature[node], side] = np.clip(threshold[node], *box[feature[node]])
            stack.append((child, part))
    return np.array(boxes), np.array(values)


def _marginal(boxes: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Returns a tree's mean over all hyperparameters except k, at GRID of k."""
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    weighted = values * np.prod(np.delete(lengths, k, axis=1), axis=1)
    # Half-open boxes: a grid point on a border must count once.
    inside = (boxes[:, k, 0, None] <= GRID) & (boxes[:, k, 1, None] > GRID)
    return np.asarray(weighted @ inside)


def marginal_variance(
    boxes: np.ndarray, values: np.ndarray, subset: tuple[int, ...], mean: float
) -> float:
    """Returns the variance of a tree's marginal over one or two hyperparameters.

    Var_u[ integral of the tree over all hyperparameters that are not in u ]

    Args:
      boxes, values: from `leaf_boxes`.
      subset: the indices u of one or two hyperparameters.
      mean: the tree's mean over the unit cube.
    """
    others = [k for k in range(boxes.shape[1]) if k not in subset]
    lengths = boxes[:, :, 1] - boxes[:, :, 0]
    weighted = values * np.prod(lengths[:, others], axis=1)
    # Between two neighboring edges the marginal is constant.
    edges = [np.unique(boxes[:, k]) for k in subset]
    inside = [
        (boxes[:, k, 0, None] <= at[None, :-1]) & (boxes[:, k, 1, None] >= at[None, 1:])
        for k, at in zip(subset, edges, strict=True)
    ]
    widths = [np.diff(at) for at in edges]
    if len(subset) == 1:
        marginal = weighted @ inside[0]
        return float(((marginal - mean) ** 2) @ widths[0])
    marginal = np.einsum("l,la,lb->ab", weighted, *inside)
    return float(widths[0] @ (marginal - mean) ** 2 @ widths[1])

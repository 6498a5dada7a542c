"""Fixed and slow points: where the state of a network stays, or nearly stays, under one input.

For a constant input x, the speed of a state s is measured by

    q(s) = 0.5 |F(s, x) - s|^2

Its zeros are fixed points. Minima above zero are slow points, which steer the state for many steps.
Close to a point, F is its Jacobian J = dF/ds: a direction with eigenvalue l of J shrinks as |l|^t,
with the time constant -1 / log |l| in steps. The point is stable if all |l| are below 1, and a
saddle if some are above.

From states that the network visits, and from those in which it comes to rest, Adam lowers q until
the state is slow. From there, Levenberg and Marquardt's method goes to the minimum of q, if it is
close by: a fixed point, or a slow point where a fixed point nearly is. If it is not close by, the
state itself is a slow point. A network that stores a number has a line of them.

A stable cycle under a constant input (as of a network that counts modulo 2) is no fixed point of F.
`find_attractors` runs the network for long and finds the period of what it ends in.

Source: Sussillo and Barak 2013, Opening the black box, Neural Computation 25(3); Adam in place of
their optimizer as in Golub and Sussillo 2018, FixedPointFinder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import least_squares

from lstm_lab.tasks.examples import Array

Map = Callable[[Array, Array], jax.Array]  # F: (s [S], x [D]) -> s [S]

PointKind = Literal["stable", "saddle", "slow"]

# All distances are shares of the spread of the visited states. A point is slow if the state needs
# more than 100 steps to move by the spread, and fixed if it is slower than 1e-8, which float64
# reaches at a zero of q and not at another minimum.
SLOW = 0.01
FIXED = 1e-8
# Adam stops at this speed. Stopped at SLOW, it would be far from the minimum where q is flat.
DESCENDED = 0.003
# Points closer than this are one point.
SAME = 0.05
# A minimum of q belongs to a slow state if it is closer than this.
NEAR = 0.3
DESCENT_STEPS = 4000
MOST_EVALUATIONS = 60
SETTLING_STEPS = 1000
LONGEST_PERIOD = 12


class CompiledMap(NamedTuple):
    """A map F with what is computed of it, compiled once for all inputs.

    Attributes:
      step: (s [S], x [D]) -> the next state [S].
      jacobian: (s [S], x [D]) -> dF/ds [S,S].
      descend: (start [N,S], x [D], spread) -> states [N,S] and their q [N].
      settle: (start [N,S], x [D]) -> the last states of long runs [P,N,S].
    """

    step: Map
    jacobian: Map
    descend: Callable[..., tuple[jax.Array, jax.Array]]
    settle: Map


@dataclass(frozen=True)
class FixedPoint:
    """A point where the network stays, or nearly stays.

    Attributes:
      s_S: the state.
      q: 0.5 |F(s, x) - s|^2.
      kind: `stable`, `saddle`, or `slow` if no fixed point is near.
      eigenvalues: of the Jacobian, complex [S], largest magnitude first.
      share: share of the starts that led to it.
    """

    s_S: np.ndarray
    q: float
    kind: PointKind
    eigenvalues: np.ndarray
    share: float

    @property
    def unstable(self) -> int:
        """Number of directions in which the state leaves the point."""
        return int((np.abs(self.eigenvalues) > 1.0).sum())

    @property
    def slowest(self) -> float:
        """The largest time constant |1 / log |l|| in steps, of a decay or of a growth."""
        return float(time_constants(self.eigenvalues).max())


@dataclass(frozen=True)
class Attractor:
    """What the state ends in under a constant input.

    Attributes:
      states: the states of one period [P,S]; one state is a point of rest.
      share: share of the starts that end in it.
    """

    states: np.ndarray
    share: float

    @property
    def period(self) -> int:
        """Number of steps after which the state repeats."""
        return len(self.states)


def spread_of(s_NS: np.ndarray) -> float:
    """Returns the root mean square distance of states from their mean.

    Args:
      s_NS: the visited states.
    """
    distance = float(np.sqrt(np.square(s_NS - s_NS.mean(0)).sum(1).mean()))
    # A network that never moves has no scale; any positive number will do.
    return max(distance, 1e-12)


def time_constants(eigenvalues: np.ndarray) -> np.ndarray:
    """Returns |1 / log |l|| in steps; infinite for |l| = 1."""
    with np.errstate(divide="ignore"):
        return 1.0 / np.abs(np.log(np.abs(eigenvalues)))


def compile_map(step: Map) -> CompiledMap:
    """Returns a map with the functions that the searches of this file call.

    Args:
      step: F: (s [S], x [D]) -> s [S].
    """
    return CompiledMap(
        jax.jit(step),
        jax.jit(jax.jacfwd(step)),
        jax.jit(partial(_descend, step)),
        jax.jit(partial(_settle, step)),
    )


def find_fixed_points(
    compiled: CompiledMap,
    x_D: np.ndarray,
    start_NS: np.ndarray,
    spread: float,
    rests: Sequence[np.ndarray] = (),
) -> list[FixedPoint]:
    """Finds fixed and slow points under a constant input.

    Args:
      compiled: F.
      x_D: the input.
      start_NS: the states from which q is minimized.
      spread: of the visited states.
      rests: states in which the network rests, from which the search starts too.

    Returns:
      The points, the one that most starts led to first; `rests` do not count for shares. A start
      that ends at no slow point counts for none, so shares may add up to less than 1.

    Example:
      with jax.enable_x64(True):
          compiled = compile_map(network.next_state)
          points = find_fixed_points(compiled, x_D, start_NS, spread_of(s_NS))
    """
    end_NS, q_N = map(np.asarray, compiled.descend(start_NS, x_D, spread))
    slow_NS = end_NS[q_N <= 0.5 * (SLOW * spread) ** 2]
    # Twice: many slow states lead to one minimum, and so few are worth the time of the second
    # method.
    slow = [*((s_S, 0.0) for s_S in rests), *((s_S, 1.0) for s_S in slow_NS)]
    groups = _distinct(slow, SAME * spread)
    minima = [(_minimum_near(compiled, x_D, s_S, spread), weight) for s_S, weight in groups]
    found = [
        _describe(compiled, x_D, s_S, weight / len(start_NS), spread)
        for s_S, weight in _distinct(minima, SAME * spread)
    ]
    return sorted(found, key=lambda point: -point.share)


def find_attractors(
    compiled: CompiledMap, x_D: np.ndarray, start_NS: np.ndarray, spread: float
) -> list[Attractor]:
    """Runs the map for long from each start, and finds the period of what it ends in.

    Args:
      compiled, x_D, start_NS, spread: as in `find_fixed_points`.

    Returns:
      Points of rest and cycles of up to `LONGEST_PERIOD` steps, the most frequent first. Starts
      whose state does not repeat after `SETTLING_STEPS` steps count for none.
    """
    last_PNS = np.asarray(compiled.settle(start_NS, x_D))
    near = SAME * spread
    found: list[tuple[np.ndarray, float]] = []
    for last_PS in last_PNS.swapaxes(0, 1):
        # Not the distance `near`: a slow drift would count as rest.
        distance_P = np.linalg.norm(last_PS - last_PS[0], axis=1)[1:]
        repeats = np.flatnonzero(distance_P < 1e-3 * spread)
        if not len(repeats):
            continue
        cycle_PS = last_PS[: repeats[0] + 1]
        for k, (other_PS, weight) in enumerate(found):
            # A cycle may be entered at any of its states.
            apart_P = np.linalg.norm(other_PS - cycle_PS[0], axis=1)
            if len(other_PS) == len(cycle_PS) and apart_P.min() < near:
                found[k] = other_PS, weight + 1.0
                break
        else:
            found.append((cycle_PS, 1.0))
    attractors = [Attractor(cycle_PS, weight / len(start_NS)) for cycle_PS, weight in found]
    return sorted(attractors, key=lambda attractor: -attractor.share)


def _descend(
    step: Map, start_NS: jax.Array, x_D: jax.Array, spread: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Minimizes q from each start until the state is slow; returns states [N,S] and q [N]."""
    limit = 0.5 * jnp.square(DESCENDED * spread)
    # The first step is half of the spread over all units, the last a hundredth of that.
    rate = 0.5 * spread / start_NS.shape[1] ** 0.5
    optimizer = optax.adam(optax.exponential_decay(rate, DESCENT_STEPS, 0.01))

    def speed(s_S: jax.Array) -> jax.Array:
        return 0.5 * jnp.square(step(s_S, x_D) - s_S).sum()

    measure = jax.vmap(jax.value_and_grad(speed))

    def one(carry: Any) -> Any:
        k, s_NS, state, q_N, gradient_NS = carry
        updates_NS, state = optimizer.update(gradient_NS, state)
        s_NS = s_NS + jnp.where((q_N > limit)[:, None], updates_NS, 0.0)
        return k + 1, s_NS, state, *measure(s_NS)

    def unfinished(carry: Any) -> jax.Array:
        k, _, _, q_N, _ = carry
        return (k < DESCENT_STEPS) & (q_N > limit).any()

    begun = 0, start_NS, optimizer.init(start_NS), *measure(start_NS)
    _, s_NS, _, q_N, _ = jax.lax.while_loop(unfinished, one, begun)
    return s_NS, q_N


def _settle(step: Map, start_NS: jax.Array, x_D: jax.Array) -> jax.Array:
    """Runs the map for long; returns the states of the last steps [P,N,S]."""
    after = jax.vmap(step, (0, None))

    def one(s_NS: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        return after(s_NS, x_D), s_NS

    settled_NS = jax.lax.fori_loop(0, SETTLING_STEPS, lambda _, s: after(s, x_D), start_NS)
    return jax.lax.scan(one, settled_NS, None, LONGEST_PERIOD + 1)[1]


def _distinct(
    weighted: list[tuple[np.ndarray, float]], near: float
) -> list[tuple[np.ndarray, float]]:
    """Merges states [S] that are closer than `near`, and adds their weights."""
    kept: list[tuple[np.ndarray, float]] = []
    for s_S, weight in weighted:
        distances = [np.linalg.norm(other_S - s_S) for other_S, _ in kept]
        if distances and min(distances) < near:
            k = int(np.argmin(distances))
            kept[k] = kept[k][0], kept[k][1] + weight
        else:
            kept.append((s_S, weight))
    return kept


def _minimum_near(
    compiled: CompiledMap, x_D: np.ndarray, s_S: np.ndarray, spread: float
) -> np.ndarray:
    """Returns the minimum of q near a slow state; the state itself if there is none."""
    one_SS = np.eye(len(s_S))

    def residual(s_S: np.ndarray) -> np.ndarray:
        return np.asarray(compiled.step(s_S, x_D)) - s_S

    def derivative(s_S: np.ndarray) -> np.ndarray:
        return np.asarray(compiled.jacobian(s_S, x_D)) - one_SS

    solution = least_squares(
        residual,
        s_S,
        derivative,
        method="lm",
        max_nfev=MOST_EVALUATIONS,
        ftol=1e-14,
        xtol=1e-14,
        gtol=1e-14,
    )
    is_near = np.linalg.norm(solution.x - s_S) < NEAR * spread
    return np.asarray(solution.x) if is_near else s_S


def _describe(
    compiled: CompiledMap, x_D: np.ndarray, s_S: np.ndarray, share: float, spread: float
) -> FixedPoint:
    speed = float(np.linalg.norm(np.asarray(compiled.step(s_S, x_D)) - s_S))
    # Of real eigenvalues alone, NumPy returns real numbers.
    eigenvalues = np.linalg.eigvals(np.asarray(compiled.jacobian(s_S, x_D))).astype(complex)
    eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    kind: PointKind = "slow"
    if speed < FIXED * spread:
        kind = "stable" if np.abs(eigenvalues[0]) < 1.0 else "saddle"
    return FixedPoint(s_S, 0.5 * speed**2, kind, eigenvalues, share)


def line_share(points: list[FixedPoint]) -> float:
    """Returns the share of the variance of points along their first principal component.

    Points of a line attractor give nearly 1; NaN for fewer than three points.

    Args:
      points: fixed and slow points under one input.

    Source: Maheswaranathan et al. 2019, Reverse engineering recurrent networks for sentiment
    classification reveals line attractor dynamics.
    """
    if len(points) < 3:
        return float("nan")
    s_NS = np.stack([point.s_S for point in points])
    variances = np.square(np.linalg.svd(s_NS - s_NS.mean(0), compute_uv=False))
    return float(variances[0] / variances.sum())

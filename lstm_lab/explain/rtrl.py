"""Real-time recurrent learning next to backpropagation through time, and e-prop next to both.

RTRL carries the influence of all weights w on the state forward in time,

    P_t = J_t P_(t-1) + dF/dw        J_t = dF/ds, both at (s_(t-1), x_t)
    dL/dw = sum_t dL/do_t (do_t/ds_(t-1) P_(t-1) + do_t/dw)

for outputs o_t of the stack. It needs no memory of earlier steps, but S numbers for each weight.
It gives the gradient of backpropagation through time (BPTT) exactly.

e-prop leaves out most of J_t. A unit's influence on what it stores inside (c, and n and m of the
sLSTM) is carried on only through its own stored numbers; nothing passes through h from one step to
the next. Then each weight needs a few numbers and not S. Of a cell that stores nothing but h, the
diagonal of J_t is kept. The cosine between both gradients tells how much of the direction is left.

Source: Williams and Zipser 1989, A learning algorithm for continually running fully recurrent
neural networks; Bellec et al. 2020, A solution to the learning dilemma for recurrent networks of
spiking neurons, with the exact derivative of the loss as the learning signal; for cells with h
alone, the diagonal as in SnAp-1, Menick et al. 2021, Practical real time recurrent learning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax.flatten_util import ravel_pytree

from lstm_lab.explain.network import NO_TARGET, Network, Visited
from lstm_lab.tasks import Batch, Target, loss_sum
from lstm_lab.utils.types import PyTree

ROWS, STEPS = 2, 16
# Numbers of the influence matrix of one sequence: 256 MB in float64.
MOST_INFLUENCES = 2**25
# Multiplications of RTRL for one sequence: about a minute of two CPU cores.
MOST_PRODUCTS = 2e11
# Fields of the state that a unit stores inside. The others, h and the gates, go to other units.
INNER = ("c", "n", "m")


@dataclass(frozen=True)
class LearningRules:
    """Gradients of one loss by three rules.

    Attributes:
      difference: largest difference of RTRL and BPTT, as a share of the largest gradient.
      cosines: cosine of e-prop's gradient with that of BPTT, by group of weights; NaN for a group
        whose gradient is zero.
      norms: norm of e-prop's gradient over that of BPTT, by group of weights.
      steps, states, weights: T, S and the number of weights of the stack.
      rtrl_s, bptt_s: seconds of one gradient on this machine.
    """

    difference: float
    cosines: dict[str, float]
    norms: dict[str, float]
    steps: int
    states: int
    weights: int
    rtrl_s: float
    bptt_s: float


def unsupported_reason(network: Network, steps: int) -> str | None:
    """Returns why RTRL is too costly for a network and a number of steps, or None."""
    states, weights = len(network.zero), len(ravel_pytree(network.params["lstm"])[0])
    if states * weights > MOST_INFLUENCES:
        return (
            f"the influence of {weights:,} weights on {states:,} states has {states * weights:,} "
            f"numbers, more than {MOST_INFLUENCES:,}"
        )
    products = float(states) ** 2 * weights * steps
    if products > MOST_PRODUCTS:
        return (
            f"{products:.1e} multiplications carry the influence over {steps} steps, more than "
            f"{MOST_PRODUCTS:.0e}"
        )
    return None


def learning_window(network: Network, visited: Visited, target: Target) -> Batch | str:
    """Chooses the sequences on which the rules are compared, or returns why there are none.

    A window of few steps is enough if each sequence has a target in it. A target of a whole
    sequence belongs to its end, so such a sequence keeps its length.

    Args:
      network: the network.
      visited: what it does on its data.
      target: what the model predicts.
    """
    part, has_target_BT = visited.with_target(target, ROWS)
    if not len(has_target_BT):
        return NO_TARGET
    steps = has_target_BT.shape[1]
    if target.every_step and has_target_BT[:, :STEPS].any(1).all():
        steps = min(STEPS, steps)
    elif target.every_step:
        # Steps after the last target have no gradient, but would cost as much.
        steps = 1 + int(np.flatnonzero(has_target_BT.any(0))[-1])
    if reason := unsupported_reason(network, steps):
        return reason
    examples = part.first(ROWS, steps).examples
    rows = len(examples.x)
    return Batch(examples, jnp.ones(rows), jnp.arange(rows))


def compare_learning_rules(network: Network, target: Target, batch: Batch) -> LearningRules | str:
    """Computes the gradient of the stack's weights by BPTT, RTRL and e-prop.

    Args:
      network: the network; the caller has enabled float64.
      target: what the model predicts.
      batch: sequences with their targets; all of them are computed at once.

    Returns:
      The comparison, or the reason why there is none.
    """
    losses = SequenceLoss(network, target, batch)
    weights = network.params["lstm"]
    # The masks are arguments: RTRL and e-prop are one program.
    masks = everything(network)
    bptt, bptt_s = _timed(jax.jit(losses.bptt).lower(weights).compile(), weights)
    exact = ravel_pytree(bptt)[0]
    if not exact.any():
        return "the exact gradient is zero, so no rule has a direction to agree with"
    forward_rule = jax.jit(losses.forward).lower(weights, *masks).compile()
    rtrl, rtrl_s = _timed(forward_rule, weights, *masks)
    forward = ravel_pytree(rtrl)[0]
    groups: list[tuple[str, jax.Array, jax.Array]] = []
    if eprop_unsupported_reason(network) is None:
        eprop = forward_rule(weights, *local_part(network))
        leaves = jax.tree.leaves(bptt), jax.tree.leaves(eprop)
        groups = [("all", exact, ravel_pytree(eprop)[0]), *zip(_paths(bptt), *leaves, strict=True)]
    return LearningRules(
        difference=float(jnp.abs(forward - exact).max() / jnp.abs(exact).max()),
        cosines={name: _cosine(a, b) for name, a, b in groups},
        norms={name: _ratio(b, a) for name, a, b in groups},
        steps=losses.inputs.shape[1],
        states=len(network.zero),
        weights=len(exact),
        rtrl_s=rtrl_s,
        bptt_s=bptt_s,
    )


@dataclass(frozen=True)
class SequenceLoss:
    """The loss of a batch as a function of the stack's weights, and its gradient by three rules.

    Attributes:
      network: the network.
      target: what the model predicts.
      batch: the sequences.
    """

    network: Network
    target: Target
    batch: Batch

    @property
    def inputs(self) -> jax.Array:
        """The inputs of the stack [B,T,D]."""
        examples, network = self.batch.examples, self.network
        x_TBD = network.model.apply(
            {"params": network.params}, examples.x, examples.lengths, method="stack_inputs"
        )
        return jnp.swapaxes(jnp.asarray(x_TBD), 0, 1)

    def of_outputs(self, o_BTK: jax.Array) -> jax.Array:
        """Computes the loss from the outputs of the stack, summed over the batch."""
        if not self.target.every_step:
            B, T = o_BTK.shape[:2]
            lengths = self.batch.examples.lengths
            last_B = jnp.full(B, T - 1) if lengths is None else jnp.asarray(lengths) - 1
            o_BTK = o_BTK[jnp.arange(B), last_B]
        return loss_sum(self.target, self.network.logits(o_BTK), self.batch)[0]

    def bptt(self, weights: PyTree) -> PyTree:
        """Computes the gradient by reverse-mode differentiation of the whole sequence."""

        def loss(weights: PyTree) -> jax.Array:
            return self.of_outputs(jax.vmap(self.network.run, (None, 0))(weights, self.inputs)[1])

        return jax.grad(loss)(weights)

    def forward(self, weights: PyTree, kept_SS: np.ndarray, read_KS: np.ndarray) -> PyTree:
        """Computes the gradient forward in time, by RTRL or by e-prop.

        Args:
          weights: the weights of the stack.
          kept_SS: 1 where the influence may pass from a number of the state (columns) to a number
            of the next state, else 0: `everything` of RTRL, or the `local_part` of e-prop.
          read_KS: the same from numbers of the state to outputs of the next step.
        """
        network = self.network
        flat_W, unravel = ravel_pytree(weights)
        o_BTK = jax.vmap(network.run, (None, 0))(weights, self.inputs)[1]
        error_BTK = jax.grad(self.of_outputs)(o_BTK)

        def row(x_TD: jax.Array, error_TK: jax.Array) -> jax.Array:
            def one(carry: PyTree, now: tuple[jax.Array, ...]) -> tuple[PyTree, None]:
                s_S, p_SW, gradient_W = carry
                x_D, is_start, error_K = now

                def step(s_S: jax.Array, flat_W: jax.Array) -> PyTree:
                    after = network.step(unravel(flat_W), s_S, x_D, is_start)
                    return after, after

                derivatives, (s_S, _) = jax.jacrev(step, (0, 1), has_aux=True)(s_S, flat_W)
                (j_SS, d_SW), (jo_KS, do_KW) = derivatives
                gradient_W += error_K @ ((jo_KS * read_KS) @ p_SW + do_KW)
                return (s_S, (j_SS * kept_SS) @ p_SW + d_SW, gradient_W), None

            influence_SW = jnp.zeros((len(network.zero), len(flat_W)))
            begun = network.zero, influence_SW, jnp.zeros_like(flat_W)
            steps = x_TD, jnp.arange(len(x_TD)) == 0, error_TK
            return jax.lax.scan(one, begun, steps)[0][2]

        # One row after the other: each has an influence matrix of its own.
        return unravel(jax.lax.map(lambda rows: row(*rows), (self.inputs, error_BTK)).sum(0))


def everything(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Returns the masks of `local_part` for RTRL, which keeps the whole influence."""
    S, K = len(network.zero), network.outputs
    return np.ones((S, S)), np.ones((K, S))


def local_part(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Returns the masks of the influence that e-prop keeps.

    Args:
      network: the network, for which `eprop_unsupported_reason` is None.

    Returns:
      The masks of dF/ds [S,S] and of do/ds [K,S], with 1 for what is kept.
    """
    places, K = network.places, network.outputs
    inner_S = np.array([place.field in INNER for place in places])
    layer_S = np.array([place.layer for place in places])
    unit_S = np.array([place.unit for place in places])
    same_SS = (unit_S[:, None] == unit_S[None]) & (layer_S[:, None] == layer_S[None])
    if not inner_S.any():
        return same_SS.astype(float), np.eye(K)
    # From layer to layer, within a step, e-prop is exact: only the way through time is cut.
    above_SS = layer_S[:, None] > layer_S[None]
    kept_SS = (same_SS | above_SS) & inner_S[None]
    return kept_SS.astype(float), np.broadcast_to(inner_S, (K, len(places))).astype(float)


def eprop_unsupported_reason(network: Network) -> str | None:
    """Returns why e-prop has no gradient for a network, or None."""
    if len(network.zeros) > 1 and not any(place.field in INNER for place in network.places):
        return "e-prop: several layers of a cell whose state is h alone"
    return None


def _timed(gradient: Callable[..., PyTree], *arguments: PyTree) -> tuple[PyTree, float]:
    """Returns a gradient and its seconds, without those of compiling."""
    start = time.monotonic()
    result = jax.block_until_ready(gradient(*arguments))
    return result, time.monotonic() - start


def _paths(weights: PyTree) -> list[str]:
    """Returns the names of the groups of weights, such as `layer_0/wx`, in the order of leaves."""
    return sorted(flatten_dict(weights, sep="/"))


def _cosine(a: jax.Array, b: jax.Array) -> float:
    norm = float(jnp.linalg.norm(a.ravel()) * jnp.linalg.norm(b.ravel()))
    return float(jnp.vdot(a, b)) / norm if norm > 0.0 else float("nan")


def _ratio(a: jax.Array, b: jax.Array) -> float:
    norm = float(jnp.linalg.norm(b.ravel()))
    return float(jnp.linalg.norm(a.ravel())) / norm if norm > 0.0 else float("nan")

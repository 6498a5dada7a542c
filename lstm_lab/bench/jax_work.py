"""The work around the layers of all JAX contenders: losses, gradients, optimizers, populations.

In: a contender and a case. Out: a function that does the work once. Layers and models come from
`ours.py` and `jax_peers.py`; only these differ between contenders.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lstm_lab.bench import floor, jax_peers, ours
from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import library, numbers
from lstm_lab.bench.jax_peers import Network


def build(name: str, case: Case) -> Callable[[], None]:
    """Returns a function that does the work of a case once and waits for the result.

    Args:
      name: a contender that uses JAX.
      case: a case that it serves.
    """
    _, exact = numbers(name)
    # Set for the whole process: a contender has one of its own.
    jax.config.update("jax_default_matmul_precision", "highest" if exact else None)
    if name == "floor":
        return _compiled(floor.products(case), *floor.arrays(case))
    if case.work == "population":
        return _population(name, case)
    if case.is_model:
        return _repeated(*training(name, case))
    params, x, function = layer_work(name, case)
    return _compiled(function, params, x)


def network(name: str, case: Case) -> Network:
    """Returns the layers of a contender, or the model of another library.

    Args:
      name: a contender that uses JAX.
      case: the case.
    """
    if library(name) == "lstm_lab":
        return ours.stack(name, case)
    return jax_peers.network(library(name), case)


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    compiled = jax.jit(function)

    def run() -> None:
        # JAX returns before it has computed; without waiting, only the dispatch would be timed.
        jax.block_until_ready(compiled(*arguments))

    return run


def _repeated(
    state: Any, data: Any, step: Callable[[Any, Any], tuple[Any, jax.Array]]
) -> Callable[[], None]:
    """Returns a function that does the next step, with donated buffers: the update is in place."""
    compiled = jax.jit(step, donate_argnums=0)
    states = [state]

    def run() -> None:
        states[0], _ = jax.block_until_ready(compiled(states[0], data))

    return run


# ---- layers


def _inputs(case: Case, dtype: str) -> tuple[jax.Array, jax.Array | None]:
    """Returns vectors [B,T,D], and lengths [B] or None."""
    x = jax.random.normal(jax.random.key(1), (case.B, case.T, case.D)).astype(dtype)
    return x, None if case.lengths is None else jnp.asarray(case.lengths)


def _real(h_BTH: jax.Array, lengths: jax.Array | None) -> jax.Array:
    """Sets padding to zero: libraries differ in what they return for it, and without the mask they
    would do different work in the backward pass.
    """
    if lengths is None:
        return h_BTH
    return jnp.where((jnp.arange(h_BTH.shape[1])[None] < lengths[:, None])[..., None], h_BTH, 0.0)


def layer_work(name: str, case: Case) -> tuple[Any, jax.Array, Callable[[Any, jax.Array], Any]]:
    """Returns the forward pass, or the gradient of weights and inputs, of a layer.

    Args:
      name: a contender that uses JAX.
      case: a case whose work is `forward` or `gradient`.

    Returns:
      Parameters, inputs, and a function of them: the outputs, or the gradients and the outputs.
    """
    params, apply = network(name, case)
    x, lengths = _inputs(case, numbers(name)[0])
    if case.work == "forward":
        return params, x, lambda params, x: apply(params, x, lengths)
    h_BTH = jax.eval_shape(apply, params, x, lengths)
    # Random weights of the outputs: the gradient of a plain sum is all ones, which a compiler may
    # exploit as no real loss allows.
    weights = jax.random.normal(jax.random.key(2), h_BTH.shape).astype(h_BTH.dtype)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        return (_real(apply(params, x, lengths), lengths) * weights).sum()

    return params, x, jax.grad(loss, argnums=(0, 1))


def deviation(name: str, case: Case) -> dict[str, float]:
    """Compares a backend with `scan`: the outputs, and the gradients of weights and inputs.

    Args:
      name: a contender of lstm_lab.
      case: a case whose work is `gradient`.

    Returns:
      The largest deviation of `outputs` and of `gradients`, over the largest magnitude of the array
      that `scan` gives; of the gradients, the largest such value over all arrays.
    """
    results = []
    for contender in (name, "lstm_lab scan"):
        params, x, gradients = layer_work(contender, case)
        _, lengths = _inputs(case, "float32")
        apply = network(contender, case)[1]

        def outputs(
            params: Any, x: jax.Array, apply: Any = apply, lengths: Any = lengths
        ) -> jax.Array:
            return _real(apply(params, x, lengths), lengths)

        results.append((jax.jit(outputs)(params, x), jax.jit(gradients)(params, x)))
    (h, grads), (scan_h, scan_grads) = results
    errors = jax.tree.leaves(jax.tree.map(_relative_error, grads, scan_grads))
    return {"outputs": _relative_error(h, scan_h), "gradients": max(errors)}


def _relative_error(array: jax.Array, reference: jax.Array) -> float:
    # Over the largest magnitude: near zero, any rounding is a large relative error.
    scale = jnp.maximum(jnp.abs(reference).max(), 1e-30)
    return float(jnp.abs(array - reference).max() / scale)


# ---- whole models


def training(name: str, case: Case) -> ours.Training:
    """Returns an optimizer step of a model: lstm_lab's own, or optax around another library.

    Args:
      name: a contender that uses JAX.
      case: a case whose work is that of a model.

    Returns:
      The first state, the data, and a function of both: the next state, and the loss.
    """
    if library(name) == "lstm_lab":
        return ours.training(name, case)
    params, apply = network(name, case)
    x, y = (jnp.asarray(array) for array in case.data())
    all_lengths = None if case.lengths is None else jnp.asarray(case.lengths)
    sgd = case.work == "language"
    optimizer = optax.chain(
        optax.clip_by_global_norm(ours.CLIP),
        optax.sgd(ours.SGD_RATE) if sgd else optax.adam(ours.ADAM_RATE),
    )

    def loss(params: Any, data: Any) -> jax.Array:
        x, y, lengths = data
        logits = apply(params, x, lengths)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        if lengths is None or not case.every_step:
            return losses.mean()
        real = jnp.arange(case.T)[None] < lengths[:, None]
        return jnp.where(real, losses, 0.0).sum() / real.sum()

    def step(state: Any, data: Any) -> tuple[Any, jax.Array]:
        params, opt_state = state
        value, grads = jax.value_and_grad(loss)(params, data)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), value

    # Copies: libraries may keep a reference to an array that the step donates.
    params = jax.tree.map(jnp.copy, params)
    return (params, optimizer.init(params)), (x, y, all_lengths), step


# ---- populations


def _population(name: str, case: Case) -> Callable[[], None]:
    """One SGD step per member: lstm_lab in one program, other libraries one after another."""
    from lstm_lab.training.parallel import map_population

    params, apply = network(name, case)
    x, lengths = _inputs(case, "float32")

    def loss(params: Any) -> jax.Array:
        return jnp.square(_real(apply(params, x, lengths), lengths)).mean()

    def step(params: Any) -> Any:
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params))

    if library(name) == "lstm_lab" and "in turn" not in name:
        # Each device trains equally many members, so the number of devices has to divide them.
        count = gcd(case.members, jax.local_device_count())
        step_all = map_population(step, jax.local_devices()[:count])

        def stack(leaf: jax.Array) -> jax.Array:
            return jnp.tile(leaf, (case.members, *(1 for _ in leaf.shape)))

        stacked = [jax.tree.map(stack, params)]

        def run_all() -> None:
            stacked[0] = jax.block_until_ready(step_all(stacked[0]))

        return run_all
    compiled = jax.jit(step, donate_argnums=0)
    # Copies: a donated array is consumed, so members cannot start from a common one.
    states = [jax.tree.map(jnp.copy, params) for _ in range(case.members)]

    def run() -> None:
        for k, params in enumerate(states):
            # Without waiting for each: the next call is dispatched while this one computes.
            states[k] = compiled(params)
        jax.block_until_ready(states)

    return run

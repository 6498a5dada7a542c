"""Layers of lstm_lab and of other JAX libraries, with the same work around each of them.

`build` is the entry point. A layer is a pair (params, apply) with
apply(params, x_BTD, lengths) -> h_BTH; losses, gradients and optimizers are shared, so that only
the layers differ.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lstm_lab.bench.cases import CLASSES, VOCABULARY, Case
from lstm_lab.bench.contenders import library, numbers
from lstm_lab.cells import get_variant
from lstm_lab.recurrence import BACKENDS, Backend, CallSignature, unsupported_reason

Layer = tuple[Any, Callable[..., jax.Array]]


def serves(name: str, case: Case) -> bool:
    """Returns whether the backend in a contender's name serves a case.

    Args:
      name: a contender of lstm_lab.
      case: the case.
    """
    dtype, _ = numbers(name)
    call = CallSignature(get_variant(case.cell).spec, jnp.dtype(dtype), case.B, case.D, case.H)
    return backend_of(name) == "auto" or unsupported_reason(backend_of(name), call) is None


def backend_of(name: str) -> Backend:
    """Returns the backend in a contender's name, `auto` without one.

    Args:
      name: a contender of lstm_lab.
    """
    backends = [backend for backend in BACKENDS if backend in name.split()]
    return backends[0] if backends else "auto"


def build(name: str, case: Case) -> Callable[[], None]:
    """Returns a function that does the work of a case once and waits for the result.

    Args:
      name: a contender that uses JAX.
      case: a case that it serves.
    """
    dtype, exact = numbers(name)
    # Set for the whole process: a contender has one of its own.
    jax.config.update("jax_default_matmul_precision", "highest" if exact else None)
    if name == "floor":
        return _compiled(_floor(case), *_floor_arrays(case))
    if case.work == "population":
        return _population(name, case)
    params, apply = layer(name, case)
    x = jax.random.normal(jax.random.key(1), (case.B, case.T, case.D)).astype(dtype)
    lengths = None if case.lengths is None else jnp.array(case.lengths)
    if case.work == "forward":
        return _compiled(lambda params, x: apply(params, x, lengths), params, x)
    if case.work == "gradient":
        h_BTH = jax.eval_shape(apply, params, x, lengths)
        # Random weights of the outputs: the gradient of a plain sum is all ones, which a compiler
        # may exploit as no real loss allows.
        weights = jax.random.normal(jax.random.key(2), h_BTH.shape).astype(h_BTH.dtype)

        def loss(params: Any, x: jax.Array) -> jax.Array:
            h = apply(params, x, lengths)
            # Libraries differ in what they return for padding. Without the mask they would do
            # different work in the backward pass.
            if lengths is not None:
                h = jnp.where((jnp.arange(case.T)[None] < lengths[:, None])[..., None], h, 0.0)
            return (h * weights).sum()

        return _compiled(jax.grad(loss, argnums=(0, 1)), params, x)
    return _training(case, params, apply)


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], None]:
    compiled = jax.jit(function)

    def run() -> None:
        # JAX returns before it has computed; without waiting, only the dispatch would be timed.
        jax.block_until_ready(compiled(*arguments))

    return run


# ---- layers


def layer(name: str, case: Case) -> Layer:
    """Returns the stack of a library.

    Args:
      name: a contender that uses JAX.
      case: the case.

    Returns:
      Its parameters, and a function (params, x_BTD, lengths) -> h_BTH; lengths [B] may be None.
    """
    if library(name) == "lstm_lab":
        return _lstm_lab(case, backend_of(name), numbers(name)[0])
    return {"flax": _flax, "keras": _keras, "haiku": _haiku, "equinox": _equinox}[name](case)


def _input_sizes(case: Case) -> list[int]:
    """Returns the number of input features of each layer."""
    return [case.D] + [case.H * (1 + case.bidirectional)] * (case.layers - 1)


def _lstm_lab(case: Case, backend: Backend, dtype: str) -> Layer:
    from lstm_lab.models.recurrent import LSTM

    model = LSTM(
        get_variant(case.cell).spec,
        (case.H,) * case.layers,
        bidirectional=case.bidirectional,
        backend=backend,
    )
    params = model.init(jax.random.key(0), jnp.zeros((1, 1, case.D)))

    def apply(params: Any, x: jax.Array, lengths: Any) -> jax.Array:
        # The transposes are timed too: other libraries take batch-major inputs.
        h_TBH, _ = model.apply(params, jnp.swapaxes(x, 0, 1).astype(dtype), lengths=lengths)
        return jnp.swapaxes(h_TBH, 0, 1)

    return params, apply


def _flax(case: Case) -> Layer:
    import flax.linen as nn

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x: Any, lengths: Any = None) -> Any:
            for _ in range(case.layers):
                rnn: Any = nn.RNN(nn.OptimizedLSTMCell(case.H))
                if case.bidirectional:
                    rnn = nn.Bidirectional(rnn, nn.RNN(nn.OptimizedLSTMCell(case.H)))
                x = rnn(x, seq_lengths=lengths)
            return x

    model = Stack()
    params = model.init(jax.random.key(0), jnp.zeros((1, case.T, case.D)))
    return params, model.apply  # type: ignore[return-value]


def _keras(case: Case) -> Layer:
    import keras

    inputs = keras.Input((case.T, case.D))
    mask = keras.Input((case.T,), dtype="bool")
    h = inputs
    for _ in range(case.layers):
        lstm = keras.layers.LSTM(case.H, return_sequences=True)
        layer = keras.layers.Bidirectional(lstm) if case.bidirectional else lstm
        h = layer(h, mask=mask if case.ragged else None)
    model = keras.Model([inputs, mask], h)
    params = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def apply(params: Any, x: jax.Array, lengths: Any) -> jax.Array:
        limit = jnp.full((case.B,), case.T) if lengths is None else lengths
        real = jnp.arange(case.T)[None] < limit[:, None]
        return model.stateless_call(params, others, [x, real])[0]

    return params, apply


def _haiku(case: Case) -> Layer:
    import haiku as hk

    def forward(x: jax.Array) -> jax.Array:
        h_TBD = jnp.swapaxes(x, 0, 1)
        for _ in range(case.layers):
            outputs = []
            for reverse in (False, True)[: 1 + case.bidirectional]:
                core = hk.LSTM(case.H)
                state = core.initial_state(case.B)
                inputs = h_TBD[::-1] if reverse else h_TBD
                h, _ = hk.dynamic_unroll(core, inputs, state)
                outputs.append(h[::-1] if reverse else h)
            h_TBD = jnp.concatenate(outputs, -1)
        return jnp.swapaxes(h_TBD, 0, 1)

    model: Any = hk.without_apply_rng(hk.transform(forward))
    params = model.init(jax.random.key(0), jnp.zeros((case.B, case.T, case.D)))
    return params, lambda params, x, lengths: model.apply(params, x)


def _equinox(case: Case) -> Layer:
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 2 * case.layers))
    cells = [
        [eqx.nn.LSTMCell(D, case.H, key=next(keys)) for _ in range(1 + case.bidirectional)]
        for D in _input_sizes(case)
    ]

    def one(cells: Any, x_TD: jax.Array) -> jax.Array:
        for directions in cells:
            outputs = []
            for reverse, cell in zip((False, True), directions, strict=False):

                def step(state: Any, x: jax.Array, cell: Any = cell) -> Any:
                    state = cell(x, state)
                    return state, state[0]

                zero = (jnp.zeros(case.H), jnp.zeros(case.H))
                outputs.append(jax.lax.scan(step, zero, x_TD, reverse=reverse)[1])
            x_TD = jnp.concatenate(outputs, -1)
        return x_TD

    params, static = eqx.partition(cells, eqx.is_array)
    return params, lambda params, x, lengths: jax.vmap(one, (None, 0))(
        eqx.combine(params, static), x
    )


# ---- the work around a layer


def _training(case: Case, params: Any, apply: Callable[..., jax.Array]) -> Callable[[], None]:
    """One optimizer step, with donated buffers so that the state is updated in place."""
    rng = np.random.default_rng(0)
    key_embed, key_head = jax.random.split(jax.random.key(3))
    language = case.work == "language"
    outputs = VOCABULARY if language else CLASSES
    weights = {"lstm": params, "head": 0.05 * jax.random.normal(key_head, (case.H, outputs))}
    weights["bias"] = jnp.zeros((outputs,))
    if language:
        weights["embed"] = 0.1 * jax.random.normal(key_embed, (VOCABULARY, case.D))
        tokens = jnp.array(rng.integers(0, VOCABULARY, (case.B, case.T + 1)))
        x, y = tokens[:, :-1], tokens[:, 1:]
        optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(0.1))
    else:
        x = jnp.array(rng.normal(size=(case.B, case.T, case.D)), jnp.float32)
        y = jnp.array(rng.integers(0, CLASSES, case.B))
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    def loss(weights: Any) -> jax.Array:
        h = apply(weights["lstm"], weights["embed"][x] if language else x, None)
        h = h if language else h[:, -1]
        logits = h @ weights["head"] + weights["bias"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(state: Any) -> Any:
        weights, opt_state = state
        updates, opt_state = optimizer.update(jax.grad(loss)(weights), opt_state, weights)
        return optax.apply_updates(weights, updates), opt_state

    compiled = jax.jit(step, donate_argnums=0)
    state = [(weights, optimizer.init(weights))]

    def run() -> None:
        state[0] = jax.block_until_ready(compiled(state[0]))

    return run


def _population(name: str, case: Case) -> Callable[[], None]:
    """One SGD step per member: lstm_lab in one program, other libraries one after another."""
    from lstm_lab.training.parallel import map_population

    params, apply = layer(name, case)
    x = jax.random.normal(jax.random.key(1), (case.B, case.T, case.D))

    def step(params: Any) -> Any:
        grads = jax.grad(lambda params: jnp.square(apply(params, x, None)).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)

    if library(name) == "lstm_lab" and "in turn" not in name:
        step_all = map_population(step)
        # Each device trains equally many members, so the number of devices has to divide them.
        devices = gcd(case.members, jax.local_device_count())

        def stack(leaf: jax.Array) -> jax.Array:
            return jnp.tile(leaf, (devices, case.members // devices, *(1 for _ in leaf.shape)))

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


# ---- the floor: the same matrix products without any gates, a lower bound of the time


def _floor_arrays(case: Case) -> tuple[jax.Array, ...]:
    keys = jax.random.split(jax.random.key(0), 4)
    G = 4 * case.H
    return (
        jax.random.normal(keys[0], (case.T * case.B, case.D)),
        jax.random.normal(keys[1], (case.D, G)) / case.D,
        jax.random.normal(keys[2], (case.H, G)) / case.H,
        jax.random.normal(keys[3], (case.T, case.B, case.H)),
    )


def _floor(case: Case) -> Callable[..., Any]:
    """The matrix products of a pass for each member.

    Products that do not depend on the state are computed for all time steps at once, the others
    step by step, as an LSTM must.
    """
    steps = (case.T, case.B, 4 * case.H)

    # All products are returned: XLA removes what nobody reads.
    def one(x: jax.Array, wx: jax.Array, wh: jax.Array, h: jax.Array) -> Any:
        zx = x @ wx
        _, z = jax.lax.scan(lambda _, h: (None, h @ wh), None, h)
        if case.work == "forward":
            return zx, z
        dz = zx.reshape(steps)
        _, dh = jax.lax.scan(lambda _, dz: (None, dz @ wh.T), None, dz)
        flat = dz.reshape(-1, 4 * case.H)
        dx, dwx = (flat @ wx.T, x.T @ flat)
        dwh = h.reshape(-1, case.H).T @ flat
        return z, dh, dwx, dwh, (dx if case.work == "gradient" else None)

    if case.work != "population":
        return one
    # Each member gets other inputs, or XLA could compute the products once for all of them.
    return lambda *arrays: jax.lax.map(
        lambda k: one(arrays[0] + k, *arrays[1:]), jnp.arange(float(case.members))
    )

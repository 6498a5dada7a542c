"""Layers and models of other JAX libraries, each written as its users would write them.

In: a case. Out: parameters and a function of them. `jax_work.py` has the work around them: losses,
gradients and optimizers are shared, so that only the libraries differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.bench.cases import Case

# Parameters, and a function (params, x, lengths) -> h [B,T,H], or logits of a model. The inputs x
# are vectors [B,T,D], or words [B,T] of a model with an embedding.
Network = tuple[Any, Callable[..., jax.Array]]


def network(library: str, case: Case) -> Network:
    """Returns the layers of a library, or its model if the work of the case is that of a model.

    Args:
      library: flax, keras, haiku or equinox.
      case: the case.

    Returns:
      Parameters, and a function (params, x, lengths) of them; lengths [B] may be None.
    """
    build = {"flax": _flax, "keras": _keras, "haiku": _haiku, "equinox": _equinox}[library]
    return build(case)


def _example(case: Case, rows: int) -> jax.Array:
    """Returns inputs of zeros, from which a library takes shapes and dtype."""
    if case.reads_words:
        return jnp.zeros((rows, case.T), jnp.int32)
    return jnp.zeros((rows, case.T, case.D))


def _flax(case: Case) -> Network:
    import flax.linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x: Any, lengths: Any = None) -> Any:
            if case.reads_words:
                x = nn.Embed(case.vocabulary, case.D)(x)
            finals: Any = None
            for _ in range(case.layers):
                rnn: Any = nn.RNN(nn.OptimizedLSTMCell(case.H))
                if case.bidirectional:
                    rnn = nn.Bidirectional(rnn, nn.RNN(nn.OptimizedLSTMCell(case.H)))
                finals, x = rnn(x, seq_lengths=lengths, return_carry=True)
            if not case.is_model:
                return x
            if not case.every_step:
                # The carry of a cell is (c, h).
                carries = finals if case.bidirectional else (finals,)
                x = jnp.concatenate([h for _, h in carries], -1)
            return nn.Dense(case.outputs)(x)

    model = Network()
    params = model.init(jax.random.key(0), _example(case, 1))
    return params, model.apply  # type: ignore[return-value]


def _keras(case: Case) -> Network:
    import keras

    shape = (case.T,) if case.reads_words else (case.T, case.D)
    inputs = keras.Input(shape, dtype="int32" if case.reads_words else "float32")
    mask = keras.Input((case.T,), dtype="bool")
    h = keras.layers.Embedding(case.vocabulary, case.D)(inputs) if case.reads_words else inputs
    for layer in range(case.layers):
        last = layer == case.layers - 1
        lstm = keras.layers.LSTM(case.H, return_sequences=case.every_step or not last)
        layers = keras.layers.Bidirectional(lstm) if case.bidirectional else lstm
        h = layers(h, mask=mask if case.ragged else None)
    if case.is_model:
        h = keras.layers.Dense(case.outputs)(h)
    model = keras.Model([inputs, mask], h)
    params = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def apply(params: Any, x: jax.Array, lengths: Any) -> jax.Array:
        limit = jnp.full((case.B,), case.T) if lengths is None else lengths
        real = jnp.arange(case.T)[None] < limit[:, None]
        return model.stateless_call(params, others, [x, real])[0]

    return params, apply


def _haiku(case: Case) -> Network:
    import haiku as hk

    def forward(x: jax.Array) -> jax.Array:
        if case.reads_words:
            x = hk.Embed(case.vocabulary, case.D)(x)
        h_TBD = jnp.swapaxes(x, 0, 1)
        finals: list[jax.Array] = []
        for _ in range(case.layers):
            outputs, finals = [], []
            for reverse in (False, True)[: 1 + case.bidirectional]:
                core = hk.LSTM(case.H)
                state = core.initial_state(case.B)
                inputs = h_TBD[::-1] if reverse else h_TBD
                h, final = hk.dynamic_unroll(core, inputs, state)
                outputs.append(h[::-1] if reverse else h)
                finals.append(final.hidden)
            h_TBD = jnp.concatenate(outputs, -1)
        h_BTD = jnp.swapaxes(h_TBD, 0, 1)
        if not case.is_model:
            return h_BTD
        head = hk.Linear(case.outputs)
        return head(h_BTD if case.every_step else jnp.concatenate(finals, -1))

    model: Any = hk.without_apply_rng(hk.transform(forward))
    params = model.init(jax.random.key(0), _example(case, case.B))
    return params, lambda params, x, lengths: model.apply(params, x)


def _equinox(case: Case) -> Network:
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 2 * case.layers + 2))
    sizes = [case.D] + [case.features] * (case.layers - 1)
    cells = [
        [eqx.nn.LSTMCell(D, case.H, key=next(keys)) for _ in range(1 + case.bidirectional)]
        for D in sizes
    ]
    embed = eqx.nn.Embedding(case.vocabulary, case.D, key=next(keys)) if case.reads_words else None
    head = eqx.nn.Linear(case.features, case.outputs, key=next(keys)) if case.is_model else None

    def one(model: Any, x: jax.Array) -> jax.Array:
        cells, embed, head = model
        x_TD = x if embed is None else jax.vmap(embed)(x)
        finals: list[jax.Array] = []
        for directions in cells:
            outputs, finals = [], []
            for reverse, cell in zip((False, True), directions, strict=False):

                def step(state: Any, x: jax.Array, cell: Any = cell) -> Any:
                    state = cell(x, state)
                    return state, state[0]

                zero = (jnp.zeros(case.H), jnp.zeros(case.H))
                final, h = jax.lax.scan(step, zero, x_TD, reverse=reverse)
                outputs.append(h)
                finals.append(final[0])
            x_TD = jnp.concatenate(outputs, -1)
        if head is None:
            return x_TD
        return jax.vmap(head)(x_TD) if case.every_step else head(jnp.concatenate(finals))

    params, static = eqx.partition((cells, embed, head), eqx.is_array)
    return params, lambda params, x, lengths: jax.vmap(one, (None, 0))(
        eqx.combine(params, static), x
    )

"""Regularization inside a cell: the masks of zoneout, recurrent dropout and DropConnect.

In: a variant, its rates and a key for each example. Out: `Noise`, the masks that the cell reads at
each step. The spec says which masks a variant has; the rates are arrays, so that one program serves
runs with different rates.

A mask depends only on its purpose, the absolute time and the example. Each draw covers the units of
one example, so the same masks result for any chunk length, any split of the batch over devices and
any padding of the width. recurrence/unroll.py passes the masks to the cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from lstm_lab.cells.cell import Params, Spec

RecurrentDropout = Literal["variational", "variational_untied", "semeniuta", "semeniuta_sequence"]
Rates = Mapping[str, float | jax.Array]  # by name, as numbers or scalar arrays

# The rates of the papers' language models. They apply when a run sets no rate. Those of variational
# dropout are of its authors' code (yaringal/BayesianRNN, main_new_dropout_SOTA.lua).
_ZONEOUT = {"zoneout_c": 0.5, "zoneout_h": 0.05}
_PUBLISHED = {
    "variational": {"recurrent_dropout": 0.3, "input_dropout": 0.5},
    "variational_untied": {"recurrent_dropout": 0.3, "input_dropout": 0.5},
    "semeniuta": {"recurrent_dropout": 0.25},
    "semeniuta_sequence": {"recurrent_dropout": 0.25},
}
RATES = ("zoneout_c", "zoneout_h", "recurrent_dropout", "input_dropout", "weight_drop")
# Their places are folded into keys: a new purpose goes to the end, or all later masks would change.
_PURPOSES = ("zoneout_c", "zoneout_h", "recurrent", "candidate", "weights", "inputs")


class Noise(NamedTuple):
    """The masks of one step; None for a mask that the variant does not have.

    For a sequence, each array has a leading axis: T, or 1 if all steps share the mask.

    Attributes:
      zoneout_c, zoneout_h: fraction of the old state that is kept, [B,H]: 0 or 1 in training, the
        rate in evaluation.
      recurrent: factor on h' in the recurrent product, [B,R], or [B,G,R] with one mask per gate.
      candidate: factor on the candidate, [B,H].

    Example:
      noise = Noise(candidate=jnp.zeros((2, 16)))  # drops the whole candidate
      state, _ = step(get_variant("semeniuta").spec, params, x_BD, noise=noise)
      state.c.any()  # False: nothing was written to the zero state
    """

    zoneout_c: jax.Array | None = None
    zoneout_h: jax.Array | None = None
    recurrent: jax.Array | None = None
    candidate: jax.Array | None = None


def refuse_noise(noise: object) -> None:
    """Raises ValueError if a cell without regularization gets noise."""
    if noise is not None:
        raise ValueError("noise: the variant has no regularization that takes it")


def mix(share: jax.Array | None, old: jax.Array, new: jax.Array) -> jax.Array:
    """Computes share * old + (1 - share) * new: zoneout with a mask, or with its expectation."""
    if share is None:
        return new
    share = share.astype(new.dtype)
    return share * old + (1.0 - share) * new


def default_rates(spec: Spec) -> dict[str, float]:
    """Returns the rates of a variant with the values of their papers; {} for most cells."""
    rates = dict(_ZONEOUT) if getattr(spec, "zoneout", False) else {}
    rates |= _PUBLISHED.get(getattr(spec, "recurrent_dropout", None) or "", {})
    return rates | ({"weight_drop": 0.5} if getattr(spec, "weight_drop", False) else {})


def is_drawn(spec: Spec) -> bool:
    """Returns whether a variant reads a mask at each step, not only in its weights or inputs."""
    return bool(set(default_rates(spec)) - {"weight_drop", "input_dropout"})


def expected(spec: Spec, rates: Rates) -> Noise | None:
    """Returns the noise of evaluation: the expectation of zoneout, and no dropout.

    Source: Krueger et al. 2017, Zoneout.
    """
    if not getattr(spec, "zoneout", False):
        return None
    return Noise(**{k: jnp.asarray(rates[k], jnp.float32).reshape(1, 1, 1) for k in _ZONEOUT})


def draw(
    spec: Spec, rates: Rates, keys_B: jax.Array, params: Params, T: int, start: int | jax.Array = 0
) -> Noise | None:
    """Draws the masks of a sequence.

    Args:
      spec: the variant.
      rates: numbers or scalar arrays, by the names of `default_rates`.
      keys_B: a key for each example.
      params: the parameters of the cell; only their shapes are read.
      T: number of steps.
      start: absolute time of the first step.

    Returns:
      The noise, or None for a variant without such masks.
    """
    zoneout, kind = getattr(spec, "zoneout", False), getattr(spec, "recurrent_dropout", None)
    if not zoneout and kind is None:
        return None
    R, G, H = params["wh"].shape
    steps = start + jnp.arange(T)
    noise = Noise()
    if zoneout:
        noise = noise._replace(
            **{name: 1.0 - _draw_mask(rates[name], name, keys_B, steps, H) for name in _ZONEOUT}
        )
    if kind is not None:
        rate, sequence = rates["recurrent_dropout"], jnp.zeros((1,), jnp.int32)
        if kind.startswith("semeniuta"):
            times = sequence if kind.endswith("sequence") else steps
            mask = _draw_mask(rate, "candidate", keys_B, times, H) / (1.0 - rate)
            noise = noise._replace(candidate=mask)
        elif kind == "variational":
            mask = _draw_mask(rate, "recurrent", keys_B, sequence, R) / (1.0 - rate)
            noise = noise._replace(recurrent=mask)
        else:
            masks = [_draw_mask(rate, "recurrent", keys_B, sequence + g, R) for g in range(G)]
            noise = noise._replace(recurrent=jnp.stack(masks, 2) / (1.0 - rate))
    return noise


def _draw_mask(
    rate: float | jax.Array, purpose: str, keys_B: jax.Array, steps: jax.Array, H: int
) -> jax.Array:
    """Draws 1 with probability 1 - rate, else 0: [T,B,H] for T steps."""

    def one(step: jax.Array, key: jax.Array) -> jax.Array:
        # A draw over [T,B,H] at once would depend on T and B.
        key = jax.random.fold_in(jax.random.fold_in(key, _PURPOSES.index(purpose)), step)
        return jax.random.bernoulli(key, 1.0 - rate, (H,)).astype(jnp.float32)

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(steps, keys_B)


def drop_inputs(
    spec: Spec, rates: Rates, keys_B: jax.Array, params: Params, x_TBD: jax.Array
) -> tuple[Params, jax.Array]:
    """Drops input features with one mask per sequence, if the variant has `input_dropout`.

    With `variational_untied` each gate reads inputs of its own. They lie side by side, [T,B,GD],
    and a matrix with the blocks of the gates on its diagonal reads them: G times the products of
    one mask, and every backend computes them as it computes any input.

    Args:
      spec: the variant.
      rates: numbers or scalar arrays, by the names of `default_rates`.
      keys_B: a key for each example.
      params: the parameters of the cell.
      x_TBD: the inputs.

    Returns:
      The parameters and the inputs that the cell reads instead.

    Source: Gal and Ghahramani 2016, section 4; masks for each gate as in the authors' code.
    """
    if "input_dropout" not in rates:
        return params, x_TBD
    rate, wx = rates["input_dropout"], params["wx"]
    D, G, _ = wx.shape
    untied = getattr(spec, "recurrent_dropout", None) == "variational_untied"
    masks_GBD = _draw_mask(rate, "inputs", keys_B, jnp.arange(G if untied else 1), D)
    dropped = [x_TBD * mask_BD.astype(x_TBD.dtype)[None] for mask_BD in masks_GBD / (1.0 - rate)]
    if not untied:
        return params, dropped[0]
    gates = jnp.eye(G, dtype=wx.dtype)[:, None, :, None]
    blocks = (wx[None] * gates).reshape(G * D, *wx.shape[1:])
    return {**params, "wx": blocks}, jnp.concatenate(dropped, -1)


def drop_weights(rates: Rates, key: jax.Array, params: Params) -> Params:
    """Drops recurrent weights with one mask per batch, if the variant has `weight_drop`.

    Source: Merity, Keskar and Socher 2017, section 2 (DropConnect on the hidden-to-hidden weights).
    """
    if "weight_drop" not in rates:
        return params
    wh, rate = params["wh"], rates["weight_drop"]
    R, G, H = wh.shape
    mask = _draw_mask(rate, "weights", key[None], jnp.arange(R * G), H).reshape(R, G, H)
    return {**params, "wh": wh * mask.astype(wh.dtype) / (1.0 - rate)}

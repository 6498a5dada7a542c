"""Regularisers of the recurrence: their rates are numbers, and the masks they draw an input.

A mask is a function of (purpose, absolute time, example), drawn with the unit axis alone, so that
neither chunks of time, the batch's split over devices nor padded units change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

RecurrentDropout = Literal["variational", "variational_untied", "semeniuta", "semeniuta_sequence"]

# Rates of the papers' language models, where a run gives none.
_ZONEOUT = {"zoneout_c": 0.5, "zoneout_h": 0.05}
_PUBLISHED = {
    "variational": {"recurrent_dropout": 0.3, "input_dropout": 0.3},
    "variational_untied": {"recurrent_dropout": 0.3, "input_dropout": 0.3},
    "semeniuta": {"recurrent_dropout": 0.25},
    "semeniuta_sequence": {"recurrent_dropout": 0.25},
}
RATES = ("zoneout_c", "zoneout_h", "recurrent_dropout", "input_dropout", "weight_drop")
_PURPOSES = ("zoneout_c", "zoneout_h", "recurrent", "candidate", "weights", "inputs")


class Noise(NamedTuple):
    """What a step's regularisers draw on; None where a variant lacks one.

    Over time, each array has a leading axis of T steps, or of 1 where all steps share it.

    Attributes:
      zoneout_c, zoneout_h: share of the old state that stays, [B,H]: 0 or 1 in training, the rate
        in evaluation.
      recurrent: factor on h' as the recurrent product reads it, [B,R], or [B,G,R] for each gate.
      candidate: factor on the candidate, [B,H].
    """

    zoneout_c: jax.Array | None = None
    zoneout_h: jax.Array | None = None
    recurrent: jax.Array | None = None
    candidate: jax.Array | None = None


def refuse_noise(noise: Any) -> None:
    """Raises ValueError for noise, in a cell without regularisers."""
    if noise is not None:
        raise ValueError("noise: the variant has no regulariser that takes it")


def mix(share: jax.Array | None, old: jax.Array, new: jax.Array) -> jax.Array:
    """Returns share * old + (1 - share) * new: zoneout by a mask, or by its expectation."""
    if share is None:
        return new
    share = share.astype(new.dtype)
    return share * old + (1.0 - share) * new


def default_rates(spec: Any) -> dict[str, float]:
    """Returns the rates that a variant takes, with their papers' values; none for most cells."""
    rates = dict(_ZONEOUT) if getattr(spec, "zoneout", False) else {}
    rates |= _PUBLISHED.get(getattr(spec, "recurrent_dropout", None) or "", {})
    return rates | ({"weight_drop": 0.5} if getattr(spec, "weight_drop", False) else {})


def is_drawn(spec: Any) -> bool:
    """Returns whether a variant takes noise step by step, rather than in its weights or inputs."""
    return bool(set(default_rates(spec)) - {"weight_drop", "input_dropout"})


def expected(spec: Any, rates: Mapping[str, Any]) -> Noise | None:
    """Returns the noise of evaluation: zoneout's expectation, and nothing for what drops."""
    if not getattr(spec, "zoneout", False):
        return None
    return Noise(*(jnp.asarray(rates[k], jnp.float32).reshape(1, 1, 1) for k in _ZONEOUT))


def draw(
    spec: Any, rates: Mapping[str, Any], keys_B: jax.Array, params: Any, T: int, start: Any = 0
) -> Noise | None:
    """Draws the masks of a sequence.

    Args:
      spec: the variant.
      rates: numbers or scalar arrays by name, as `default_rates` names them.
      keys_B: a key for each example.
      params: the cell's parameters, for their widths.
      T: steps.
      start: absolute time of the first step.

    Returns:
      The noise, or None for a variant without such regularisers.
    """
    zoneout, kind = getattr(spec, "zoneout", False), getattr(spec, "recurrent_dropout", None)
    if not zoneout and kind is None:
        return None
    R, G, H = params["wh"].shape
    steps = start + jnp.arange(T)
    noise = Noise()
    if zoneout:
        noise = noise._replace(
            **{name: 1.0 - _kept(rates[name], name, keys_B, steps, H) for name in _ZONEOUT}
        )
    if kind is not None:
        rate, whole = rates["recurrent_dropout"], jnp.zeros((1,), jnp.int32)
        if kind.startswith("semeniuta"):
            when = whole if kind.endswith("sequence") else steps
            mask = _kept(rate, "candidate", keys_B, when, H) / (1.0 - rate)
            noise = noise._replace(candidate=mask)
        elif kind == "variational":
            mask = _kept(rate, "recurrent", keys_B, whole, R) / (1.0 - rate)
            noise = noise._replace(recurrent=mask)
        else:
            masks = [_kept(rate, "recurrent", keys_B, whole + g, R) for g in range(G)]
            noise = noise._replace(recurrent=jnp.stack(masks, 2) / (1.0 - rate))
    return noise


def _kept(rate: Any, purpose: str, keys_B: jax.Array, steps: jax.Array, H: int) -> jax.Array:
    """Draws 1 with probability 1 - rate and else 0: [T,B,H] for T steps."""

    def one(step: jax.Array, key: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.fold_in(key, _PURPOSES.index(purpose)), step)
        return jax.random.bernoulli(key, 1.0 - rate, (H,)).astype(jnp.float32)

    return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(steps, keys_B)


def drop_inputs(rates: Mapping[str, Any], keys_B: jax.Array, x_TBD: jax.Array) -> jax.Array:
    """Drops input features by one mask a sequence, at rate `input_dropout` where a variant has one.

    Source: Gal and Ghahramani 2016, section 4.
    """
    if "input_dropout" not in rates:
        return x_TBD
    rate, whole = rates["input_dropout"], jnp.zeros((1,), jnp.int32)
    mask = _kept(rate, "inputs", keys_B, whole, x_TBD.shape[-1]) / (1.0 - rate)
    return x_TBD * mask.astype(x_TBD.dtype)


def drop_weights(rates: Mapping[str, Any], key: jax.Array, params: Any) -> Any:
    """Drops recurrent weights by one mask a batch, at rate `weight_drop` where a variant has one.

    Source: Merity, Keskar and Socher 2017, section 2 (DropConnect on the hidden-to-hidden weights).
    """
    if "weight_drop" not in rates:
        return params
    wh, rate = params["wh"], rates["weight_drop"]
    R, G, H = wh.shape
    kept = _kept(rate, "weights", key[None], jnp.arange(R * G), H).reshape(R, G, H)
    return {**params, "wh": wh * kept.astype(wh.dtype) / (1.0 - rate)}

"""What a model is made of: layers, shapes, parameters and the arithmetic of a pass."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr

from lstm_lab.config import RunSpec, model_of
from lstm_lab.tasks import Tokens


@dataclass(frozen=True)
class Summary:
    """A model's parts.

    Attributes:
      parameters: rows (name, shape, count), one for each array.
      total: number of parameters.
      flops_per_token: floating-point operations of the matrix products of a forward pass, for each
        time step of a sequence; a multiplication and an addition count as two.
    """

    parameters: list[tuple[str, str, int]]
    total: int
    flops_per_token: float

    @property
    def training_flops_per_token(self) -> float:
        """Of both passes: the backward one has two products for each of the forward's."""
        return 3.0 * self.flops_per_token


def summarise(spec: RunSpec, T: int = 64) -> Summary:
    """Computes a model's summary without allocating it.

    Args:
      spec: the run.
      T: time steps of the sequence over which the head's products are spread.

    Returns:
      The summary.
    """
    # The reference backend: products inside a kernel could not be counted.
    counted = replace(spec, compute=replace(spec.compute, backend="scan"))
    model, inputs = model_of(counted), spec.task.inputs
    x = (
        jnp.zeros((1, T), jnp.int32)
        if isinstance(inputs, Tokens)
        else jnp.zeros((1, T, inputs.features))
    )
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    leaves = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    rows = [
        ("/".join(str(part.key) for part in path), str(tuple(leaf.shape)), prod(leaf.shape))
        for path, leaf in leaves
    ]
    flops = matmul_flops(jax.make_jaxpr(model.apply)(variables, x))
    return Summary(rows, sum(count for _, _, count in rows), flops / T)


def matmul_flops(closed: ClosedJaxpr) -> float:
    """Counts the operations of all matrix products of a program, with its loops."""
    return _flops(closed.jaxpr)


def _flops(jaxpr: Jaxpr) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = (v.aval for v in (equation.invars[0], equation.outvars[0]))
            assert isinstance(left, jax.core.ShapedArray)
            assert isinstance(out, jax.core.ShapedArray)
            size = prod(out.shape) * prod(left.shape[d] for d in contracted)
            total += 2.0 * size
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(_flops(inner) for inner in _inner(equation.params))
    return total


def _inner(params: dict[str, Any]) -> list[Jaxpr]:
    """Returns the programs inside an equation's parameters."""
    values = [v for p in params.values() for v in (p if isinstance(p, (tuple, list)) else (p,))]
    closed = [v.jaxpr for v in values if isinstance(v, ClosedJaxpr)]
    return [*closed, *(v for v in values if isinstance(v, Jaxpr))]

"""Makes the graph of a traced step: blocks of units are followed through its equations.

In: `FlatStep`, traced with `Sizes`. Out: `Graph`. moves.py has the equations that only rename
blocks, sums.py those that sum. Read schedule.py next.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.extend.core import JaxprEqn

from lstm_lab.recurrence.backends.codegen.flat import FlatStep
from lstm_lab.recurrence.backends.codegen.graph import Graph, Sizes, UnsupportedError
from lstm_lab.recurrence.backends.codegen.moves import MOVES
from lstm_lab.recurrence.backends.codegen.primitives import ELEMENTWISE
from lstm_lab.recurrence.backends.codegen.sums import SUMS
from lstm_lab.recurrence.backends.codegen.values import BlockArray, Values, aval


def build(flat: FlatStep, sizes: Sizes) -> Graph:
    """Makes the graph of a step.

    Args:
      flat: the step, traced with those sizes.
      sizes: lengths of H (of one head's units) and R.

    Raises:
      UnsupportedError: for a primitive, or a form of it, that kernels do not have.
    """
    values = Values(flat, sizes)
    # A mask without rows is the same for all of them: a vector of weights.
    masks = [v for v in jax.tree.leaves(flat.inputs.noise) if v in flat.rows]
    for op, variables in (
        ("zx", [flat.inputs.zx]),
        ("state", jax.tree.leaves(flat.inputs.state)),
        ("noise", masks),
        ("d_state", jax.tree.leaves(flat.d_state)),
    ):
        for number, v in enumerate(variables):
            values[v] = values.input(op, number, aval(v).shape)
    for eqn in flat.step:
        for v, value in zip(eqn.outvars, _equation(values, eqn), strict=False):
            values[v] = value
    graph, results = values.graph, flat.results
    graph.state = [values.flat_blocks(v) for v in jax.tree.leaves(results.state)]
    graph.d_state = [values.flat_blocks(v) for v in jax.tree.leaves(results.d_state)]
    graph.gates = {name: values.flat_blocks(v) for name, v in results.gates.items()}
    graph.d_zx = values.flat_blocks(results.d_zx)
    return graph


def _equation(values: Values, eqn: JaxprEqn) -> list[BlockArray]:
    """Returns the values of an equation's results; none for a sum over rows."""
    name, shape = eqn.primitive.name, aval(eqn.outvars[0]).shape
    if 0 in shape:
        return [BlockArray(np.empty(values.counts(shape, None, "ONE"), np.int64), None, "ONE")]
    if name in SUMS:
        return SUMS[name](values, eqn)
    if name in MOVES:
        return MOVES[name](values, eqn)
    if name in ELEMENTWISE:
        return [_elementwise(values, eqn)]
    raise UnsupportedError(f"primitive: got {name}, which no kernel computes")


def _elementwise(values: Values, eqn: JaxprEqn) -> BlockArray:
    name, dtype = eqn.primitive.name, aval(eqn.outvars[0]).dtype
    operands = [values[v] for v in eqn.invars]
    with_units = [value for value in operands if value.unit_axis is not None]
    detail: Any = eqn.params.get("y") if name == "integer_pow" else None
    if name == "convert_element_type":
        detail = (aval(eqn.invars[0]).dtype, dtype)
    if name == "select_n" and dtype.kind == "b":
        name = "choose_flag"
    arrays = np.broadcast_arrays(*(value.blocks for value in operands))
    blocks = np.empty(arrays[0].shape, np.int64)
    for index in np.ndindex(*blocks.shape):
        blocks[index] = values.graph.operate(name, [int(a[index]) for a in arrays], detail)
    like = with_units[0] if with_units else operands[0]
    return like._replace(blocks=blocks)

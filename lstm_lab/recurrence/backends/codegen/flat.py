"""A time step and its derivative as one flat program, in three parts.

JAX traces a cell's step together with its transpose. Calls are inlined, so that every equation is a
primitive. The equations fall into three parts:

- before: what depends on parameters alone, such as the concatenation of two matrices. XLA computes
  it once per call.
- step: what depends on the row of a batch. The kernel computes it at each time step.
- after: what depends on sums over the rows, such as the transpose of a weight gradient. It is
  linear in them, so XLA computes it once, from the sums over all rows and steps.

In: a spec and shapes. Out: `FlatStep`. Read graph.py next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jax.core import ShapedArray
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var

from lstm_lab.cells.cell import Params, Spec, State, advance
from lstm_lab.utils.types import PyTree

# Number of rows with which a step is traced: a prime that is no other size, so that the axis of the
# batch can be recognized by its length.
ROWS = 10_007
CALLS = ("jit", "pjit", "closed_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call")


class StepShapes(NamedTuple):
    """The arguments of a step, as shapes.

    Attributes:
      params: the cell's parameters.
      zx: the input's part of the pre-activations [B,Z].
      state: the carried state.
      noise: the masks of one step, or None.
    """

    params: Params
    zx: jax.ShapeDtypeStruct
    state: State
    noise: PyTree


class StepResults(NamedTuple):
    """The results of a step and of its transpose.

    Attributes:
      state: the new state.
      gates: gates by name.
      d_params, d_zx, d_state: gradients, for a cotangent of the new state.
    """

    state: State
    gates: dict[str, Any]
    d_params: Any
    d_zx: Any
    d_state: State


@dataclass(frozen=True, eq=False)
class FlatStep:
    """A step and its transpose, without calls, in three parts.

    Attributes:
      inputs, d_state: the variables of the arguments, and of the new state's cotangents.
      results: the variables or literals of the results.
      constants: arrays that the cell's code holds, by variable.
      before, step, after: the equations of the three parts.
      weights: what `step` reads and no row changes: parameters, and what is computed from them.
      sums: the sums over rows that `step` leaves to `after`.
      rows: the variables that have an axis of rows.
    """

    inputs: StepShapes
    d_state: State
    results: StepResults
    constants: Mapping[Var, jax.Array]
    before: list[JaxprEqn]
    step: list[JaxprEqn]
    after: list[JaxprEqn]
    weights: list[Var]
    sums: list[Var]
    rows: frozenset[Var]


def trace(spec: Spec, shapes: StepShapes, clamp: Mapping[str, float] | None) -> FlatStep:
    """Traces a step and its transpose.

    Args:
      spec: the variant.
      shapes: shapes of the arguments, with `ROWS` rows.
      clamp: constants that replace gates, by name.
    """
    keywords = {"clamp": dict(clamp)} if clamp else {}
    names: list[str] = []

    def step_and_transpose(inputs: StepShapes, d_state: State) -> StepResults:
        def step(params: Params, zx: jax.Array, state: State) -> Any:
            new, gates = advance(spec, params, zx, state, inputs.noise, **keywords)
            names[:] = gates  # in the cell's order: JAX sorts the keys of a dict
            return new, gates

        new, pull, gates = jax.vjp(step, inputs.params, inputs.zx, inputs.state, has_aux=True)
        return StepResults(new, gates, *pull(d_state))

    closed, results = jax.make_jaxpr(step_and_transpose, return_shape=True)(shapes, shapes.state)
    flat = jax.make_jaxpr(lambda *values: _inlined(closed, values))(
        *(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in closed.jaxpr.invars)
    )
    program = flat.jaxpr
    inputs, d_state = jax.tree.unflatten(jax.tree.structure((shapes, shapes.state)), program.invars)
    named = jax.tree.unflatten(jax.tree.structure(results), program.outvars)
    named = named._replace(gates={name: named.gates[name] for name in names})
    constants = dict(zip(program.constvars, flat.consts, strict=True))
    return FlatStep(inputs, d_state, named, constants, *_parts(program))


def _parts(program: Jaxpr) -> tuple[Any, ...]:
    """Splits the equations into before, step and after; finds weights, sums and rows."""
    before, step, after = list[JaxprEqn](), list[JaxprEqn](), list[JaxprEqn]()
    rows = {v for v in program.invars if _has_rows(v)}
    sums, of_sums, weights = list[Var](), set[Var](), dict[Var, None]()
    for eqn in program.eqns:
        read = [v for v in eqn.invars if isinstance(v, Var)]
        if any(_has_rows(v) for v in (*read, *eqn.outvars)):
            step.append(eqn)
            weights |= dict.fromkeys(v for v in read if v not in rows)
            rows.update(v for v in eqn.outvars if _has_rows(v))
            sums += [v for v in eqn.outvars if not _has_rows(v)]
            of_sums.update(sums)
        elif of_sums.intersection(read):
            after.append(eqn)
            of_sums.update(eqn.outvars)
        else:
            before.append(eqn)
    return before, step, after, list(weights), sums, frozenset(rows)


def _has_rows(v: Var) -> bool:
    assert isinstance(v.aval, ShapedArray)
    return ROWS in v.aval.shape


def _inlined(closed: ClosedJaxpr, values: Sequence[Any]) -> list[Any]:
    """Evaluates a program with the programs that it calls in place of the calls."""
    program = closed.jaxpr
    values_of: dict[Any, Any] = dict(zip(program.invars, values, strict=True))
    values_of |= dict(zip(program.constvars, closed.consts, strict=True))
    evaluate(program.eqns, values_of)
    return [read(values_of, v) for v in program.outvars]


def evaluate(eqns: Sequence[JaxprEqn], values_of: dict[Any, Any]) -> None:
    """Evaluates equations, and adds their results to `values_of`."""
    for eqn in eqns:
        values = [read(values_of, v) for v in eqn.invars]
        called = _called(eqn)
        if called is not None:
            results = _inlined(called, values)
        else:
            results = eqn.primitive.bind(*values, **eqn.params)
            results = results if eqn.primitive.multiple_results else [results]
        values_of.update(zip(eqn.outvars, results, strict=True))


def read(values_of: Mapping[Any, Any], v: Any) -> Any:
    """Returns the value of a variable or literal."""
    return v.val if isinstance(v, Literal) else values_of[v]


def _called(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Returns the program that an equation calls, if it does nothing else."""
    if eqn.primitive.name not in CALLS:
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        called = eqn.params.get(name)
        if called is not None:
            return called if isinstance(called, ClosedJaxpr) else ClosedJaxpr(called, [])
    return None

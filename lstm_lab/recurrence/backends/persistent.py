"""A persistent kernel for NVIDIA's Hopper: one launch per layer and direction."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.recurrence.backends.codegen.emit import Key
from lstm_lab.recurrence.backends.codegen.layer import LayerPlan, plan
from lstm_lab.recurrence.backends.codegen.schedule import choose_saved
from lstm_lab.recurrence.backends.mosaic.kernel import ROWS, Arrays, Static, run
from lstm_lab.recurrence.backends.mosaic.plan import Layout, StepPlan, make_plan, matrices, vectors
from lstm_lab.recurrence.steps import Inputs, Options, Unrolled
from lstm_lab.utils.types import PyTree

INTERPRET = False


class PersistentStatic(NamedTuple):
    key: Key
    D: int
    reverse: bool
    pieces: int
    interpret: bool


class Call(NamedTuple):
    params: Params
    zx: jax.Array
    state: State
    is_real: jax.Array | None
    is_reset: jax.Array | None


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    x = inputs.x_TBD
    pieces = 1 if x.dtype == jnp.bfloat16 else 3 if _is_exact() else 2
    static = PersistentStatic(Key(spec), x.shape[-1], options.reverse, pieces, INTERPRET)
    zx = spec.cell.project(spec, params, x)
    h, final = _layer(static, Call(params, zx, state, inputs.is_real_TB, inputs.is_reset_TB))
    return Unrolled(h, final, {})


def _is_exact() -> bool:
    named = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    return named in ("highest", "float32")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(static: PersistentStatic, call: Call):
    return _forward(static, call, False)[0]


def _layer_plan(static: PersistentStatic, call: Call) -> LayerPlan:
    leaves, tree = jax.tree.flatten(call.params)
    return plan(static.key, tuple((a.shape, a.dtype) for a in leaves), tree, static.D)


def inputs_of(layer: LayerPlan, op: str) -> list[int]:
    nodes = layer.kernel.graph.nodes
    return sorted((k for k, n in enumerate(nodes) if n.op == op), key=lambda k: nodes[k].detail)


def forward_plan(layer: LayerPlan, saves: bool) -> StepPlan:
    graph = layer.kernel.graph
    carry = [k for blocks in graph.state for k in blocks]
    stored = carry + choose_saved(graph) if saves else carry[: len(graph.state[0])]
    return make_plan(
        layer, carried=inputs_of(layer, "state"), given=inputs_of(layer, "zx"), carry=carry, stored=stored
    )


def backward_plan(layer: LayerPlan) -> StepPlan:
    graph = layer.kernel.graph
    given = choose_saved(graph) + inputs_of(layer, "state")
    wanted = [k for k in graph.d_zx if graph.value(k) is None]
    wanted += [k for outer in graph.outers for k in (outer.source, outer.gradient)]
    wanted += [total.node for total in graph.totals]
    return make_plan(
        layer,
        carried=inputs_of(layer, "d_state"),
        given=given,
        carry=[k for blocks in graph.d_state for k in blocks],
        stored=[k for k in dict.fromkeys(wanted) if k not in given],
    )


def pack(layout: Layout, values: dict[int, jax.Array], dtype=jnp.float32) -> jax.Array:
    """Packs arrays [...,B,units] into one [...,rows,B]."""
    parts = []
    for k, slot in layout.slots.items():
        v = jnp.swapaxes(values[k].astype(dtype), -1, -2)
        B = v.shape[-1]
        parts.append(
            jnp.pad(v, [(0, 0)] * (v.ndim - 2) + [(0, slot.rows - v.shape[-2]), (0, -B % ROWS)])
        )
    return jnp.concatenate(parts, -2)


def unpack(p: StepPlan, layout: Layout, array: jax.Array, B: int) -> dict[int, jax.Array]:
    return {
        k: jnp.swapaxes(array[..., s.first : s.first + p.units(k), :B], -1, -2)
        for k, s in layout.slots.items()
    }


def flags(mask, B):
    if mask is None:
        return None
    return jnp.pad(mask.astype(jnp.int32), ((0, 0), (0, -B % ROWS)))


def blocks(layer: LayerPlan, op: str, arrays: list[jax.Array]) -> dict[int, jax.Array]:
    """Returns the blocks of arrays [...,B,units] by node."""
    graph, ends = layer.kernel.graph, {}
    result = {}
    for k in inputs_of(layer, op):
        number = graph.nodes[k].detail[0]
        units, start = layer.units(graph.nodes[k].width), ends.get(number, 0)
        result[k] = arrays[number][..., start : start + units]
        ends[number] = start + units
    return result


def _call(static: Static, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
    one = jax.tree.map(lambda a: a[None], arrays)
    stored, final = _members(static, one)
    return stored[0], final[0]


def _members(static: Static, arrays: Arrays):
    @custom_vmap
    def call(arrays):
        return run(static, arrays)

    @call.def_vmap
    def _(size, in_batched, arrays):
        def merge(a, batched):
            a = a if batched else jnp.broadcast_to(a[None], (size, *a.shape))
            return a.reshape(-1, *a.shape[2:])

        out = _members(static, jax.tree.map(merge, arrays, in_batched[0] if isinstance(in_batched, list) else in_batched))
        return jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), out), (True, True)

    return call(arrays)


def _forward(static: PersistentStatic, call: Call, saves: bool):
    layer = _layer_plan(static, call)
    graph, B = layer.kernel.graph, call.zx.shape[1]
    p = forward_plan(layer, saves)
    weights = layer.weights(call.params, None)
    fields, tree = jax.tree.flatten(call.state)
    arrays = Arrays(
        pack(p.given, blocks(layer, "zx", [call.zx]), call.zx.dtype),
        None,
        pack(p.carried, blocks(layer, "state", fields)),
        flags(call.is_real, B),
        flags(call.is_reset, B),
        vectors(p, weights),
        tuple(matrices(p, weights, static.pieces)),
    )
    rounds = call.state.h.dtype == jnp.bfloat16
    hidden = len(graph.state[0])
    kernel = Static(p, False, static.reverse, hidden, rounds, static.interpret)
    stored, last = _call(kernel, arrays)
    stored = unpack(p, p.stored, stored, B)
    h = jnp.concatenate([stored[k] for k in graph.state[0]], -1)
    if call.is_real is not None:
        h = jnp.where(call.is_real[..., None], h, 0.0)
    final = unpack(p, p.carried, last, B)
    ends = []
    it = iter(final.values())
    for new, field in zip(graph.state, fields, strict=True):
        ends.append(jnp.concatenate([next(it) for _ in new], -1).astype(field.dtype))
    return (h.astype(call.state.h.dtype), jax.tree.unflatten(tree, ends)), stored


def _layer_forward(static, call):
    results, stored = _forward(static, call, True)
    return results, (call, stored)


def _layer_backward(static: PersistentStatic, residuals, cotangents):
    call, stored = residuals
    dh, d_final = cotangents
    layer = _layer_plan(static, call)
    graph, B = layer.kernel.graph, call.zx.shape[1]
    p = backward_plan(layer)
    weights = layer.weights(call.params, None)
    fields, tree = jax.tree.flatten(call.state)
    # the state before each step
    new = [k for b in graph.state for k in b]
    before = {}
    for k, n in zip(inputs_of(layer, "state"), new, strict=True):
        initial = blocks(layer, "state", [f.astype(jnp.float32) for f in fields])[k][None]
        after = stored[n]
        v = jnp.concatenate([after[1:], initial] if static.reverse else [initial, after[:-1]])
        if call.is_reset is not None:
            v = jnp.where(call.is_reset[..., None], 0.0, v)
        before[k] = v
    known = {**stored, **before}
    dh = dh.astype(jnp.float32)
    carried = blocks(layer, "d_state", [f.astype(jnp.float32) for f in jax.tree.leaves(d_final)])
    hidden = len(graph.state[0])
    first = Layout(dict(list(p.carried.slots.items())[:hidden]), 0)
    dh_blocks = {k: v for k, v in blocks(layer, "d_state", [dh] + [jnp.zeros((*dh.shape[:2], f.shape[-1])) for f in fields[1:]]).items()}
    arrays = Arrays(
        pack(p.given, known),
        pack(first, dh_blocks),
        pack(p.carried, carried),
        flags(call.is_real, B),
        flags(call.is_reset, B),
        vectors(p, weights),
        tuple(matrices(p, weights, static.pieces)),
    )
    kernel = Static(p, True, not static.reverse, hidden, False, static.interpret)
    out, last = _call(kernel, arrays)
    known |= unpack(p, p.stored, out, B)
    T = call.zx.shape[0]
    d_zx = []
    for k, z in zip(graph.d_zx, inputs_of(layer, "zx"), strict=True):
        units = layer.units(graph.nodes[z].width)
        v = graph.value(k)
        d_zx.append(jnp.full((T, B, units), v, jnp.float32) if v is not None else jnp.broadcast_to(known[k], (T, B, units)))
    d_zx = jnp.concatenate(d_zx, -1).astype(call.zx.dtype)
    sums = [jnp.zeros(shape) for shape in layer.sum_shapes]
    for outer in graph.outers:
        value = jnp.einsum("tbs,tbg->sg", known[outer.source], known[outer.gradient])
        sums = _add(layer, sums, outer.place, value)
    for total in graph.totals:
        sums = _add(layer, sums, total.place, known[total.node].sum((0, 1)))
    d_params = layer.d_params(call.params, None, sums)
    d_params = jax.tree.map(lambda d, a: d.astype(a.dtype), d_params, call.params)
    ends = unpack(p, p.carried, last, B)
    it = iter(ends.values())
    d_state = [
        jnp.concatenate([next(it) for _ in new], -1).astype(f.dtype) for new, f in zip(graph.state, fields, strict=True)
    ]
    return (Call(d_params, d_zx, jax.tree.unflatten(tree, d_state), None, None),)


def _add(layer: LayerPlan, sums, place, value):
    array = sums[place.array]
    index, n = [], 0
    for axis, b in enumerate(place.block):
        if axis in (place.row, place.column):
            size = value.shape[n] if place.row < place.column or place.row < 0 else value.shape[1 - n]
            index.append(slice(b * size, (b + 1) * size))
            n += 1
        else:
            index.append(b)
    sums = list(sums)
    sums[place.array] = array.at[tuple(index)].set(value if place.row < place.column else value.T)
    return sums


_layer.defvjp(_layer_forward, _layer_backward)

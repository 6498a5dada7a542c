"""A persistent kernel for NVIDIA's Hopper: one launch per layer and direction.

The recurrent matrices stay in shared memory over all time steps, and the state in registers. The
step is the graph that `native` is generated from (codegen/). So the kernel serves the cells of
`native`, users' own included, whose functions Pallas has and whose matrices fit into shared memory;
`unsupported_reason` names what a cell has besides. The tensor cores multiply bfloat16 numbers and
add up in float32; two or three of them stand for each number of a float32 input
(mosaic/weights.py).

In: the arguments of every backend. Out: `Unrolled`. The forward pass stores the states and the
values of costly functions. The backward pass walks back with the transposed matrices; XLA then
gives the weights their gradients, as one product over all steps. It has been compiled for the H100
and simulated on CPU, never run on a device, so `auto` does not choose it. Read mosaic/plan.py next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.cell import Params, Spec, State
from lstm_lab.recurrence.backends.codegen.emit import Key, generate
from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError, WeightBlock
from lstm_lab.recurrence.backends.codegen.layer import LayerPlan, plan
from lstm_lab.recurrence.backends.codegen.schedule import INPUTS, choose_saved
from lstm_lab.recurrence.backends.mosaic.plan import StepPlan, inputs_of, make_plan, split_rows
from lstm_lab.recurrence.backends.mosaic.primitives import ELEMENTWISE
from lstm_lab.recurrence.backends.mosaic.weights import matrices, vectors
from lstm_lab.recurrence.device import DeviceType
from lstm_lab.recurrence.steps import Inputs, Options, Unrolled, matmul_precision, states_before

# Names in the kinds of devices with these tensor cores. Later generations have other instructions.
HOPPER = ("H100", "H200", "H800", "H20", "GH200")
# Bytes of shared memory that a block can use for matrices and their operands: 227 KB, less what
# sums over the units need.
SHARED_MEMORY = 232_448 - 4096
# Precisions of products that ask for float32: three bfloat16 numbers have it.
EXACT = ("highest", "float32", "F32_F32_F32", "BF16_BF16_F32_X6", "BF16_BF16_F32_X9")
INTERPRET = False  # whether to simulate the kernel on CPU instead; tests set it


class PersistentStatic(NamedTuple):
    """The static arguments of a call, hashable for `custom_vjp`.

    Attributes:
      key: the variant and its clamped gates.
      D: input features.
      reverse: run from the last step to the first.
      pieces: bfloat16 numbers that stand for one number in products of the kernels.
      precision: of the products that XLA computes.
      interpret: whether to simulate the kernel.
    """

    key: Key
    D: int
    reverse: bool
    pieces: int
    precision: str | None
    interpret: bool


class LayerArrays(NamedTuple):
    """The arrays of a call: `zx` has the products with the input [T,B,Z]."""

    params: Params
    zx: jax.Array
    state: State
    is_real_TB: jax.Array | None
    is_reset_TB: jax.Array | None


Values = Mapping[int, jax.Array]  # arrays [...,B,units] by node
Results = tuple[jax.Array, State]  # hidden states, final state


def unsupported_reason(
    spec: Spec,
    dtype: np.dtype | type,
    device: DeviceType,
    D: int,
    H: int,
    clamp: Mapping[str, float] | None = None,
    unusual_dtype: str = "",
) -> str | None:
    """Returns the reason why the backend does not support a call, naming the field, or None.

    Args:
      spec: the variant.
      dtype: of the inputs.
      device: the type of device for which the call is compiled.
      D, H: input features, hidden units.
      clamp: constants that replace gates, by name.
      unusual_dtype: an array of another dtype than usual, as in `dispatch.unusual_dtype`.
    """
    if not INTERPRET:
        if device.platform != "gpu":
            return f"platform: got {device.platform}, persistent supports gpu"
        if not any(name in device.kind for name in HOPPER):
            return f"device: got {device.kind}, persistent supports {', '.join(HOPPER)}"
    if dtype not in (jnp.float32, jnp.bfloat16):
        return f"dtype: got {jnp.dtype(dtype).name}, persistent supports float32 and bfloat16"
    if unusual_dtype:
        return f"{unusual_dtype}, persistent supports float32, and for h the inputs' dtype"
    try:
        graph = generate(key := _key(spec, clamp)).graph
        used = {node.op for node in graph.nodes} - INPUTS
        missing = sorted(used - {*ELEMENTWISE, "product", "row_sum", "row_max", "integer_pow"})
        if missing:
            return f"primitive: got {missing[0]}, persistent has no kernel for it"
        params = jax.eval_shape(lambda k: spec.cell.init(spec, k, D, H), jax.random.key(0))
        layer = _layer_plan(key, params, D)
    except UnsupportedError as reason:
        return str(reason)
    plans = (_forward_plan(layer, True), _backward_plan(layer))
    needed = max(step.shared_memory(_pieces(dtype)) for step in plans)
    if needed > SHARED_MEMORY:
        return (
            f"H: got {H}, whose matrices take {needed // 1024} KB of shared memory, expected at "
            f"most {SHARED_MEMORY // 1024} KB"
        )
    return None


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs a layer by the persistent kernel.

    Args:
      spec: a variant that `unsupported_reason` accepts.
      params: the cell's parameters.
      inputs: as in `steps.Inputs`, without noise.
      state: the initial state.
      options: direction and clamped gates; a trace is not supported.

    Returns:
      Hidden states and the final state.
    """
    x = inputs.x_TBD
    # `dispatch` lets only numbers through.
    key = _key(spec, cast("Mapping[str, float] | None", options.clamp))
    static = PersistentStatic(
        key, x.shape[-1], options.reverse, _pieces(x.dtype), matmul_precision(), INTERPRET
    )
    zx = spec.cell.project(spec, params, x)
    h, final = _layer(static, LayerArrays(params, zx, state, inputs.is_real_TB, inputs.is_reset_TB))
    return Unrolled(h, final, {})


def _key(spec: Spec, clamp: Mapping[str, float] | None) -> Key:
    return Key(spec, None, tuple(sorted((clamp or {}).items())))


def _pieces(dtype: np.dtype | type) -> int:
    """Returns how many bfloat16 numbers stand for one number in products."""
    named = matmul_precision()
    if dtype == jnp.bfloat16 or named in ("bfloat16", "BF16_BF16_F32"):
        return 1
    return 3 if named in EXACT else 2


def _layer_plan(key: Key, params: Params, D: int) -> LayerPlan:
    leaves, tree = jax.tree.flatten(params)
    return plan(key, tuple((leaf.shape, leaf.dtype) for leaf in leaves), tree, D)


def _forward_plan(layer: LayerPlan, saves: bool) -> StepPlan:
    """Plans the step: it stores h alone, or what the backward pass reads."""
    graph = layer.kernel.graph
    state = inputs_of(graph, "state")
    return make_plan(
        layer,
        carried=state,
        known=inputs_of(graph, "zx"),
        carry=[k for blocks in graph.state for k in blocks],
        stored=state + choose_saved(graph) if saves else state[: len(graph.state[0])],
    )


def _backward_plan(layer: LayerPlan) -> StepPlan:
    """Plans the transposed step: it stores the factors of the weights' gradients."""
    graph = layer.kernel.graph
    known = [*choose_saved(graph), *inputs_of(graph, "state")]
    wanted = [k for k in graph.d_zx if graph.value(k) is None]
    wanted += [k for outer in graph.outers for k in (outer.source, outer.gradient)]
    wanted += [total.node for total in graph.totals]
    return make_plan(
        layer,
        carried=inputs_of(graph, "d_state"),
        known=known,
        carry=[k for blocks in graph.d_state for k in blocks],
        stored=[k for k in wanted if k not in known],
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(static: PersistentStatic, call: LayerArrays) -> Results:
    return _forward(static, False, call)[0]


def _layer_forward(static: PersistentStatic, call: LayerArrays) -> tuple[Results, Any]:
    with jax.default_matmul_precision(static.precision):
        results, stored = _forward(static, True, call)
    return results, (call, stored)


def _forward(static: PersistentStatic, saves: bool, call: LayerArrays) -> tuple[Results, Values]:
    """Computes a layer, and the arrays over time that it stores, by node.

    Under a node of the old state it stores the new one.
    """
    layer = _layer_plan(static.key, call.params, static.D)
    step, graph = _forward_plan(layer, saves), layer.kernel.graph
    zx = _blocks(layer, "zx", [call.zx])
    h = call.state.h
    stored, last = _run(
        static,
        step,
        call,
        given=zx,
        carried=_blocks(layer, "state", [_float32(f) for f in jax.tree.leaves(call.state)]),
        rounds=h.dtype == jnp.bfloat16,
    )
    hidden = inputs_of(graph, "state")[: len(graph.state[0])]
    h_TBH = jnp.concatenate([stored[k] for k in hidden], -1).astype(h.dtype)
    if call.is_real_TB is not None:
        h_TBH = jnp.where(call.is_real_TB[..., None], h_TBH, jnp.zeros_like(h_TBH))
    return (h_TBH, _as_state(layer, "state", call.state, last)), stored


def _layer_backward(
    static: PersistentStatic, residuals: Any, cotangents: Results
) -> tuple[LayerArrays]:
    call, stored = residuals
    with jax.default_matmul_precision(static.precision):
        return (_gradients(static, call, stored, *cotangents),)


def _gradients(
    static: PersistentStatic, call: LayerArrays, stored: Values, dh: jax.Array, d_final: State
) -> LayerArrays:
    layer = _layer_plan(static.key, call.params, static.D)
    step, graph = _backward_plan(layer), layer.kernel.graph
    initial = _blocks(layer, "state", [_float32(f) for f in jax.tree.leaves(call.state)])
    after = {k: stored[k] for k in initial}
    before = states_before(initial, after, call.is_reset_TB, static.reverse)
    inputs_by_node = {**stored, **before}
    outputs, last = _run(
        static,
        step,
        call,
        given=inputs_by_node,
        # Between the first and the last step, gradients reach h alone from outside.
        added=_blocks(layer, "d_state", [_float32(dh)]),
        carried=_blocks(layer, "d_state", [_float32(f) for f in jax.tree.leaves(d_final)]),
    )
    values = {**inputs_by_node, **outputs}
    T, B, _ = call.zx.shape
    d_zx = [
        jnp.broadcast_to(
            values[k] if k in values else jnp.float32(graph.value(k)),
            (T, B, layer.units(graph.nodes[z].width)),
        )
        for k, z in zip(graph.d_zx, inputs_of(graph, "zx"), strict=True)
    ]
    sums = [jnp.zeros(shape, jnp.float32) for shape in layer.sum_shapes]
    for outer in graph.outers:
        product = jnp.einsum("tbs,tbg->sg", values[outer.source], values[outer.gradient])
        sums[outer.place.array] = _insert(sums[outer.place.array], outer.place, product)
    for total in graph.totals:
        vector = values[total.node].sum((0, 1))
        sums[total.place.array] = _insert(sums[total.place.array], total.place, vector)
    d_params = layer.d_params(call.params, None, sums)
    return LayerArrays(
        jax.tree.map(lambda d, p: d.astype(p.dtype), d_params, dict(call.params)),
        jnp.concatenate(d_zx, -1).astype(call.zx.dtype),
        _as_state(layer, "d_state", call.state, last),
        None,
        None,
    )


_layer.defvjp(_layer_forward, _layer_backward)


def _run(
    static: PersistentStatic,
    step: StepPlan,
    call: LayerArrays,
    *,
    given: Values,
    carried: Values,
    added: Values | None = None,
    rounds: bool = False,
) -> tuple[Values, Values]:
    """Runs a kernel on arrays by node; returns what it stores, and the last carried values."""
    # Late: importing Pallas takes longer than the rest of this package.
    from lstm_lab.recurrence.backends.mosaic import kernel

    T, B, _ = call.zx.shape
    hidden = len(step.layer.kernel.graph.state[0])
    weights = step.layer.weights(call.params, None)
    is_real, is_reset = (
        None if flag is None else split_rows(flag.astype(jnp.int32), 1)
        for flag in (call.is_real_TB, call.is_reset_TB)
    )
    arrays = kernel.Arrays(
        step.given.pack(given, (T, B)),
        None if added is None else step.carried.leading(hidden).pack(added, (T, B)),
        step.carried.pack(carried, (B,)),
        is_real,
        is_reset,
        vectors(step, weights),
        matrices(step, weights, static.pieces),
    )
    transposed = added is not None
    reverse = static.reverse != transposed
    stored, last = kernel.run(
        kernel.Static(step, transposed, reverse, hidden, rounds, static.interpret), arrays
    )
    return step.stored.unpack(stored, B), step.carried.unpack(last, B)


def _blocks(layer: LayerPlan, op: str, arrays: Sequence[jax.Array]) -> dict[int, jax.Array]:
    """Cuts arrays [...,units], the first fields of the inputs of one kind, into their blocks."""
    graph = layer.kernel.graph
    blocks, ends = dict[int, jax.Array](), [0] * len(arrays)
    for k in inputs_of(graph, op):
        array, units = graph.nodes[k].detail[0], layer.units(graph.nodes[k].width)
        if array >= len(arrays):
            break
        blocks[k] = arrays[array][..., ends[array] : ends[array] + units]
        ends[array] += units
    return blocks


def _as_state(layer: LayerPlan, op: str, like: State, blocks: Values) -> State:
    """Joins the blocks of the inputs of one kind to a state, the inverse of `_blocks`."""
    fields, tree = jax.tree.flatten(like)
    parts = (blocks[k] for k in inputs_of(layer.kernel.graph, op))
    joined = [
        jnp.concatenate([next(parts) for _ in names], -1).astype(field.dtype)
        for names, field in zip(layer.kernel.graph.state, fields, strict=True)
    ]
    return jax.tree.unflatten(tree, joined)


def _insert(array: jax.Array, place: WeightBlock, value: jax.Array) -> jax.Array:
    """Returns an array of sums with one block set."""
    sizes: Iterable[int] = iter(value.shape)
    index = tuple(
        slice(number * (size := next(sizes)), (number + 1) * size)  # type: ignore[call-overload]
        if axis in (place.row, place.column)
        else number
        for axis, number in enumerate(place.block)
    )
    return array.at[index].set(value)


def _float32(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32)

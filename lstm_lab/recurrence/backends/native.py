"""The compiled path on CPU: one custom call for a layer forward, one for its gradients.

The kernel of a cell is generated from its equations (codegen/) as C++, together with the passes in
kernel/, and is compiled on first use by the machine's own compiler, for the machine's own
instructions, into the user's cache (`kernel_library.py`). It serves every cell whose step consists
of products with the carried state, sums over its units, and elementwise functions;
`unsupported_reason` names what a cell has besides.

Forward and backward are functions of the inputs alone: what the forward pass saves is a cache. So
their own derivatives, which `jax.hessian` asks for, are those of the reference backend, `scan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells import gated, masks
from lstm_lab.cells.cell import GateValue, Params, Spec, State
from lstm_lab.recurrence.backends import kernel_library, scan
from lstm_lab.recurrence.backends.codegen.emit import Key, generate
from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError
from lstm_lab.recurrence.backends.codegen.layer import LayerPlan, plan
from lstm_lab.recurrence.steps import (
    EVERYTHING,
    Inputs,
    Options,
    Unrolled,
    matmul_precision,
    widths,
)
from lstm_lab.utils.types import PyTree


class NativeStatic(NamedTuple):
    """The static arguments of a call, hashable for `custom_vjp`.

    Attributes:
      key: the variant, its masks and its clamped gates: what the kernel's text depends on.
      reverse: run from the last step to the first.
      trace: names of the traced gates and state fields.
      precision: of the products that XLA computes.
    """

    key: Key
    reverse: bool
    trace: tuple[str, ...]
    precision: str | None


class Arguments(NamedTuple):
    """The arrays of a call.

    Attributes:
      params, state, noise: as in `unroll`; masks [T,B,...], or [1,1,...] for all steps and rows.
      x: inputs [T,B,D], float32.
      lengths: real steps of each row [B], which the kernel reads; or None.
      is_real_TB: the same as a mask, which the reference reads; or None.
      is_reset_TB: the state is zero before this step; or None.
    """

    params: Params
    x: jax.Array
    state: State
    noise: PyTree
    lengths: jax.Array | None
    is_real_TB: jax.Array | None
    is_reset_TB: jax.Array | None


def unsupported_reason(
    spec: Spec,
    dtype: np.dtype | type,
    platform: str,
    clamp: Mapping[str, float] | None = None,
    noise: bool = False,
    unusual_dtype: str = "",
) -> str | None:
    """Returns the reason why the backend does not support a variant, naming it, or None.

    Args:
      spec: the variant.
      dtype: of the inputs.
      platform: of the device for which the call is compiled.
      clamp: constants that replace gates, by name.
      noise: whether masks are given.
      unusual_dtype: an array of another dtype than usual, as in `dispatch.unusual_dtype`.
    """
    if platform != "cpu":
        return f"platform: got {platform}, native supports cpu"
    if dtype != jnp.float32:
        return f"dtype: got {jnp.dtype(dtype).name}, native supports float32"
    if unusual_dtype:
        return f"{unusual_dtype}, native supports float32"
    if noise and not masks.is_drawn(spec):
        return "noise: native supports the masks of zoneout and recurrent dropout"
    try:
        kernel = generate(Key(spec, _drawn_masks(spec) if noise else None, _sorted(clamp)))
    except UnsupportedError as reason:
        return str(reason)
    # Last, because it may compile for seconds.
    return kernel_library.load(kernel.text)[1]


def unroll(spec: Spec, params: Params, inputs: Inputs, state: State, options: Options) -> Unrolled:
    """Runs a layer by the compiled kernel.

    Args:
      spec: a variant that `unsupported_reason` accepts.
      params: the cell's parameters.
      inputs: as in `steps.Inputs`, float32; the kernel reads lengths instead of a mask.
      state: the initial state.
      options: direction, clamped gates, and what is traced.

    Returns:
      Hidden states, the final state, and the traced gates.
    """
    B, (H, R) = inputs.x_TBD.shape[1], widths(state)
    noise = jax.tree.map(partial(_whole_mask, B, H), inputs.noise)
    key = Key(spec, _axes_of_masks(noise, B, H, R), _sorted(options.clamp))
    kernel = generate(key)
    kernel_library.load(kernel.text)
    trace = tuple(kernel.traced) if options.trace == EVERYTHING else options.trace
    for name in trace:
        if name not in kernel.traced:
            raise ValueError(f"trace: got {name!r}, expected one of {', '.join(kernel.traced)}")
    arrays = Arguments(
        params,
        inputs.x_TBD,
        state,
        noise,
        inputs.lengths,
        inputs.is_real_TB,
        inputs.is_reset_TB,
    )
    static = NativeStatic(key, options.reverse, trace, matmul_precision())
    return _layer(static, arrays)


def _sorted(clamp: Mapping[str, GateValue] | None) -> tuple[tuple[str, float], ...]:
    # `dispatch` lets only numbers through.
    return cast("tuple[tuple[str, float], ...]", tuple(sorted((clamp or {}).items())))


def _whole_mask(B: int, H: int, mask: jax.Array) -> jax.Array:
    """Returns a mask with rows and units, or one for all steps and rows as it is."""
    steps, rows, *more = mask.shape
    if steps == rows == 1:
        return mask
    return jnp.broadcast_to(mask, (steps, B, *more[:-1], H if more[-1] == 1 else more[-1]))


def _axes_of_masks(noise: PyTree, B: int, H: int, R: int) -> Any:
    """Describes the axes of each mask without time, as `Key.noise` holds them."""
    if noise is None:
        return None
    leaves, tree = jax.tree.flatten(noise)

    def axes(steps: int, rows: int, *more: int) -> tuple[str | int, ...]:
        units = "H" if more[-1] == H else "R" if more[-1] == R else more[-1]
        # A mask for all steps and rows is a weight of the kernel, not an array of rows.
        return (rows if steps == rows == 1 else "B", *more[:-1], units if more[-1] > 1 else 1)

    return tree, tuple(axes(*leaf.shape) for leaf in leaves)


def _drawn_masks(spec: Spec) -> Any:
    """Describes the masks that training draws for a variant."""
    B, D, H = 3, 8, 64
    params = jax.eval_shape(lambda key: spec.cell.init(spec, key, D, H), jax.random.key(0))
    keys_B = jax.random.split(jax.random.key(0), B)
    rates = masks.default_rates(spec)
    noise = jax.eval_shape(lambda p: masks.draw(spec, rates, keys_B, p, 1), params)
    return _axes_of_masks(noise, B, H, params["wh"].shape[0])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _layer(static: NativeStatic, arrays: Arguments) -> Unrolled:
    return _forward(static, False, arrays)[0]


def _layer_forward(static: NativeStatic, arrays: Any) -> tuple[Unrolled, Any]:
    def perturbed(tree: PyTree) -> jax.Array:
        # What needs a gradient is known when tracing, and carried as the length of an array.
        needed = any(leaf.perturbed for leaf in jax.tree.leaves(tree, is_leaf=_is_primal))
        return jnp.zeros((int(needed), 0))

    values = jax.tree.map(lambda primal: primal.value, arrays, is_leaf=_is_primal)
    with jax.default_matmul_precision(static.precision):
        results, saved = _forward(static, True, values)
    return results, (values, results.h, saved, perturbed(arrays.x), perturbed(arrays.noise))


def _is_primal(x: Any) -> bool:
    return isinstance(x, jax.custom_derivatives.CustomVJPPrimal)


def _layer_backward(static: NativeStatic, residuals: Any, cotangents: Any) -> tuple[Arguments]:
    arrays, h, saved, x_needed, noise_needed = residuals
    is_zero = _is_symbolic_zero
    flat, tree = jax.tree.flatten(cotangents, is_leaf=is_zero)
    reads_trace = not all(map(is_zero, jax.tree.leaves(cotangents.traced, is_leaf=is_zero)))
    # JAX passes symbolic zeros for outputs that the loss does not read.
    dense = [jnp.zeros(leaf.shape, jnp.float32) if is_zero(leaf) else leaf for leaf in flat]
    cotangents = jax.tree.unflatten(tree, dense)
    with jax.default_matmul_precision(static.precision):
        if reads_trace or noise_needed.shape[0]:
            # Rare, so the kernel has no code for it.
            _, pull = jax.vjp(partial(_reference, static), arrays)
            return (pull(cotangents)[0]._replace(lengths=None, is_real_TB=None, is_reset_TB=None),)
        gradients = _backward(static, bool(x_needed.shape[0]), arrays, h, saved, cotangents)
    d_params, dx, d_state = gradients
    d_noise = jax.tree.map(jnp.zeros_like, arrays.noise)
    return (Arguments(d_params, dx, d_state, d_noise, None, None, None),)


def _is_symbolic_zero(x: Any) -> bool:
    return isinstance(x, jax.custom_derivatives.SymbolicZero)


_layer.defvjp(_layer_forward, _layer_backward, symbolic_zeros=True)


def _reference(static: NativeStatic, arrays: Arguments) -> Unrolled:
    """The same by the reference backend, which has derivatives of every order."""
    key, (params, x, state, noise, lengths, is_real, is_reset) = static.key, arrays
    inputs = Inputs(x, lengths, is_real, is_reset, noise)
    options = Options(static.reverse, dict(key.clamp), static.trace)
    return scan.unroll(key.spec, params, inputs, state, options)


# ---- the calls


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _forward(static: NativeStatic, keep: bool, arrays: Arguments) -> tuple[Unrolled, jax.Array]:
    """Computes a layer, and with `keep` what its gradient reads again."""
    layer = _plan(static, arrays)
    (T, B), kernel = arrays.x.shape[:2], layer.kernel
    fields = jax.tree.leaves(arrays.state)
    traced = kernel.traced.items()
    shapes = [
        (T, B, arrays.state.h.shape[-1]),
        *(field.shape for field in fields),
        # What is not asked for is not stored: an array of length 0.
        *(
            (T if name in static.trace else 0, B, sum(map(layer.units, blocks)))
            for name, blocks in traced
        ),
        # Neither is what a gradient would need.
        (T if keep else 0, B, layer.saved),
    ]
    name = f"lstm_lab_forward_{kernel_library.name(kernel.text)}"
    h, *rest = _call(name, shapes)(*_inputs(layer, arrays), **_attributes(static, layer, arrays))
    final = jax.tree.unflatten(jax.tree.structure(arrays.state), rest[: len(fields)])
    named = dict(zip(kernel.traced, rest[len(fields) : -1], strict=True))
    return Unrolled(h, final, {name: named[name] for name in static.trace}), rest[-1]


@_forward.defjvp
def _forward_jvp(static: NativeStatic, keep: bool, primals: Any, tangents: Any) -> Any:
    results, saved = _forward(static, keep, *primals)
    _, d_results = jax.jvp(partial(_reference, static), primals, tangents)
    return (results, saved), (d_results, jnp.zeros_like(saved))


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _backward(
    static: NativeStatic,
    x_needed: bool,
    arrays: Arguments,
    h: jax.Array,
    saved: jax.Array,
    cotangents: Unrolled,
) -> tuple[Params, jax.Array, State]:
    """Computes the gradients of parameters, inputs and initial state."""
    layer = _plan(static, arrays)
    x, affine = arrays.x, _affine(static.key.spec, arrays.params)
    zx = x.shape[-1] if affine is not None else _project(static, arrays).shape[-1]
    fields = jax.tree.leaves(arrays.state)
    shapes = [
        # The gradient of zx is always needed where it is the parameters' only way to theirs.
        (x.shape[0] if x_needed or affine is None else 0, x.shape[1], zx),
        *(() if affine is None else (a.shape for a in affine)),
        *layer.sum_shapes,
        *(field.shape for field in fields),
    ]
    name = f"lstm_lab_backward_{kernel_library.name(layer.kernel.text)}"
    dx, *rest = _call(name, shapes)(
        *_inputs(layer, arrays),
        h,
        saved,
        cotangents.h,
        *jax.tree.leaves(cotangents.final),
        **_attributes(static, layer, arrays),
    )
    d_state = jax.tree.unflatten(jax.tree.structure(arrays.state), rest[-len(fields) :])
    sums = rest[: -len(fields)]
    if affine is None:
        _, pull = jax.vjp(
            lambda p, x: static.key.spec.cell.project(static.key.spec, p, x), arrays.params, x
        )
        d_params, dx = pull(dx)
    else:
        _, pull = jax.vjp(partial(_affine, static.key.spec), arrays.params)
        (d_params,) = pull((sums[0], sums[1]))
        sums = sums[2:]
        dx = dx if x_needed else jnp.zeros_like(x)
    more = layer.d_params(arrays.params, arrays.noise, sums)
    return jax.tree.map(jnp.add, d_params, more), dx, d_state


@_backward.defjvp
def _backward_jvp(static: NativeStatic, x_needed: bool, primals: Any, tangents: Any) -> Any:
    def gradients(arrays: Arguments, cotangents: Unrolled) -> tuple[Params, jax.Array, State]:
        def of(params: Params, x: jax.Array, state: State) -> Unrolled:
            return _reference(static, arrays._replace(params=params, x=x, state=state))

        return jax.vjp(of, arrays.params, arrays.x, arrays.state)[1](cotangents)

    # h and what was saved are functions of the inputs, so their tangents say nothing new.
    arrays, _, _, cotangents = primals
    d_arrays, _, _, d_cotangents = tangents
    _, tangent = jax.jvp(gradients, (arrays, cotangents), (d_arrays, d_cotangents))
    return _backward(static, x_needed, *primals), tangent


def _plan(static: NativeStatic, arrays: Arguments) -> LayerPlan:
    leaves, tree = jax.tree.flatten(arrays.params)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return plan(static.key, shapes, tree, arrays.x.shape[-1])


def _inputs(layer: LayerPlan, arrays: Arguments) -> list[jax.Array]:
    """Returns the arrays that both calls read, in the order of kernel/cell.cc."""
    params, x, state, noise, lengths, _, is_reset = arrays
    T, B, _ = x.shape
    affine = _affine(layer.kernel.key.spec, params)
    if affine is None:
        x = layer.kernel.key.spec.cell.project(layer.kernel.key.spec, params, x)
    variables = jax.tree.leaves(layer.flat.inputs.noise)
    rows = [
        mask
        for v, mask in zip(variables, jax.tree.leaves(noise), strict=True)
        if v in layer.flat.rows
    ]
    return [
        x,
        *(affine or ()),
        *layer.weights(params, noise),
        *jax.tree.leaves(state),
        *rows,
        jnp.full((B,), T, jnp.int32) if lengths is None else lengths.astype(jnp.int32),
        jnp.zeros((0, 0), jnp.uint8) if is_reset is None else is_reset.astype(jnp.uint8),
    ]


def _project(static: NativeStatic, arrays: Arguments) -> jax.ShapeDtypeStruct:
    spec = static.key.spec
    return jax.eval_shape(partial(spec.cell.project, spec), arrays.params, arrays.x)


def _affine(spec: Spec, params: Params) -> tuple[jax.Array, jax.Array] | None:
    """Returns W [D,Z] and b [Z] of zx = x W + b, or None if the projection is another one."""
    if spec.cell.project is not gated.project or "ln_x" in params:
        return None
    wx, b = params["wx"], params["b"].reshape(-1)
    w = wx.reshape(wx.shape[0], -1)
    if "wm_x" in params:
        more = params["wm_x"]
        return jnp.concatenate([w, more], 1), jnp.pad(b, (0, more.shape[1]))
    return w, b


def _attributes(static: NativeStatic, layer: LayerPlan, arrays: Arguments) -> dict[str, Any]:
    affine = _affine(static.key.spec, arrays.params)
    return {
        "reverse": np.bool_(static.reverse),
        "projects": np.bool_(affine is not None),
        "sizes": np.array([layer.H, layer.R, layer.kernel.weights], np.int64),
        "places": layer.places,
    }


def _call(name: str, shapes: Sequence[tuple[int, ...]]) -> Callable[..., Any]:
    results = tuple(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes)
    # Members one after another: the kernel already uses all cores for one.
    return jax.ffi.ffi_call(name, results, vmap_method="sequential")

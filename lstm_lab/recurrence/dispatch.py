"""Chooses the backend of a call from what each one supports and from measured times."""

from __future__ import annotations

import inspect
import json
import math
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.cells.cell import GateValue, Params, Spec
from lstm_lab.cells.spec import CellSpec
from lstm_lab.recurrence.backends import associative, cudnn, native, persistent
from lstm_lab.recurrence.device import DeviceType, own_device_type
from lstm_lab.utils.types import JSON, PyTree

Backend = Literal["auto", "scan", "fused", "native", "associative", "cudnn", "persistent"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
NAMED: tuple[Backend, ...] = BACKENDS[1:]
# Milliseconds forward + backward by platform, cell and shape: `lstm-lab bench --suite=backends`.
TIMINGS = Path(__file__).with_name("timings.json")
MEMBERS = "members"  # the name of the axis under which `vmap` batches the members of a population
# The sizes that `_distance` compares between a call and a row of the table.
MEASURED = ("members", "B", "D", "H")
FIELDS_WITH_A_COST = ("multiplicative", "layer_norm", "gate_recurrence", "projection", "peephole")


class CallSignature(NamedTuple):
    """The properties of a call on which the choice of a backend depends.

    Attributes:
      spec: the variant.
      dtype: of the inputs.
      B, D, H: rows, input features, hidden units. T is absent on purpose: chunks of any length
        must take the same backend, so that they equal one long call bit for bit.
      noise, trace, resets: whether the call has any.
      clamp: constants that replace gates, by name and sorted.
      members: how many of a population are batched.
      device: the type of device for which the call is compiled; None stands for this process's.
      unusual_dtype: the first array of another dtype than usual, as `unusual_dtype` names it.

    Example:
      call = CallSignature(CellSpec(), x_TBD.dtype, B=32, D=8, H=16, trace=True)
    """

    spec: Spec
    dtype: np.dtype | type
    B: int = 32
    D: int = 64
    H: int = 64
    noise: bool = False
    trace: bool = False
    clamp: tuple[tuple[str, GateValue], ...] = ()
    resets: bool = False
    members: int = 1
    device: DeviceType | None = None
    unusual_dtype: str = ""


def batched_members() -> int:
    """Returns the number of members that a surrounding `vmap` batches; 1 without one.

    Example:
      batched_members()  # 1
      jax.vmap(lambda x: x * batched_members(), axis_name="members")(jnp.ones(3))  # [3, 3, 3]
    """
    try:
        return jax.lax.axis_size(MEMBERS)
    except NameError:
        return 1


def unusual_dtype(
    dtype: np.dtype | type, params: Params | PyTree, state: PyTree, noise: PyTree = None
) -> str:
    """Names the first array whose dtype is not the one that a cell gives it, and that dtype.

    Kernels read the bytes of these arrays in the usual dtypes: that of the inputs for h, and
    float32 for everything else. The other backends take any dtypes.

    Args:
      dtype: of the inputs.
      params, state, noise: arrays or their shapes, also of several layers.

    Returns:
      Name and dtype, or "" if all dtypes are the usual ones.

    Example:
      state = State(h=jnp.zeros((2, 16)), c=jnp.zeros((2, 16), jnp.bfloat16))
      unusual_dtype(jnp.float32, {}, state)  # "state.c: got dtype bfloat16"
    """
    for kind, tree in (("params", params), ("state", state), ("noise", noise)):
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            name = jax.tree_util.keystr(path)
            usual = dtype if kind == "state" and name.endswith(".h") else jnp.float32
            # Not `leaf.dtype`: an array of NumPy in float64 is float32 in JAX, unless x64 is on.
            if (got := jnp.result_type(leaf)) != usual:
                return f"{kind}{name}: got dtype {got.name}"
    return ""


def resolve(backend: Backend, call: CallSignature) -> Backend:
    """Returns the backend to call: the given one, or for "auto" the fastest that supports the call.

    Raises:
      ValueError: for an unknown backend, or one that does not support the call.

    Example:
      resolve("auto", CallSignature(CellSpec(), jnp.bfloat16, trace=True))  # "scan"
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: got {backend!r}, expected one of {', '.join(BACKENDS)}")
    if call.clamp and "clamp" not in inspect.signature(call.spec.cell.pointwise).parameters:
        raise ValueError("clamp: this cell's pointwise takes no clamp")
    if backend == "auto":
        return choose(call)
    reason = unsupported_reason(backend, call)
    if reason:
        raise ValueError(f"backend: got {backend!r}, which does not support this call; {reason}")
    return backend


def choose(call: CallSignature) -> Backend:
    """Returns the choice of `auto`: the fastest backend that supports the call.

    Times come from the measured row whose shape is nearest to the call. A cell without timings,
    such as a user's own, gets `native` if that supports it, else `scan`. Without timings for the
    platform it is `fused`, which needs less memory than `scan`.

    Example:
      choose(CallSignature(CellSpec(), jnp.float32, B=32, D=64, H=256))  # differs between devices
      choose(CallSignature(CellSpec(), jnp.bfloat16, trace=True))  # "scan": only it traces bfloat16
    """
    rows = measured(*(call.device or own_device_type()))
    same_family = [row for row in rows if row["cell"] == family(call.spec)]
    if not same_family:
        default: tuple[Backend, ...] = ("native", "scan") if rows else ("fused", "scan")
        return next(b for b in default if unsupported_reason(b, call) is None)
    times = min(same_family, key=lambda row: _distance(row, call))["ms"]
    # The fastest first: whether `native` can run is known only after its kernel is compiled.
    timed = sorted((b for b in NAMED if b in times), key=times.__getitem__)
    return next((b for b in timed if unsupported_reason(b, call) is None), "scan")


def unsupported_reason(backend: Backend, call: CallSignature) -> str | None:
    """Returns the reason why a backend does not support a call, naming the field, or None.

    Example:
      call = CallSignature(CellSpec(), jnp.float32, trace=True)
      unsupported_reason("fused", call)  # "trace: fused returns no gates"
      unsupported_reason("scan", call)  # None
    """
    if backend == "scan":
        return None
    # A number is a part of the compiled program; an array would be one more argument of a kernel.
    numbers = {
        name: value for name, value in call.clamp if isinstance(value, int | float | np.number)
    }
    if len(numbers) < len(call.clamp):
        return f"clamp: {backend} takes numbers, expected the same for all units"
    device = call.device or own_device_type()
    spec, dtype, platform = call.spec, call.dtype, device.platform
    # In order: a case without a name refuses what none of the backends after it supports.
    match backend:
        case "native":
            return native.unsupported_reason(
                spec, dtype, platform, numbers, call.noise, call.unusual_dtype
            )
        case _ if call.trace:
            return f"trace: {backend} returns no gates"
        case "fused":
            return None
        case _ if call.noise:
            return f"noise: {backend} does not support it"
        case "persistent" | "cudnn" if call.B == 0:
            return f"B: got 0, {backend} expects at least one row"
        case "persistent":
            return persistent.unsupported_reason(
                spec, dtype, device, call.D, call.H, numbers, call.unusual_dtype
            )
        case _ if call.clamp:
            return f"clamp: {backend} does not support it"
        case "cudnn" if call.resets:
            return "resets: cudnn does not support them"
        case "cudnn":
            return cudnn.unsupported_reason(spec, dtype, platform, call.unusual_dtype)
        case _:
            return associative.unsupported_reason(spec)


def family(spec: Spec) -> str:
    """Returns the name under which a variant is timed: variants of the same cost share one."""
    if not isinstance(spec, CellSpec):
        return type(spec).__name__.removesuffix("Spec").lower()
    costly = [name for name in FIELDS_WITH_A_COST if getattr(spec, name)]
    return costly[0] if costly else "plain"


@cache
def measured(platform: str, device: str) -> list[dict[str, JSON]]:
    """Returns the rows of the table for a device: its own kind's, else its platform's, or none."""
    tables = [t for t in json.loads(TIMINGS.read_text())["tables"] if t["platform"] == platform]
    same_device = [t for t in tables if t["device"] == device]
    return [row for table in (same_device or tables)[:1] for row in table["rows"]]


def _distance(row: dict[str, JSON], call: CallSignature) -> float:
    """Returns how far a call's shape is from a row's, in powers of two."""
    # A batch may be empty, and a size of 0 has no logarithm.
    return sum(abs(math.log2(max(getattr(call, name), 1) / row[name])) for name in MEASURED)

"""The only file that maps: one member's functions over the lanes of a program and its devices.

In: a `TrainStep` and a `Layout`. Out: a `Program`. Lanes are mapped by `lax.map` on CPU and by
`vmap` elsewhere, devices by `shard_map`, those of several hosts included. (`jax.pmap` is made of
`shard_map` since JAX 0.8, with an axis of devices that several hosts cannot share.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import numpy as np
from jax import dtypes
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.recurrence import MEMBERS, device_type
from lstm_lab.tasks import Split
from lstm_lab.training import padding
from lstm_lab.training.device_axis import DeviceAxis
from lstm_lab.training.layout import Layout
from lstm_lab.training.optimizer import schedule_length
from lstm_lab.training.program import LoweredProgram, Program
from lstm_lab.training.reports import ChunkReport
from lstm_lab.training.state import Member, TrainState, member_of
from lstm_lab.training.step import Splits, TrainStep
from lstm_lab.utils.types import PyTree

AXIS = "devices"
# A member's initialization runs once: optimizing it would take seconds and save milliseconds. A
# random search compiles one for every hidden size.
INIT_OPTIONS: dict[str, bool | int] = {"xla_backend_optimization_level": 0}
# Half of the time again, with the same bits; versions after 0.10 have only the other emitters.
if jax.__version_info__ < (0, 11):
    INIT_OPTIONS["xla_cpu_use_fusion_emitters"] = False


class LaneFunctions(NamedTuple):
    """A member's functions, mapped over the lanes of one device.

    Attributes:
      run_chunk: (states, splits, steps, ending) -> (states, reports).
      evaluate: (params, hparams, selected lanes, split) -> metrics.
    """

    run_chunk: Callable[..., tuple[TrainState, ChunkReport]]
    evaluate: Callable[..., dict[str, jax.Array]]


class Placement(NamedTuple):
    """The places of a program's arrays.

    Attributes:
      lanes: arrays with a leading axis of lanes: on each device its share of them, or all.
      data: arrays without lanes, whole on every device.
    """

    lanes: Sharding
    data: Sharding


def build_program(
    spec: RunSpec, total_steps: int, layout: Layout, devices: Sequence[jax.Device] | None = None
) -> Program:
    """Builds a cohort's functions; equal cohorts share one program, and so one compilation.

    Args:
      spec: any member's spec.
      total_steps: optimizer steps of the run.
      layout: how the cohort lies on the devices.
      devices: the devices for which the functions are compiled, which need not be present; None
        stands for this process's, or for those of all hosts.

    Raises:
      ValueError: if the layout needs more devices than there are.
    """
    length = schedule_length(spec, total_steps)
    if devices is None:
        devices = jax.local_devices() if layout.hosts == 1 else jax.devices()
    if len(devices) < layout.devices:
        raise ValueError(f"devices: got {len(devices)}, the layout needs {layout.devices}")
    wide = program_spec(layout.widen(spec))
    return _build(wide, length, layout, tuple(devices[: layout.devices]))


@lru_cache(maxsize=16)  # a compiled program may hold a hundred megabytes
def _build(
    spec: RunSpec, length: float, layout: Layout, devices: tuple[jax.Device, ...]
) -> Program:
    device = device_type(devices[0])
    train_step = TrainStep(
        spec,
        length,
        padded=layout.width is not None,
        # Under vmap every branch of a switch is computed: cutting would cost more than it saves.
        cut_to_length=device.platform == "cpu",
        axis=DeviceAxis(AXIS if layout.kind == "batch" else None),
        device=device,
    )
    lanes = _lane_functions(train_step, device.platform)
    placement, mapped = _over_devices(layout, devices, lanes)
    # Donated: the new state is written over the old one. An evaluation leaves the state alone.
    run_chunk, evaluate = jax.jit(mapped.run_chunk, donate_argnums=0), jax.jit(mapped.evaluate)
    place = partial(_place, placement.lanes)
    return Program(
        layout,
        place=place,
        place_data=partial(_place, placement.data),
        collect=jax.device_get,
        init_member=partial(_init_member, train_step),
        run_chunk=run_chunk,
        evaluate=lambda params, hparams, selected, split: evaluate(
            params, hparams, place(selected), split
        ),
        lower=partial(_lower, layout, placement, run_chunk, evaluate),
        member_shapes=partial(jax.eval_shape, train_step.init),
    )


# ---- devices


def _over_devices(
    layout: Layout, devices: tuple[jax.Device, ...], lanes: LaneFunctions
) -> tuple[Placement, LaneFunctions]:
    """Maps the functions of one device's lanes over all devices of a layout."""
    if layout.kind == "single":
        here = SingleDeviceSharding(devices[0])
        return Placement(here, here), lanes
    # One axis: members and batches are never split at the same time.
    mesh, whole = Mesh(np.array(devices), (AXIS,)), PartitionSpec()
    # With a split batch, every device holds all lanes and takes its rows of the batch.
    by_lane = PartitionSpec(AXIS) if layout.kind == "members" else whole
    # With check_vma, shard_map would sum the gradients a second time: `TrainStep` already does.
    spread = partial(jax.shard_map, mesh=mesh, out_specs=by_lane, check_vma=False)
    return Placement(NamedSharding(mesh, by_lane), NamedSharding(mesh, whole)), LaneFunctions(
        run_chunk=spread(lanes.run_chunk, in_specs=(by_lane, whole, whole, whole)),
        evaluate=spread(lanes.evaluate, in_specs=(by_lane, by_lane, by_lane, whole)),
    )


def _place(sharding: Sharding, tree: PyTree) -> PyTree:
    """Puts host arrays, the same on every host, on the devices of this one."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def one(array: np.ndarray) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    return jax.tree.map(one, tree)


# ---- lanes


def _lane_functions(train_step: TrainStep, platform: str) -> LaneFunctions:
    map_over_lanes = lane_map(platform)

    def run_chunk(
        states: TrainState, splits: Splits, steps: jax.Array, ending: jax.Array
    ) -> tuple[TrainState, ChunkReport]:
        return map_over_lanes(
            lambda state: train_step.run_chunk(state, splits, steps, ending), states
        )

    def evaluate(
        params: PyTree, hparams: PyTree, selected: jax.Array, split: Split
    ) -> dict[str, jax.Array]:
        def one(lane: tuple[jax.Array, PyTree, PyTree]) -> dict[str, jax.Array]:
            return train_step.evaluate_if(*lane, split)

        return map_over_lanes(one, (selected, params, hparams))

    return LaneFunctions(run_chunk, evaluate)


def lane_map(platform: str) -> Callable[[Callable[[PyTree], PyTree], PyTree], PyTree]:
    """Returns what maps a function of one member over a device's lanes: (function, lanes) -> lanes.

    One after another on CPU: a stopped lane then costs nothing, and a member's arrays stay in the
    cache. Batched elsewhere.
    """
    return jax.lax.map if platform == "cpu" else _vmap_lanes


def _vmap_lanes(one: Callable[[PyTree], PyTree], lanes: PyTree) -> PyTree:
    if jax.tree.leaves(lanes)[0].shape[0] > 1:
        # By the name of the axis, `recurrence.dispatch` knows how many members a kernel computes.
        return jax.vmap(one, axis_name=MEMBERS)(lanes)
    # Under vmap both branches of a condition are computed. A single lane is spared that.
    single = one(jax.tree.map(lambda a: a[0], lanes))
    return jax.tree.map(lambda a: a[None], single)


def map_population(
    one: Callable[[PyTree], PyTree], devices: Sequence[jax.Device]
) -> Callable[[PyTree], PyTree]:
    """Compiles a member's function for a population, as a cohort's members are spread.

    Args:
      one: a function of one member's arrays that returns arrays of the same shapes.
      devices: the devices, whose number divides that of the members.

    Returns:
      A function of arrays [members, ...]; the arrays passed are consumed.
    """
    lanes = partial(lane_map(devices[0].platform), one)
    mesh, by_member = Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS)
    spread = partial(jax.shard_map, mesh=mesh, out_specs=by_member, check_vma=False)
    return jax.jit(spread(lanes, in_specs=by_member), donate_argnums=0)


# ---- members of different width


def _init_member(train_step: TrainStep, spec: RunSpec, total: int) -> TrainState:
    """Returns a member's first state: drawn at its own size, then padded to the program's."""
    wide, member = train_step.spec, member_of(spec, total)
    # At its own size, so that a member starts from the weights of a lone run.
    narrow = program_spec(spec)
    length = train_step.schedule_length
    state = jax.device_get(_compiled_init(narrow, length)(member))
    if narrow.model.hidden == wide.model.hidden:
        return state
    shapes = jax.eval_shape(TrainStep(wide, length).init, member)
    return padding.pad(state, narrow.model.hidden, wide.model.hidden, shapes)


@lru_cache(maxsize=64)
def _compiled_init(spec: RunSpec, length: float) -> Callable[[Member], TrainState]:
    return jax.jit(TrainStep(spec, length).init, compiler_options=INIT_OPTIONS)


def unpad(layout: Layout, spec: RunSpec, params: PyTree) -> PyTree:
    """Returns a member's parameters at its own size, without the program's padding.

    Args:
      layout: of the program.
      spec: the member.
      params: its parameters at the program's width, host arrays.
    """
    if layout.width is None:
        return params
    wide = program_spec(layout.widen(spec))
    return padding.unpad_host(padding.unit_axes(wide), params, spec.model.hidden)


# ---- programs that are lowered and not run


def _shapes(sharding: Sharding, tree: PyTree) -> PyTree:
    """Returns the shapes of arrays, or of shapes, with the place where the arrays lie."""
    return jax.tree.map(
        lambda a: jax.ShapeDtypeStruct(
            np.shape(a), dtypes.canonicalize_dtype(a.dtype), sharding=sharding
        ),
        tree,
    )


def _lower(
    layout: Layout,
    placement: Placement,
    run_chunk: jax.stages.Wrapped,
    evaluate: jax.stages.Wrapped,
    member: TrainState,
    splits: Mapping[str, Split],
    test: Split,
) -> LoweredProgram:
    """Lowers the functions of a program; see `Program.lower` for the last three arguments."""

    def with_lanes(leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((layout.lanes, *leaf.shape), leaf.dtype)

    lanes, data = partial(_shapes, placement.lanes), partial(_shapes, placement.data)
    state = lanes(jax.tree.map(with_lanes, member))
    selected = lanes(jax.ShapeDtypeStruct((layout.lanes,), bool))
    number = data(jax.ShapeDtypeStruct((), np.int32))
    return LoweredProgram(
        run_chunk.lower(state, data(dict(splits)), number, number),
        evaluate.lower(state.best.params, state.hparams, selected, data(test)),
    )

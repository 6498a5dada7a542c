"""The only file that maps: one member's functions over the lanes of a program and its devices."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.recurrence import MEMBERS
from lstm_lab.tasks import Split
from lstm_lab.train import evaluate as scoring
from lstm_lab.train import padding, step
from lstm_lab.train.layout import Layout
from lstm_lab.train.optimizer import schedule_length
from lstm_lab.train.state import IDLE, Member, TrainState, init_state, member_of

AXIS = "devices"


def request_cpu_devices(count: int) -> None:
    """Makes CPU cores usable as devices; takes effect before JAX is first used."""
    jax.config.update("jax_num_cpu_devices", count)


def keep_compiled_programs() -> None:
    """Keeps compiled programs in the user's cache, unless JAX was told where or not to."""
    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return
    # Programs for a CPU run on its like alone, and a home folder may serve several machines.
    cpuinfo = Path("/proc/cpuinfo")
    features = [
        line
        for line in (cpuinfo.read_text().splitlines() if cpuinfo.is_file() else ())
        if line.startswith(("flags", "Features", "model name"))
    ][:2]
    machine = hashlib.sha256("".join([platform.machine(), *features]).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lstm_lab"
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs" / machine))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


class Program(NamedTuple):
    """A cohort's compiled functions. States and parameters have a leading axis of lanes.

    Attributes:
      layout: how it lies on the devices.
      place: a state of host arrays -> one on the devices.
      place_data: a pytree of host arrays -> the same on all devices.
      collect: anything with lanes, from the devices -> host arrays [lanes, ...].
      begin: (spec, total steps) -> one member's state, padded, host arrays without lanes.
      advance: (state, splits, steps, evaluating) -> state, Report; the state passed is consumed.
      evaluate: (params, hparams, wanted, split) -> metrics, NaN in lanes that are not wanted.
    """

    layout: Layout
    place: Callable[[Any], Any]
    place_data: Callable[[Any], Any]
    collect: Callable[[Any], Any]
    begin: Callable[[RunSpec, int], TrainState]
    advance: Callable[..., tuple[TrainState, step.Report]]
    evaluate: Callable[[Any, Any, Any, Split], dict[str, jax.Array]]

    def seat(self, state: TrainState | None, members: Mapping[int, TrainState]) -> TrainState:
        """Returns the state with members in lanes, in place of what was there.

        Args:
          state: the state on the devices, or None for a new one, whose other lanes idle.
          members: lanes, and what `begin` gave; one at least where there is no state.
        """
        if state is None:
            idle = next(iter(members.values()))._replace(stopped=jnp.int32(IDLE))
            lanes = [members.get(k, idle) for k in range(self.layout.lanes)]
            return self.place(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes))
        host = jax.tree.map(np.array, self.collect(state))
        for lane, member in members.items():
            jax.tree.map(partial(_set_lane, lane), host, member)
        return self.place(host)


def _set_lane(lane: int, lanes: np.ndarray, member: Any) -> None:
    lanes[lane] = member


def build_program(spec: RunSpec, total_steps: int, layout: Layout) -> Program:
    """Builds a cohort's functions; equal cohorts share one, and so one compilation.

    Args:
      spec: any member's spec.
      total_steps: steps of the run.
      layout: how the cohort lies on the devices.

    Returns:
      The program.
    """
    return _build(
        program_spec(layout.widen(spec)), schedule_length(spec.optim, total_steps), layout
    )


@lru_cache(maxsize=16)  # each may hold a hundred megabytes
def _build(spec: RunSpec, schedule_length: int, layout: Layout) -> Program:
    devices = (jax.local_devices() if layout.hosts == 1 else jax.devices())[: layout.devices]
    if len(devices) < layout.devices:
        raise ValueError(f"devices: found {len(devices)}, the layout needs {layout.devices}")
    axis_name = AXIS if layout.kind == "batch" else None
    map_lanes = partial(_map_lanes, devices[0].platform)

    def cuts_of(split: Split | None) -> tuple[int, ...]:
        # Batched members would compute every cut.
        return scoring.time_cuts(spec, split) if devices[0].platform == "cpu" else ()

    def advance(state: Any, splits: Any, steps: Any, evaluating: Any) -> Any:
        padded = layout.width is not None
        cuts = cuts_of(splits.get("train"))
        one = partial(
            step.advance, spec, schedule_length, padded=padded, cuts=cuts, axis_name=axis_name
        )
        return map_lanes(lambda state: one(state, splits, steps, evaluating), state)

    def evaluate(params: Any, hparams: Any, wanted: Any, split: Split) -> Any:
        def one(lane: tuple[Any, Any, Any]) -> Any:
            wanted, params, hparams = lane
            cuts = cuts_of(split)
            return scoring.evaluate_where(
                spec, wanted, params, hparams, split, cuts=cuts, axis_name=axis_name
            )

        return map_lanes(one, (wanted, params, hparams))

    begin = partial(_begin, spec, schedule_length)
    mesh = Mesh(np.array(devices), (AXIS,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    if layout.hosts > 1:
        return _hosts_program(layout, mesh, begin, advance, evaluate)
    if layout.kind == "single":
        place = partial(jax.device_put, device=devices[0])
        return Program(
            layout,
            place=place,
            place_data=place,
            collect=jax.device_get,
            begin=begin,
            advance=jax.jit(advance, donate_argnums=0),
            evaluate=jax.jit(evaluate),
        )
    pmap = partial(jax.pmap, axis_name=AXIS, devices=devices)
    if layout.kind == "batch":
        place = partial(jax.device_put, device=everywhere)
        return Program(
            layout,
            place=place,
            place_data=place,
            collect=jax.device_get,
            begin=begin,
            advance=_replicated(pmap, advance, layout.devices),
            evaluate=_replicated(pmap, evaluate, layout.devices),
        )
    return _members_program(layout, mesh, pmap, begin, advance, evaluate)


def _begin(wide: RunSpec, schedule_length: int, spec: RunSpec, total: int) -> TrainState:
    """Returns a member's first state: drawn at its own size, then padded to the program's."""
    own = program_spec(spec)
    state = jax.device_get(_compiled_init(own, schedule_length)(member_of(spec, total)))
    if own.model.hidden == wide.model.hidden:
        return state
    like = jax.eval_shape(partial(init_state, wide, schedule_length), member_of(spec, total))
    return padding.pad(state, own.model.hidden, wide.model.hidden, like)


def trim(layout: Layout, spec: RunSpec, params: Any) -> Any:
    """Returns a member's parameters, host arrays, without what a program's width adds to them."""
    if layout.width is None:
        return params
    wide = program_spec(layout.widen(spec))
    return padding.cut(padding.unit_axes(wide), params, spec.model.hidden)


@lru_cache(maxsize=64)
def _compiled_init(spec: RunSpec, schedule_length: int) -> Callable[[Member], TrainState]:
    # It runs once: optimising it would take a second, and save milliseconds.
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(partial(init_state, spec, schedule_length), compiler_options=options)


def _replicated(
    pmap: Callable[..., Any], function: Callable[..., Any], devices: int
) -> Callable[..., Any]:
    """Runs a function of replicated arguments on every device; pmap wants one that is mapped."""
    mapped = pmap(lambda _, args: function(*args), in_axes=(0, None), out_axes=None)
    return lambda *args: mapped(np.arange(devices), args)


def _hosts_program(
    layout: Layout,
    mesh: Mesh,
    begin: Callable[[RunSpec, int], TrainState],
    advance: Callable[..., Any],
    evaluate: Callable[..., Any],
) -> Program:
    """Splits each batch over the devices of several hosts; all else is the same on every device."""
    same = PartitionSpec()
    everywhere = NamedSharding(mesh, same)

    def place(tree: Any) -> Any:
        def one(array: Any) -> jax.Array:
            array = np.asarray(array)
            return jax.make_array_from_callback(array.shape, everywhere, lambda index: array[index])

        return jax.tree.map(one, tree)

    def split(function: Callable[..., Any], donated: tuple[int, ...]) -> Callable[..., Any]:
        # The reductions are our own: a checked mapping would sum the gradients a second time.
        mapped = jax.shard_map(function, mesh=mesh, in_specs=same, out_specs=same, check_vma=False)
        return jax.jit(mapped, donate_argnums=donated)

    return Program(
        layout,
        place=place,
        place_data=place,
        collect=jax.device_get,
        begin=begin,
        advance=split(advance, (0,)),
        evaluate=split(evaluate, ()),
    )


def _members_program(
    layout: Layout,
    mesh: Mesh,
    pmap: Callable[..., Any],
    begin: Callable[[RunSpec, int], TrainState],
    advance: Callable[..., Any],
    evaluate: Callable[..., Any],
) -> Program:
    """Spreads lanes: on the devices they are [devices, lanes per device, ...], for pmap."""
    spread = NamedSharding(mesh, PartitionSpec(AXIS))

    def split(tree: Any) -> Any:
        return jax.tree.map(lambda a: np.reshape(a, (layout.devices, -1, *np.shape(a)[1:])), tree)

    def place(tree: Any) -> Any:
        return jax.device_put(split(tree), spread)

    def collect(tree: Any) -> Any:
        return jax.tree.map(lambda a: a.reshape(layout.lanes, *a.shape[2:]), jax.device_get(tree))

    scored = pmap(evaluate, in_axes=(0, 0, 0, None))
    return Program(
        layout,
        place=place,
        place_data=partial(jax.device_put, device=NamedSharding(mesh, PartitionSpec())),
        collect=collect,
        begin=begin,
        advance=pmap(advance, in_axes=(0, None, None, None), donate_argnums=0),
        evaluate=lambda params, hparams, wanted, split: scored(
            params, hparams, place(wanted), split
        ),
    )


def spread(one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compiles a member's function for a population: shared out over the local devices, and mapped
    over the members of each.

    Args:
      one: a function of one member's arrays that returns arrays of the same shapes.

    Returns:
      A function of arrays [devices, members of each, ...]; what is passed is consumed.
    """
    platform = jax.local_devices()[0].platform
    return jax.pmap(partial(_map_lanes, platform, one), donate_argnums=0)


def _map_lanes(platform: str, one: Callable[[Any], Any], lanes: Any) -> Any:
    """Maps over a device's lanes: one after another on CPU, where a stopped lane then costs nothing
    and a member's arrays stay in the cache; batched elsewhere, but for a lane alone, whose branches
    stay branches."""
    if platform != "cpu" and jax.tree.leaves(lanes)[0].shape[0] == 1:
        alone = one(jax.tree.map(lambda a: a[0], lanes))
        return jax.tree.map(lambda a: a[None], alone)
    return jax.lax.map(one, lanes) if platform == "cpu" else jax.vmap(one, axis_name=MEMBERS)(lanes)

"""The only file that maps: one member's functions over the lanes of a program and its devices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_lab.config import RunSpec
from lstm_lab.optim import horizon
from lstm_lab.progress import say
from lstm_lab.tasks import Examples
from lstm_lab.train import step
from lstm_lab.train.state import IDLE, Member, TrainState, init_state

AXIS = "devices"

Kind = Literal["single", "members", "batch"]


@dataclass(frozen=True)
class Layout:
    """How a cohort lies on the devices; decided once, since bits depend on it.

    Attributes:
      kind: `single`: one device trains all lanes; `members`: each device trains its share of lanes;
        `batch`: every device trains all lanes on its share of each batch.
      devices: local devices used.
      lanes: places for members; a multiple of `devices` where members are spread.
    """

    kind: Kind
    devices: int
    lanes: int


def choose_layout(members: int, batch_size: int, devices: int) -> Layout:
    """Spreads members where there are enough, else splits the batch if it divides, else neither.

    Args:
      members: runs of the cohort.
      batch_size: sequences of a step.
      devices: local devices at hand.

    Returns:
      The layout.
    """
    if devices > 1 and members >= devices:
        return Layout("members", devices, -(-members // devices) * devices)
    if devices > 1 and batch_size % devices == 0:
        return Layout("batch", devices, members)
    return Layout("single", 1, members)


def fit_layout(layout: Layout, batch_size: int, devices: int) -> Layout:
    """Returns a layout decided before, or where devices are missing the nearest one that fits.

    Args:
      layout: the layout that a run or a cohort began with.
      batch_size: sequences of a step.
      devices: local devices at hand.

    Returns:
      A layout with the same lanes; another one is said, since its bits differ.
    """
    if layout.devices <= devices:
        return layout
    divided = layout.lanes if layout.kind == "members" else batch_size
    shared = max(n for n in range(1, devices + 1) if divided % n == 0)
    fitting = Layout(layout.kind if shared > 1 else "single", shared, layout.lanes)
    say(f"note: began on {layout.devices} devices, goes on on {shared}: its bits will differ")
    return fitting


def request_cpu_devices(count: int) -> None:
    """Makes CPU cores usable as devices; takes effect before JAX is first used."""
    jax.config.update("jax_num_cpu_devices", count)


class Program(NamedTuple):
    """A cohort's compiled functions. States and parameters have a leading axis of lanes.

    Attributes:
      layout: how it lies on the devices.
      place: a state of host arrays -> one on the devices.
      place_data: a pytree of host arrays -> the same on all devices.
      collect: anything with lanes, from the devices -> host arrays [lanes, ...].
      init: members [lanes] -> state.
      advance: (state, splits, steps, evaluating) -> state, Report; the state passed is consumed.
      evaluate: (params, hparams, examples) -> metrics.
    """

    layout: Layout
    place: Callable[[Any], Any]
    place_data: Callable[[Any], Any]
    collect: Callable[[Any], Any]
    init: Callable[[Member], TrainState]
    advance: Callable[..., tuple[TrainState, step.Report]]
    evaluate: Callable[[Any, Any, Examples], dict[str, jax.Array]]


def build_program(spec: RunSpec, total_steps: int, layout: Layout) -> Program:
    """Builds a cohort's functions; equal cohorts share one, and so one compilation.

    Args:
      spec: any member's spec.
      total_steps: steps of the run.
      layout: how the cohort lies on the devices.

    Returns:
      The program.
    """
    # What is not part of the program is set alike, so that cohorts that differ in nothing else are
    # one entry of the cache: seeds and numbers are arrays of the state, and the loop counts steps.
    shared = replace(
        spec,
        seed=0,
        init_seed=None,
        data_seed=None,
        noise_seed=None,
        optim=replace(spec.optim, lr=1.0, momentum=0.0, weight_decay=0.0),
        model=replace(
            spec.model,
            zoneout_c=None,
            zoneout_h=None,
            recurrent_dropout=None,
            input_dropout=None,
            weight_drop=None,
        ),
        train=replace(spec.train, steps=1, epochs=None, eval_every=None),
    )
    return _build(shared, horizon(spec.optim, total_steps), layout)


@lru_cache(maxsize=64)
def _build(spec: RunSpec, horizon: int, layout: Layout) -> Program:
    devices = jax.local_devices()[: layout.devices]
    if len(devices) < layout.devices:
        raise ValueError(f"devices: found {len(devices)}, the layout needs {layout.devices}")
    axis_name = AXIS if layout.kind == "batch" else None
    map_lanes = partial(_map_lanes, devices[0].platform)

    def advance(state: Any, splits: Any, steps: Any, evaluating: Any) -> Any:
        one = partial(step.advance, spec, horizon, axis_name=axis_name)
        return map_lanes(lambda state: one(state, splits, steps, evaluating), state)

    def evaluate(params: Any, hparams: Any, examples: Examples) -> Any:
        one = partial(step.evaluate, spec, axis_name=axis_name)
        return map_lanes(lambda lane: one(lane[0], lane[1], examples), (params, hparams))

    def init(members: Member) -> TrainState:
        return map_lanes(partial(init_state, spec, horizon), members)

    mesh = Mesh(np.array(devices), (AXIS,))
    everywhere = NamedSharding(mesh, PartitionSpec())
    # It runs once: optimising it costs a second, and saves milliseconds.
    compiled_init = jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})
    if layout.kind == "single":
        place = partial(jax.device_put, device=devices[0])
        return Program(
            layout,
            place=place,
            place_data=place,
            collect=jax.device_get,
            init=lambda members: place(compiled_init(members)),
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
            init=lambda members: place(compiled_init(members)),
            advance=_replicated(pmap, advance, layout.devices),
            evaluate=_replicated(pmap, evaluate, layout.devices),
        )
    return _members_program(layout, mesh, everywhere, pmap, compiled_init, advance, evaluate)


def _replicated(
    pmap: Callable[..., Any], function: Callable[..., Any], devices: int
) -> Callable[..., Any]:
    """Runs a function of replicated arguments on every device; pmap wants one that is mapped."""
    mapped = pmap(lambda _, args: function(*args), in_axes=(0, None), out_axes=None)
    return lambda *args: mapped(np.arange(devices), args)


def _members_program(
    layout: Layout,
    mesh: Mesh,
    everywhere: NamedSharding,
    pmap: Callable[..., Any],
    init: Callable[..., Any],
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

    return Program(
        layout,
        place=place,
        place_data=partial(jax.device_put, device=everywhere),
        collect=collect,
        init=lambda members: place(init(members)),
        advance=pmap(advance, in_axes=(0, None, None, None), donate_argnums=0),
        evaluate=pmap(evaluate, in_axes=(0, 0, None)),
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
    and a member's arrays stay in the cache; batched elsewhere."""
    return jax.lax.map(one, lanes) if platform == "cpu" else jax.vmap(one)(lanes)


def stack_members(members: list[Member], lanes: int) -> Member:
    """Stacks members along the axis of lanes; lanes left over idle as copies of the first."""
    idle = members[0]._replace(stopped=jnp.int32(IDLE))
    filled = [*members, *[idle] * (lanes - len(members))]
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *filled)

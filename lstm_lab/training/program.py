"""A cohort's compiled functions, and the lanes of its state on the host.

`parallel.build_program` makes a `Program`; `session.py` calls it. States and parameters have a
leading axis of lanes: one lane per member that trains at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Split
from lstm_lab.training.layout import Layout
from lstm_lab.training.reports import ChunkReport
from lstm_lab.training.state import IDLE, Member, TrainState
from lstm_lab.utils.types import PyTree


class LoweredProgram(NamedTuple):
    """A cohort's functions before their compilation.

    Attributes:
      run_chunk, evaluate: as in `Program`, for arguments of given shapes.
    """

    run_chunk: jax.stages.Lowered
    evaluate: jax.stages.Lowered


class Program(NamedTuple):
    """A cohort's compiled functions.

    Attributes:
      layout: how the cohort lies on the devices.
      place: arrays with lanes, from the host to the devices.
      place_data: arrays without lanes, from the host to every device.
      collect: arrays with lanes, from the devices to host arrays [lanes, ...].
      init_member: (spec, total steps) -> the first state of one member, host arrays without lanes,
        padded to the program's width.
      run_chunk: (state, splits, steps, PAUSE, REPORT or EVALUATE) -> (state, report); consumes the
        state.
      evaluate: (params, hparams, selected lanes as host array, split) -> metrics, NaN in lanes not
        selected.
      lower: the shapes of a member's state, of the splits and of the test split -> what `run_chunk`
        and `evaluate` compile. Nothing runs, so the devices need not be present.
      member_shapes: a member's first state, at the program's width, as shapes.
    """

    layout: Layout
    place: Callable[[PyTree], PyTree]
    place_data: Callable[[PyTree], PyTree]
    collect: Callable[[PyTree], PyTree]
    init_member: Callable[[RunSpec, int], TrainState]
    run_chunk: Callable[..., tuple[TrainState, ChunkReport]]
    evaluate: Callable[[PyTree, PyTree, np.ndarray, Split], dict[str, jax.Array]]
    lower: Callable[[TrainState, Mapping[str, Split], Split], LoweredProgram]
    member_shapes: Callable[[Member], TrainState]

    def assign(self, state: TrainState | None, members: Mapping[int, TrainState]) -> TrainState:
        """Returns the state with members in lanes; they replace what was there.

        Args:
          state: the state on the devices, or None for a new one, whose other lanes are idle.
          members: by lane, the result of `init_member`; at least one if there is no state.
        """
        if state is None:
            # Idle lanes need arrays of the right shape; any member has them.
            idle = next(iter(members.values()))._replace(stopped=jnp.int32(IDLE))
            lanes = [members.get(k, idle) for k in range(self.layout.lanes)]
            return self.place(jax.tree.map(lambda *leaves: np.stack(leaves), *lanes))
        # Copies, since what `collect` returns may be read-only views of device memory.
        host = jax.tree.map(np.array, self.collect(state))
        for lane, member in members.items():
            jax.tree.map(partial(_set_lane, lane), host, member)
        return self.place(host)


def _set_lane(lane: int, lanes: np.ndarray, member: jax.Array) -> None:
    lanes[lane] = member

"""What a compiled training program starts for one optimizer step, and for each time step.

In: the text of the program, as `kernels.py` reads it. Out: `StepLaunches`. A loop over time belongs
to training if the loop over optimizer steps contains it; those of evaluations do not. A step may
have conditionals, such as one that shuffles the examples once an epoch: what is counted starts at
every step, so each conditional takes its shortest branch.
"""

from __future__ import annotations

from typing import NamedTuple

from lstm_lab.compilation.kernels import CompiledProgram, TimeLoop, time_loops
from lstm_lab.recurrence.steps import TIME_SCOPE
from lstm_lab.training.step import STEPS_SCOPE


class StepLaunches(NamedTuple):
    """What one optimizer step starts on a device.

    Attributes:
      forward, backward: kernels per time step, for each layer and direction; () without a loop over
        time, as with one kernel per sequence.
      total: kernels that every optimizer step starts; None if the loop over optimizer steps is not
        in the text. A loop without a known number of iterations counts once.
      collectives: operations between devices, in the whole program.
      in_time_loops: those of them that a loop over time repeats.

    Example:
      step_launches(read_program(compiled.as_text()), scalars=True).forward  # (3.0,)
    """

    forward: tuple[float, ...]
    backward: tuple[float, ...]
    total: float | None
    collectives: int
    in_time_loops: int


def step_launches(program: CompiledProgram, scalars: bool) -> StepLaunches:
    """Counts what a training program starts for an optimizer step.

    Args:
      program: from `kernels.read_program`.
      scalars: whether the device starts something for a single number, as a GPU does.

    Example:
      step_launches(program, scalars=False).in_time_loops  # 0
    """
    loops = [loop for loop, _ in program.main.all_loops()]
    step = next(
        (loop.body.cheapest(scalars) for loop in loops if STEPS_SCOPE in loop.op_name), None
    )
    trained = [] if step is None else time_loops(step)
    # Also the loops over chunks, which `time_loops` leaves out.
    over_time = {loop.name for loop in loops if TIME_SCOPE in loop.op_name}
    return StepLaunches(
        tuple(_per_step(t, scalars) for t in trained if not t.backward),
        tuple(_per_step(t, scalars) for t in trained if t.backward),
        None if step is None else step.launches(scalars),
        len(program.collectives),
        sum(collective.loop in over_time for collective in program.collectives),
    )


def _per_step(loop: TimeLoop, scalars: bool) -> float:
    return loop.kernels_per_step + (loop.scalars_per_step if scalars else 0.0)

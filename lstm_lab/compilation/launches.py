"""What a compiled training program starts for one optimizer step, and for each time step.

In: the text of the program, as `kernels.py` reads it. Out: `StepLaunches`. A loop over time belongs
to training if the loop over optimizer steps contains it; those of evaluations do not.
"""

from __future__ import annotations

from typing import NamedTuple

from lstm_lab.compilation.kernels import CompiledProgram, LaunchedKernel, Loop, TimeLoop, time_loops
from lstm_lab.recurrence.steps import TIME_SCOPE
from lstm_lab.training.step import STEPS_SCOPE


class StepLaunches(NamedTuple):
    """What one optimizer step starts on a device.

    Attributes:
      forward, backward: kernels per time step, for each layer and direction; () without a loop over
        time, as with one kernel per sequence.
      total: kernels of a whole optimizer step; None if the loop over optimizer steps is not in the
        text. A loop without a known number of iterations counts once; of a conditional, the branch
        with the most kernels counts.
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
    steps = next((loop for loop in program.loops if STEPS_SCOPE in loop.op_name), None)
    inside = set() if steps is None else _inside(program, steps.name)
    trained = [t for t in time_loops(program) if t.loop.name in inside]
    # Also the loops over chunks, which `time_loops` leaves out.
    over_time = {loop.name for loop in program.loops if TIME_SCOPE in loop.op_name}
    return StepLaunches(
        tuple(_per_step(t, scalars) for t in trained if not t.backward),
        tuple(_per_step(t, scalars) for t in trained if t.backward),
        None if steps is None else _launches(program, steps, scalars),
        len(program.collectives),
        sum(collective.loop in over_time for collective in program.collectives),
    )


def _per_step(loop: TimeLoop, scalars: bool) -> float:
    return loop.kernels_per_step + (loop.scalars_per_step if scalars else 0.0)


def _inside(program: CompiledProgram, name: str) -> set[str]:
    """Returns the names of the loops inside a loop."""
    names = {name}
    # An outer loop comes before the loops inside it.
    for loop in program.loops:
        if loop.parent in names:
            names.add(loop.name)
    return names - {name}


def _launches(program: CompiledProgram, loop: Loop, scalars: bool) -> float:
    """Returns what one iteration of a loop starts, with the loops inside it."""
    inner = sum(
        (child.trip_count or 1) * _launches(program, child, scalars)
        for child in program.loops
        if child.parent == loop.name
    )
    return inner + sum(_counts(kernel, scalars) for kernel in loop.kernels)


def _counts(kernel: LaunchedKernel, scalars: bool) -> bool:
    return scalars or kernel.kind != "scalar"

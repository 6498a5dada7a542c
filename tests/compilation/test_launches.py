"""What an optimizer step starts: on real programs, and on a program written by hand."""

from pathlib import Path

import jax
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.compilation.kernels import (
    Collective,
    CompiledProgram,
    LaunchedKernel,
    Loop,
    read_program,
)
from lstm_lab.compilation.launches import step_launches
from lstm_lab.recurrence.unroll import TIME_SCOPE
from lstm_lab.training.layout import Layout
from lstm_lab.training.step import STEPS_SCOPE
from tests.helpers.training import small_spec


def kernels(*kinds):
    return tuple(LaunchedKernel(f"k{n}", kind) for n, kind in enumerate(kinds))


STEPS = Loop("steps", None, None, kernels("fusion", "scalar"), f"jit(f)/{STEPS_SCOPE}/while")
FORWARD = Loop("fwd", "steps", 10, kernels("product", "fusion", "scalar"), f"{TIME_SCOPE}/while")
BACKWARD = Loop("bwd", "steps", 10, kernels(*["product"] * 3), f"transpose({TIME_SCOPE})/while")
EVALUATION = Loop("eval", None, 10, kernels(*["fusion"] * 9), f"{TIME_SCOPE}/while")
PROGRAM = CompiledProgram((STEPS, FORWARD, BACKWARD, EVALUATION), kernels("copy"), ())


def test_loops_are_counted_as_often_as_they_run_and_evaluations_are_left_out():
    with_scalars = step_launches(PROGRAM, scalars=True)
    assert with_scalars.total == 2 + 10 * 3 + 10 * 3
    assert (with_scalars.forward, with_scalars.backward) == ((3.0,), (3.0,))
    without = step_launches(PROGRAM, scalars=False)
    assert without.total == 1 + 10 * 2 + 10 * 3
    assert without.forward == (2.0,)


def test_a_program_without_a_named_loop_has_no_total():
    unnamed = CompiledProgram((STEPS._replace(op_name="jit(f)/while"),), (), ())
    assert step_launches(unnamed, scalars=True).total is None


def test_a_collective_is_counted_where_it_is():
    reduce = Collective("all-reduce.1", "all-reduce", "steps")
    counted = step_launches(PROGRAM._replace(collectives=(reduce,)), scalars=True)
    assert (counted.collectives, counted.in_time_loops) == (1, 0)
    inside = PROGRAM._replace(collectives=(reduce, reduce._replace(loop="fwd")))
    assert step_launches(inside, scalars=True).in_time_loops == 1


def test_a_collective_of_a_chunk_is_in_a_time_loop():
    chunks = Loop("chunks", "steps", 5, (), f"{TIME_SCOPE}/while")
    inner = FORWARD._replace(parent="chunks")
    reduce = Collective("all-reduce.1", "all-reduce", "chunks")
    program = CompiledProgram((STEPS, chunks, inner), (), (reduce,))
    assert step_launches(program, scalars=True).in_time_loops == 1


@pytest.mark.parametrize(
    ("layout", "collectives"), [(Layout("single", 1, 2), False), (Layout("batch", 4, 1), True)]
)
def test_a_training_program_has_a_loop_for_each_layer_and_direction(layout, collectives):
    spec = small_spec(model={"layers": 2, "bidirectional": True}, compute={"backend": "scan"})
    built = build(spec, layout, spec.task.load(Path("nowhere")), jax.local_devices())
    counted = step_launches(read_program(built.run_chunk.as_text()), scalars=True)
    assert (len(counted.forward), len(counted.backward)) == (4, 4)
    # Eight steps of eight loops, at the least.
    assert counted.total > 8 * 8
    assert bool(counted.collectives) == collectives
    assert counted.in_time_loops == 0

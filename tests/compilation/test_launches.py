"""What an optimizer step starts: on real programs, and on a program written by hand."""

from pathlib import Path

import jax
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.compilation.kernels import (
    Block,
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


FORWARD = Loop("fwd", 10, Block(kernels("product", "fusion", "scalar")), f"{TIME_SCOPE}/while")
BACKWARD = Loop("bwd", 10, Block(kernels(*["product"] * 3)), f"transpose({TIME_SCOPE})/while")
EVALUATION = Loop("eval", 10, Block(kernels(*["fusion"] * 9)), f"{TIME_SCOPE}/while")
STEP = Block(kernels("fusion", "scalar"), (FORWARD, BACKWARD))
STEPS = Loop("steps", None, STEP, f"jit(f)/{STEPS_SCOPE}/while")


def program(steps=STEPS, *collectives):
    return CompiledProgram(Block(kernels("copy"), (steps, EVALUATION)), collectives)


def test_loops_are_counted_as_often_as_they_run_and_evaluations_are_left_out():
    with_scalars = step_launches(program(), scalars=True)
    assert with_scalars.total == 2 + 10 * 3 + 10 * 3
    assert (with_scalars.forward, with_scalars.backward) == ((3.0,), (3.0,))
    without = step_launches(program(), scalars=False)
    assert without.total == 1 + 10 * 2 + 10 * 3
    assert without.forward == (2.0,)


def test_what_only_some_steps_start_is_left_out():
    shuffle = Block(kernels("fusion", "other"))
    once_an_epoch = STEPS._replace(body=STEP._replace(conditionals=((Block(), shuffle),)))
    assert step_launches(program(once_an_epoch), True) == step_launches(program(), True)


def test_a_batch_of_several_possible_lengths_counts_as_the_shortest():
    shorter = Block(loops=tuple(loop._replace(trip_count=4) for loop in STEP.loops))
    lengths = Block(STEP.kernels, (), ((shorter, Block(loops=STEP.loops)),))
    counted = step_launches(program(STEPS._replace(body=lengths)), scalars=True)
    # Each layer once, and not once for each length.
    assert (counted.forward, counted.backward) == ((3.0,), (3.0,))
    assert counted.total == 2 + 4 * 3 + 4 * 3


def test_the_loop_over_steps_may_lie_in_a_branch():
    """A lane that has stopped does nothing."""
    stopped = CompiledProgram(Block(conditionals=((Block(), program().main),)))
    assert step_launches(stopped, scalars=True) == step_launches(program(), scalars=True)


def test_a_program_without_a_named_loop_has_no_total():
    unnamed = program(STEPS._replace(op_name="jit(f)/while"))
    assert step_launches(unnamed, scalars=True).total is None


def test_a_collective_is_counted_where_it_is():
    reduce = Collective("all-reduce.1", "all-reduce", "steps")
    counted = step_launches(program(STEPS, reduce), scalars=True)
    assert (counted.collectives, counted.in_time_loops) == (1, 0)
    inside = program(STEPS, reduce, reduce._replace(loop="fwd"))
    assert step_launches(inside, scalars=True).in_time_loops == 1


def test_a_collective_of_a_chunk_is_in_a_time_loop():
    chunks = Loop("chunks", 5, Block(loops=(FORWARD,)), f"{TIME_SCOPE}/while")
    reduce = Collective("all-reduce.1", "all-reduce", "chunks")
    chunked = program(STEPS._replace(body=Block(loops=(chunks,))), reduce)
    assert step_launches(chunked, scalars=True).in_time_loops == 1


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

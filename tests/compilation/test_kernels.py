"""What a compiled program launches, from its text.

programs/ has texts of compilers that a test machine need not have: a tanh layer of 8 units over 6
steps, for H100 with its gradient, for one chip of a TPU v5e, and for four chips that share the
units, so that every step communicates. Tables of source lines and most of `backend_config` were
removed.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lstm_lab.cells.catalogue import get_variant
from lstm_lab.compilation.kernels import Block, read_program, time_loops
from lstm_lab.recurrence import DeviceType, unroll

PROGRAMS = Path(__file__).parent / "programs"


def kinds(loop):
    return sorted(kernel.kind for kernel in loop.body.kernels)


def stored(name):
    return read_program((PROGRAMS / f"{name}.hlo").read_text())


def test_a_program_for_a_gpu():
    program = stored("h100_grad")
    forward, backward = time_loops(program.main)
    assert (forward.backward, backward.backward) == (False, True)
    assert (forward.trip_count, backward.trip_count) == (6, 6)
    # The product, tanh, and three arrays over time; backward a second product, and its sum.
    assert kinds(forward.loop) == ["fusion"] * 4 + ["product", "scalar"]
    assert kinds(backward.loop) == ["fusion"] * 3 + ["product"] * 2 + ["scalar"]
    assert (forward.kernels_per_step, forward.scalars_per_step) == (5, 1)
    assert len(program.main.kernels) == 5
    assert not program.collectives


def test_a_program_for_a_tpu_has_its_trip_count_in_its_condition():
    (loop,) = time_loops(stored("v5e_forward").main)
    assert loop.trip_count == 6
    # One kernel has the product, tanh and the store. Allocations of memory are no kernels.
    assert (loop.kernels_per_step, loop.count("product"), loop.count("copy")) == (2, 1, 1)


def test_collectives_have_the_loop_in_which_they_lie():
    program = stored("v5e_split_units")
    inside = [c for c in program.collectives if c.loop is not None]
    outside = [c for c in program.collectives if c.loop is None]
    assert {c.loop for c in inside} == {time_loops(program.main)[0].loop.name}
    # A pair of start and done is one collective.
    assert [c.opcode for c in inside] == ["collective-permute"] * 5
    assert [c.opcode for c in outside] == ["all-reduce"]


WRITTEN = """HloModule written

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner_fusion (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %all-reduce.9 = f32[8]{0} all-reduce(%p), to_apply=%add
}

%less (c: (s32[], f32[8])) -> pred[] {
  %c = (s32[], f32[8]{0}) parameter(0)
  %i = s32[] get-tuple-element(%c), index=0
  %n = s32[] constant(5)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}

%step (c.1: (s32[], f32[8])) -> (s32[], f32[8]) {
  %c.1 = (s32[], f32[8]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%c.1), index=0
  %h = f32[8]{0} get-tuple-element(%c.1), index=1
  %one = s32[] constant(1)
  %next = s32[] add(%i.1, %one)
  %fused = f32[8]{0} fusion(%h), kind=kCustom, calls=%inner_fusion
  %gemm = f32[8]{0} custom-call(%fused), custom_call_target="__cublas$gemm"
  %buffer = f32[8]{0} custom-call(), custom_call_target="AllocateBuffer"
  ROOT %t = (s32[], f32[8]{0}) tuple(%next, %gemm)
}

%body (c.2: (s32[], f32[8])) -> (s32[], f32[8]) {
  %c.2 = (s32[], f32[8]{0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%c.2), index=0
  %h.2 = f32[8]{0} get-tuple-element(%c.2), index=1
  %copy-start.1 = (f32[8]{0}, f32[8]{0}, u32[]) copy-start(%h.2)
  %copy-done.1 = f32[8]{0} copy-done(%copy-start.1)
  %zero.2 = s32[] constant(0)
  %carry.2 = (s32[], f32[8]{0}) tuple(%zero.2, %copy-done.1)
  %inner = (s32[], f32[8]{0}) while(%carry.2), condition=%less, body=%step, MARK
  %h.3 = f32[8]{0} get-tuple-element(%inner), index=1
  ROOT %t.2 = (s32[], f32[8]{0}) tuple(%i.2, %h.3)
}

%few (p.3: f32[8]) -> f32[8] {
  ROOT %p.3 = f32[8]{0} parameter(0)
}

%many (p.4: f32[8]) -> f32[8] {
  %p.4 = f32[8]{0} parameter(0)
  %all-gather-start.1 = (f32[8]{0}, f32[8]{0}) all-gather-start(%p.4), dimensions={0}
  %all-gather-done.1 = f32[8]{0} all-gather-done(%all-gather-start.1)
  ROOT %negate = f32[8]{0} negate(%all-gather-done.1)
}

ENTRY %main (a: f32[8], k: s32[]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %k = s32[] parameter(1)
  %zero = s32[] constant(0)
  %carry = (s32[], f32[8]{0}) tuple(%zero, %a)
  %outer = (s32[], f32[8]{0}) while(%carry), condition=%less, body=%body, CONFIG
  %h.4 = f32[8]{0} get-tuple-element(%outer), index=1
  ROOT %chosen = f32[8]{0} conditional(%k, %h.4, %h.4), branch_computations={%few, %many}
}
"""


def with_marks(inner="", outer=""):
    return read_program(WRITTEN.replace("MARK", inner).replace("CONFIG", outer))


def written(name="jit(f)/transpose(jvp(recurrence_over_time))/while"):
    config = 'backend_config={"known_trip_count":{"n":"3"}}'
    return with_marks(
        inner=f'metadata={{op_name="{name}/body/while"}}',
        outer=f'metadata={{op_name="{name}"}}, {config}',
    )


def test_a_loop_inside_a_loop_is_counted_once_and_has_its_share_of_the_outer_one():
    program = written()
    (outer, around), (inner, around_inner) = program.main.all_loops()
    assert (outer.name, around, outer.trip_count) == ("outer", (), 3)
    assert (inner.name, around_inner, inner.trip_count) == ("inner", (outer,), 5)
    assert kinds(outer) == ["copy"]
    assert kinds(inner) == ["collective", "product", "scalar"]
    (time_loop,) = time_loops(program.main)
    assert time_loop.backward
    assert time_loop.trip_count == 15
    assert time_loop.kernels_per_step == pytest.approx(2 + 1 / 5)


def test_branches_are_kept_apart_and_fusions_may_hide_collectives():
    program = written()
    assert not program.main.kernels
    ((few, many),) = program.main.conditionals
    assert not few.kernels
    assert [kernel.name for kernel in many.kernels] == ["all-gather-start.1", "negate"]
    found = [(c.opcode, c.loop) for c in program.collectives]
    assert found == [("all-reduce", "inner"), ("all-gather", None)]


def test_what_a_program_starts_at_least_has_the_shortest_branch():
    main = written().main
    # The copy of three iterations, and the three kernels of five iterations in each.
    assert main.launches(scalars=True) == 3 * (1 + 5 * 3)
    assert main.launches(scalars=False) == 3 * (1 + 5 * 2)
    _, many = main.conditionals[0]
    longer = main._replace(conditionals=((many, many._replace(loops=main.loops)),))
    assert longer.launches(scalars=True) == main.launches(scalars=True) + 2
    assert longer.cheapest(scalars=True) == Block(many.kernels, main.loops)
    assert main.cheapest(scalars=True) == Block((), main.loops)


def test_a_sum_over_an_array_is_no_scalar():
    negate = "  ROOT %negate = f32[8]{0} negate(%all-gather-done.1)"
    lines = (
        negate.replace("ROOT ", "") + "\n  %norm = f32[] reduce(%negate, %negate), to_apply=%add"
    )
    text = WRITTEN.replace("MARK", "").replace("CONFIG", "")
    program = read_program(text.replace(negate, f"{lines}\n  ROOT %p.5 = f32[] sqrt(%norm)"))
    _, many = program.main.conditionals[0]
    assert [kernel.kind for kernel in many.kernels] == ["collective", "other", "other", "scalar"]


def test_other_loops_are_no_loops_over_time():
    assert not time_loops(written("jit(f)/while").main)


def test_a_trip_count_that_the_text_does_not_have_is_unknown():
    # The outer loop does not add 1 to its counter.
    assert [loop.trip_count for loop, _ in with_marks().main.all_loops()] == [None, 5]


@pytest.fixture
def names_of_this_code():
    """A stored program has the names of the code that was compiled first."""
    jax.config.update("jax_compilation_cache_include_metadata_in_key", True)
    yield
    jax.config.update("jax_compilation_cache_include_metadata_in_key", False)


def gradient_program(backend, device):
    spec = get_variant("lstm").spec
    params = spec.cell.init(spec, jax.random.key(0), 3, 4)

    def loss(params, x_TBD):
        return jnp.square(unroll(spec, params, x_TBD, backend=backend, device=device).h).sum()

    return read_program(
        jax.jit(jax.grad(loss)).lower(params, jnp.ones((32, 2, 3))).compile().as_text()
    )


@pytest.mark.usefixtures("names_of_this_code")
@pytest.mark.parametrize("backend", ["scan", "fused"])
def test_programs_of_this_process(backend):
    program = gradient_program(backend, None)
    assert [t.backward for t in time_loops(program.main)] == [False, True]
    assert [t.trip_count for t in time_loops(program.main)] == [32, 32]
    # `fused` has loops over the steps of a chunk inside loops over the chunks.
    assert len(list(program.main.all_loops())) == {"scan": 2, "fused": 4}[backend]


@pytest.mark.usefixtures("names_of_this_code")
@pytest.mark.parametrize("backend", ["scan", "fused"])
def test_an_iteration_of_several_steps_is_counted_step_by_step(backend):
    loops = time_loops(gradient_program(backend, DeviceType("gpu", "")).main)
    assert [(t.unrolled, t.trip_count) for t in loops] == [(8, 4), (8, 4)]
    one_step_each = time_loops(gradient_program(backend, None).main)
    # Stores of states and the counter serve several steps.
    for several, one in zip(loops, one_step_each, strict=True):
        assert 1 < several.kernels_per_step < one.kernels_per_step
        assert several.scalars_per_step < one.scalars_per_step

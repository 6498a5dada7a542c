"""Memory of a cohort: against the arrays that training places, and against the capacity."""

from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.compilation.memory import array_bytes, memory_use
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from tests.helpers.training import small_spec, state_with_runs

SPEC = small_spec(optim={"name": "adam"})
DATASET = SPEC.task.load(Path("nowhere"))


def nbytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("layout", [Layout("single", 1, 3), Layout("members", 2, 4)])
def test_state_and_data_are_those_that_training_places_on_a_device(layout):
    memory = memory_use(
        build(SPEC, layout, DATASET, jax.local_devices()), layout, DATASET, capacity=1e9
    )
    program = build_program(SPEC, SPEC.schedule_steps(None)[0], layout)
    state = state_with_runs(program, [SPEC] * layout.lanes)
    assert memory.state == nbytes(state) / layout.devices
    assert memory.parameters == nbytes(state.params) / layout.devices
    # Every device holds all data.
    assert memory.data == nbytes(program.place_data(DATASET.splits))
    parts = memory.state + memory.data + memory.padding + memory.temporaries + memory.code
    assert memory.total == parts
    assert memory.temporaries > 0


def sizes(arguments, outputs, aliases, temporaries, code):
    """Returns a program of which the compiler says these bytes."""
    names = "argument", "output", "alias", "temp", "generated_code"
    values = arguments, outputs, aliases, temporaries, code
    fields = {f"{n}_size_in_bytes": v for n, v in zip(names, values, strict=True)}
    return SimpleNamespace(memory_analysis=lambda: SimpleNamespace(**fields))


def test_padding_is_that_of_all_arrays_and_temporaries_those_of_the_larger_program():
    layout = Layout("single", 1, 2)
    built = build(SPEC, layout, DATASET, jax.local_devices())
    member, test = built.member, nbytes(DATASET.splits["test"])
    others = nbytes({k: v for k, v in DATASET.splits.items() if k != "test"})
    state = 2 * array_bytes(member)
    evaluated = 2 * array_bytes((member.best.params, member.hparams)) + test
    chunk = sizes(state + others + 100, state + 30, state, 500, 7)
    memory = memory_use(
        built._replace(run_chunk=chunk, evaluate=sizes(evaluated + 1000, 10, 0, 400, 8)),
        layout,
        DATASET,
        1e9,
    )
    assert (memory.padding, memory.temporaries, memory.code) == (1100, 530, 15)
    larger = sizes(evaluated, 10, 0, 600, 8)
    evaluation = built._replace(run_chunk=chunk, evaluate=larger)
    assert memory_use(evaluation, layout, DATASET, 1e9).temporaries == 610


def test_memory_fits_up_to_the_capacity():
    layout = Layout("single", 1, 1)
    memory = memory_use(build(SPEC, layout, DATASET, jax.local_devices()), layout, DATASET, 1e9)
    assert memory.fits
    assert memory._replace(capacity=memory.total).fits
    assert not memory._replace(capacity=memory.total - 1).fits


def test_programs_that_do_not_compile_have_no_memory():
    layout = Layout("single", 1, 1)
    built = build(SPEC, layout, DATASET, jax.local_devices())
    with pytest.raises(ValueError, match="did not compile"):
        memory_use(built._replace(run_chunk=None), layout, DATASET, 1e9)

"""The compiled programs are those of training: the same numbers, bit for bit, for every layout."""

from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from lstm_lab.compilation.build import build
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.program import LoweredProgram
from lstm_lab.training.reports import EVALUATE
from tests.helpers.training import small_spec, state_with_runs

SPEC = small_spec()
DATASET = SPEC.task.load(Path("nowhere"))


@pytest.mark.parametrize(
    "layout", [Layout("single", 1, 2), Layout("members", 2, 4), Layout("batch", 4, 1)]
)
def test_what_is_compiled_is_what_training_runs(layout):
    built = build(SPEC, layout, DATASET, jax.local_devices())
    program = build_program(SPEC, SPEC.schedule_steps(None)[0], layout)
    specs = [SPEC] * layout.lanes

    def arguments():
        data = program.place_data(DATASET.training_splits)
        return state_with_runs(program, specs, 20), data, np.int32(3), np.int32(EVALUATE)

    expected = program.run_chunk(*arguments())
    outputs = built.run_chunk(*arguments())
    jax.tree.map(np.testing.assert_array_equal, *map(program.collect, (outputs, expected)))


def test_an_error_of_the_compiler_is_a_result(monkeypatch):
    def refuse():
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory\n  a long table")

    lowered = LoweredProgram(*[SimpleNamespace(compile=refuse)] * 2)
    program = build_program(SPEC, 20, Layout("single", 1, 1))._replace(lower=lambda *_: lowered)
    monkeypatch.setattr("lstm_lab.compilation.build.build_program", lambda *_: program)
    built = build(SPEC, Layout("single", 1, 1), DATASET, jax.local_devices())
    assert (built.run_chunk, built.refused) == (None, "RESOURCE_EXHAUSTED: Ran out of memory")


@pytest.mark.parametrize("here", [True, False])
def test_the_cache_of_programs_serves_only_devices_that_are_here(monkeypatch, here):
    asked = []

    def compile():
        asked.append(0)
        # A program of its own each time, which no cache in memory has.
        jax.jit(lambda x: x + len(asked)).lower(1.0).compile()

    def count(event, **_):
        if asked and event == "/jax/compilation_cache/compile_requests_use_cache":
            asked[-1] += 1

    lowered = LoweredProgram(*[SimpleNamespace(compile=compile)] * 2)
    program = build_program(SPEC, 20, Layout("single", 1, 1))._replace(lower=lambda *_: lowered)
    monkeypatch.setattr("lstm_lab.compilation.build.build_program", lambda *_: program)
    devices = jax.local_devices() if here else [object()]
    jax.monitoring.register_event_listener(count)
    try:
        build(SPEC, Layout("single", 1, 1), DATASET, devices)
        compile()
    finally:
        jax.monitoring.unregister_event_listener(count)
    # The last one after the build: the cache is on again.
    assert asked == ([1, 1, 1] if here else [0, 0, 1])


def test_names_are_a_part_of_the_key_of_the_cache_only_meanwhile():
    before = jax.config.jax_compilation_cache_include_metadata_in_key
    build(SPEC, Layout("single", 1, 1), DATASET, jax.local_devices())
    assert jax.config.jax_compilation_cache_include_metadata_in_key == before

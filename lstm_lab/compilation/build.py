"""Compiles the programs of a cohort, exactly as training would build them, and runs nothing.

In: a spec, its layout, its data set and the target's devices. Out: `Build`: the compiled programs,
or the line with which the compiler refused them. Arrays exist as shapes only, except for the data
set, which tasks read into the memory of this machine. Read next: `memory.py`, `costs.py` and
`launches.py`, what the programs need and would do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

from lstm_lab.compilation.cudnn_memory import estimated_memory
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.tasks import Dataset
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.state import TrainState, member_of


class Build(NamedTuple):
    """The programs of a cohort.

    Attributes:
      member: the state of one member, as shapes.
      run_chunk, evaluate: training and the evaluation of the test split; None if they do not
        compile.
      seconds: the time of tracing and compiling both.
      refused: the first line of the compiler's error, or "".

    Example:
      build(spec, Layout("single", 1, 1), dataset, devices).refused  # ""
    """

    member: TrainState
    run_chunk: jax.stages.Compiled | None
    evaluate: jax.stages.Compiled | None
    seconds: float
    refused: str = ""


def build(spec: RunSpec, layout: Layout, dataset: Dataset, devices: Sequence[jax.Device]) -> Build:
    """Compiles training and evaluation of a cohort.

    Args:
      spec: any member of the cohort.
      layout: how the cohort lies on the devices.
      dataset: the data of its task.
      devices: from `topologies.devices_of`, at least as many as the layout needs.

    Returns:
      The compiled programs. An error of the compiler is a result and not an exception.

    Example:
      build(spec, Layout("single", 1, 4), spec.task.load(folder), devices_of(target)).seconds
    """
    start = time.monotonic()
    total, _ = spec.schedule_steps(dataset.splits.get("train"))
    program = build_program(spec, total, layout, devices)
    with estimated_memory(), _own_names(), _cache_for(devices):
        member = program.member_shapes(member_of(spec, total))
        lowered = program.lower(member, dataset.training_splits, dataset.splits["test"])
        try:
            run_chunk, evaluate = lowered.run_chunk.compile(), lowered.evaluate.compile()
        except jax.errors.JaxRuntimeError as error:
            seconds = time.monotonic() - start
            return Build(member, None, None, seconds, _first_line(str(error)))
    return Build(member, run_chunk, evaluate, time.monotonic() - start)


@contextmanager
def _own_names() -> Iterator[None]:
    """Makes names a part of the key of JAX's cache: `read_program` finds loops by their names."""
    setting = "jax_compilation_cache_include_metadata_in_key"
    before = getattr(jax.config, setting)
    jax.config.update(setting, True)
    try:
        yield
    finally:
        jax.config.update(setting, before)


@contextmanager
def _cache_for(devices: Sequence[jax.Device]) -> Iterator[None]:
    """Switches JAX's cache of programs off for devices that are not here.

    It cannot load a program for them: it would warn, and compile all the same.
    """
    if set(devices) <= set(jax.local_devices()):
        yield
        return
    setting = "jax_enable_compilation_cache"
    before = getattr(jax.config, setting)
    jax.config.update(setting, False)
    # JAX looks at the setting once per process, unless it forgets that it did.
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update(setting, before)
        compilation_cache.reset_cache()


def _first_line(text: str) -> str:
    """Returns the first line of a compiler's error, with single spaces."""
    return " ".join(text.strip().partition("\n")[0].split())

"""The training step of every config and variant, compiled for a TPU and a GPU that are not here.

`make tpu-check` and `make cuda-check` install the compilers and run all of it. `make tpu-sample`,
a part of CI, compiles each program for a TPU in one of three layouts.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstm_lab.cells import get_variant
from lstm_lab.compilation.cudnn_memory import estimated_memory
from lstm_lab.compilation.kernels import read_program, time_loops
from lstm_lab.compilation.launches import step_launches
from lstm_lab.compilation.survey import survey_names
from lstm_lab.compilation.targets import find_target
from lstm_lab.compilation.topologies import devices_of
from lstm_lab.config.load import load_spec
from lstm_lab.recurrence import DeviceType, unroll
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.state import member_of
from tests.helpers.compilation import needs_cuda, needs_libtpu
from tests.helpers.data import write_samples

LAYOUTS = {
    "one device": Layout("single", 1, 2),
    "members over four": Layout("members", 4, 8),
    "batch over four": Layout("batch", 4, 1),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A data folder with a small example of every data set; LSTM_LAB_DATA names it."""
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_LAB_DATA", str(folder))
        yield folder


def compile_step(name, layout, target, samples, backend="auto"):
    """Returns the text of a training program for a machine that is not here."""
    spec = load_spec(name, {"compute.backend": backend})
    # Few rows, which four devices can share: the shapes of a batch do not change what is compiled.
    spec = replace(spec, train=replace(spec.train, batch_size=4))
    dataset = spec.task.load(samples)
    program = build_program(spec, 2, layout, devices_of(find_target(target)))
    splits = {k: v for k, v in dataset.splits.items() if k != "test"}
    with estimated_memory():
        member = program.member_shapes(member_of(spec, 2))
        lowered = program.lower(member, splits, dataset.splits["test"])
        return lowered.run_chunk.compile().as_text()


def assert_compiles(name, layout, target, samples):
    text = compile_step(name, layout, target, samples)
    assert "lstm_lab_" not in text, "a kernel of the CPU"
    counted = step_launches(read_program(text), scalars=False)
    assert counted.forward
    assert counted.in_time_loops == 0
    assert bool(counted.collectives) == (layout.kind == "batch")


def tpu_cases():
    """Returns every program in every layout; two of the three layouts are marked as slow.

    The programs take the layouts in turn, so each layout has configs and variants that are fast.
    """
    return [
        pytest.param(name, layout, marks=() if turn == index % len(LAYOUTS) else pytest.mark.slow)
        for index, name in enumerate(survey_names())
        for turn, layout in enumerate(LAYOUTS)
    ]


@needs_libtpu
@pytest.mark.parametrize(("name", "layout"), tpu_cases())
def test_everything_compiles_for_a_tpu(samples, name, layout):
    assert_compiles(name, LAYOUTS[layout], "v5e-4", samples)


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("name", survey_names())
def test_everything_compiles_for_a_gpu(samples, name):
    assert_compiles(name, LAYOUTS["one device"], "h100", samples)


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layouts_compile_for_gpus(samples, layout):
    assert_compiles("adding:lstm", LAYOUTS[layout], "h100-4", samples)


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("name", ["adding:np", "jsb", "tags"])
def test_cudnn_compiles_for_a_gpu(samples, name):
    """Alone, in a stack of any depth, in both directions."""
    text = compile_step(name, LAYOUTS["one device"], "h100", samples, backend="cudnn")
    assert "cudnn_rnn" in text


def launches_of_a_layer(name, backend, members):
    """Returns what each pass starts on an H100 for a time step, with the counter of its loop."""
    spec = get_variant(name).spec
    params = jax.eval_shape(lambda key: spec.cell.init(spec, key, 32, 64), jax.random.key(0))
    x_TBD = jax.ShapeDtypeStruct((256, 16, 32), jnp.float32)

    def loss(params, x_TBD):
        h_TBH = unroll(spec, params, x_TBD, backend=backend, device=DeviceType("gpu", "")).h
        return jnp.square(h_TBH).sum()

    gradient, shapes = jax.value_and_grad(loss, (0, 1)), (params, x_TBD)
    if members:
        gradient = jax.vmap(gradient)
        shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct((members, *s.shape), s.dtype), shapes)
    sharding = NamedSharding(Mesh(devices_of(find_target("h100"))[:1], ("x",)), PartitionSpec())
    traced = jax.jit(gradient, in_shardings=sharding).trace(*shapes)
    text = traced.lower(lowering_platforms=("cuda",)).compile().as_text()
    loops = time_loops(read_program(text).main)
    assert [loop.backward for loop in loops] == [False, True]
    return [loop.kernels_per_step + loop.scalars_per_step for loop in loops]


@needs_cuda
@pytest.mark.slow
@pytest.mark.parametrize("members", [0, 64])
@pytest.mark.parametrize(
    ("name", "backend", "forward", "backward"),
    [
        ("lstm", "fused", 2.7, 3.6),
        ("lstm", "scan", 4, 5),
        ("vanilla", "fused", 2.7, 5.1),
    ],
)
def test_a_gpu_starts_few_kernels_for_a_time_step(name, backend, forward, backward, members):
    """Before one iteration computed several steps, lstm by `fused` started 6.6 and 6."""
    counted = launches_of_a_layer(name, backend, members)
    assert counted[0] <= forward
    assert counted[1] <= backward

"""The training step of every config and variant, compiled for a TPU v5e and an H100 that are absent.

`make tpu-check` and `make cuda-check` install the compilers and run all of it; the fast suite
compiles one variant for each layout if a compiler is there.
"""

from dataclasses import replace

import pytest

from lstm_lab.compilation.kernels import read_program
from lstm_lab.compilation.launches import step_launches
from lstm_lab.compilation.survey import survey_names
from lstm_lab.compilation.targets import find_target
from lstm_lab.compilation.topologies import devices_of
from lstm_lab.config.load import load_spec
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
    member = program.member_shapes(member_of(spec, 2))
    splits = {k: v for k, v in dataset.splits.items() if k != "test"}
    lowered = program.lower(member, splits, dataset.splits["test"])
    return lowered.run_chunk.compile().as_text()


def assert_compiles(name, layout, target, samples):
    text = compile_step(name, layout, target, samples)
    assert "lstm_lab_" not in text, "a kernel of the CPU"
    counted = step_launches(read_program(text), scalars=False)
    assert counted.forward
    assert counted.in_time_loops == 0
    assert bool(counted.collectives) == (layout.kind == "batch")


@needs_libtpu
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_compiles_for_a_tpu(samples, layout):
    assert_compiles("adding:lstm", LAYOUTS[layout], "v5e-4", samples)


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", survey_names())
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

"""Every config trains two steps of a small model; every study expands into its runs."""

import importlib.util
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.config.parsing import build_spec
from lstm_lab.models.summary import summarize_layers
from lstm_lab.studies.expand import final_runs, tuning_runs, variants
from lstm_lab.tasks import train_batch
from lstm_lab.training.forward import FEW_ROWS
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from lstm_lab.training.reports import EVALUATE
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from tests.helpers.data import write_samples
from tests.helpers.paths import ROOT
from tests.helpers.training import small_spec, state_with_runs

CONFIGS = sorted((ROOT / "configs").glob("[a-z]*.py"))
STUDIES = sorted(
    path for path in (ROOT / "experiments").glob("*.py") if "def get_study" in path.read_text()
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """A data folder with a small example of every data set; LSTM_LAB_DATA names it."""
    folder = tmp_path_factory.mktemp("data")
    write_samples(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSTM_LAB_DATA", str(folder))
        yield folder


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def assert_trains_two_steps(spec, samples):
    # Up to FEW_ROWS rows, every length of a batch would be compiled: test_forward.py covers that.
    spec = replace(spec, train=replace(spec.train, batch_size=FEW_ROWS + 1))
    dataset = spec.task.load(samples)
    program = build_program(spec, 2, Layout("single", 1, 1))
    state = state_with_runs(program, [spec])
    data = program.place_data({k: v for k, v in dataset.splits.items() if k != "test"})
    state, report = program.run_chunk(state, data, jnp.int32(2), jnp.int32(EVALUATE))
    assert np.isfinite(report.loss).all()
    assert state.step == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_config_trains_two_steps(path, samples):
    spec = build_spec(load_module(path).get_config("peephole,stacked"))
    model = replace(spec.model, hidden=4, embedding=spec.model.embedding and 3)
    assert_trains_two_steps(replace(spec, model=model), samples)


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        ("small", 4_651_600),
        ("medium", 19_775_200),
        ("large", 66_022_000),
        ("gal", None),
        ("awd", 24_210_800),  # published with two biases per gate: 24,221,600
    ],
)
def test_ptb_recipes_have_the_published_sizes(recipe, size, samples):
    spec = build_spec(load_module(ROOT / "configs" / "ptb.py").get_config(recipe))
    if size is not None:
        assert sum(layer.total for layer in summarize_layers(spec)) == size
    hidden_sizes = spec.model.hidden_sizes and (5, 5, 4)
    model = replace(spec.model, hidden=4, embedding=4, hidden_sizes=hidden_sizes)
    assert_trains_two_steps(replace(spec, model=model), samples)


@pytest.mark.parametrize("cell", CATALOGUE)
def test_the_training_step_of_every_variant_can_be_traced(cell):
    """Tracing is enough: it fails if a variant lacks a function, parameter or mask."""
    spec = small_spec(model={"cell": cell, "layers": 2, "dropout": 0.1})
    train_step = TrainStep(spec, 0)
    state = train_step.init(member_of(spec, 2))
    batch = train_batch(spec.task.sample, None, jnp.uint32(0), jnp.int32(0), jnp.arange(2), 2)
    after, report, _ = jax.eval_shape(train_step.step, state, batch)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert report.loss.shape == ()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
@pytest.mark.usefixtures("samples")
def test_a_config_documents_its_command_time_and_score(path):
    doc = load_module(path).__doc__
    for word in ("Command: lstm-lab ", "Time: ", "Score: "):
        assert word in doc
    assert f"lstm-lab train {path.stem}" in doc or f"lstm-lab summary {path.stem}" in doc
    for variant in CATALOGUE:
        assert load_module(path).get_config(variant).model.cell == variant


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
@pytest.mark.usefixtures("samples")
def test_a_study_expands_with_equal_trials_per_variant(path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    study = load_module(path).get_study()
    names = variants(study)
    trials = dict.fromkeys(names, 0)
    for run in tuning_runs(study):
        trials[run.variant] += 1
    assert len(set(trials.values())) == 1
    assert len(final_runs(study, {name: {} for name in names})) == len(names) * len(study.seeds)

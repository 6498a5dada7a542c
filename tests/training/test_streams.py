"""Streams: the state is carried from chunk to chunk, in every layout and after interruptions."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.models import head
from lstm_lab.recurrence import DeviceType
from lstm_lab.tasks import Stream
from lstm_lab.training import parallel
from lstm_lab.training.layout import Layout
from lstm_lab.training.loop import StopRequest
from lstm_lab.training.parallel import build_program
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.training import (
    TEXT,
    TRACKS,
    T,
    assert_close,
    language_spec,
    nll_at_once,
    run_steps,
    state_with_runs,
    train,
)


@pytest.mark.parametrize("tracks", [1, 3])
def test_evaluation_in_chunks_equals_evaluation_in_one_piece(text, tracks):
    spec = language_spec(text)
    train_step = TrainStep(spec, 0)
    params = train_step.init(member_of(spec, 1)).params
    tokens = np.random.default_rng(1).integers(0, 40, 53)
    metrics = train_step.evaluate(params, {}, Stream(jnp.array(tokens), T, tracks))
    n = 52 // tracks
    rows = np.stack([tokens[k * n : k * n + n + 1] for k in range(tracks)])
    expected = nll_at_once(spec, params, rows).mean()
    np.testing.assert_allclose(metrics["bits"], expected / np.log(2), rtol=1e-6)


def test_a_step_for_another_device_does_not_ask_for_the_own_one(text, monkeypatch):
    def ask():
        raise AssertionError("asked JAX which devices are present")

    monkeypatch.setattr(jax, "local_devices", ask)
    spec = language_spec(text)
    train_step = TrainStep(spec, 0, device=DeviceType("tpu", "TPU v5 lite"))
    params = jax.eval_shape(train_step.init, member_of(spec, 1)).params
    stream = Stream(jnp.arange(53) % 40, T, TRACKS)
    jax.eval_shape(lambda params: train_step.evaluate(params, {}, stream), params)
    Layout("single", 1, 1).backends(spec, DeviceType("tpu", "TPU v5 lite"))


def test_training_carries_the_state_and_resets_it_each_epoch(text):
    # The weights practically do not change, so the losses are known in advance.
    spec = language_spec(text, optim={"lr": 1e-30})
    dataset = spec.task.load(Path())
    tokens = dataset.splits["train"].tokens
    n = (len(tokens) - 1) // TRACKS
    chunks = n // T
    rows = np.stack([tokens[k * n : k * n + n + 1] for k in range(TRACKS)])
    losses, params = run_steps([spec], Layout("single", 1, 1), dataset, chunks + 2)
    nll = nll_at_once(spec, jax.tree.map(lambda a: a[0], params), rows)
    expected = nll[:, : chunks * T].reshape(TRACKS, chunks, T).mean((0, 2))
    np.testing.assert_allclose(losses[:, 0], [*expected, *expected[:2]], rtol=1e-5)
    # The state matters: the second chunk has another loss if it starts from the zero state.
    from_zero = nll_at_once(spec, jax.tree.map(lambda a: a[0], params), rows[:, T : 2 * T + 1])
    assert abs(from_zero.mean() - expected[1]) > 1e-4


@pytest.mark.parametrize("cell", ["lstm", "slstm"])
@pytest.mark.parametrize("lanes", [1, 2])
def test_several_devices_equal_one_on_streams(text, cell, lanes):
    specs = [replace(language_spec(text, model={"cell": cell}), seed=k) for k in range(lanes)]
    dataset = specs[0].task.load(Path())
    lone_runs = [run_steps([spec], Layout("single", 1, 1), dataset) for spec in specs]
    kind = "batch" if lanes == 1 else "members"
    losses, params = run_steps(specs, Layout(kind, 2, lanes), dataset)
    for k, (loss, param) in enumerate(lone_runs):
        assert_close(losses[:, k], loss[:, 0])
        assert_close(jax.tree.map(lambda a, k=k: a[k], params), jax.tree.map(lambda a: a[0], param))
    program = build_program(specs[0], 10, Layout(kind, 2, lanes))
    state = state_with_runs(program, specs)
    valid = program.place_data({"valid": dataset.splits["valid"]})["valid"]
    lanes_to_evaluate = np.ones(lanes, bool)
    metrics = program.collect(
        program.evaluate(state.params, state.hparams, lanes_to_evaluate, valid)
    )
    train_step = TrainStep(specs[0], 0)
    initial = train_step.init(member_of(specs[0], 1)).params
    np.testing.assert_allclose(
        metrics["bits"][0],
        train_step.evaluate(initial, {}, dataset.splits["valid"])["bits"],
        rtol=1e-5,
    )


def test_members_of_different_hidden_size_equal_lone_runs_on_streams(text):
    narrow, wide = (language_spec(text, model={"hidden": h, "embedding": None}) for h in (3, 6))
    dataset = wide.task.load(Path())
    _, params = run_steps([narrow, wide], Layout("single", 1, 2, 6), dataset)
    for k, spec in enumerate((narrow, wide)):
        _, lone_params = run_steps([spec], Layout("single", 1, 1), dataset)
        h = spec.model.hidden
        weights = params["lstm"]["layer_0"]["wh"][k][:h, :, :h]
        assert_close(weights, lone_params["lstm"]["layer_0"]["wh"][0])


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {
            "task": {"unroll": 12, "unroll_std": 2.0},
            "optim": {"average": 1},
            "train": {"activation_reg": 2.0, "temporal_reg": 1.0},
        },
    ],
    ids=["plain", "awd"],
)
def test_an_interrupted_run_on_a_stream_resumes_with_the_same_metrics(text, tmp_path, sections):
    class After(StopRequest):
        checks = 0

        @property
        def requested(self):
            After.checks += 1
            return After.checks > 7

    spec = language_spec(text, **sections)
    train([spec], tmp_path / "whole")
    assert train([spec], tmp_path / "parts", stop=After()).status == "interrupted"
    assert train([spec], tmp_path / "parts").status == "completed"
    rows = [read_lines(tmp_path / name / "0" / "metrics.jsonl") for name in ("whole", "parts")]
    for uninterrupted, resumed in zip(*rows, strict=True):
        assert {**uninterrupted, "seconds": 0} == {**resumed, "seconds": 0}
    result = read_json(tmp_path / "parts" / "0" / "result.json")
    assert set(result["test"]) == {"nll", "bits", "accuracy"}
    preprocessing = read_json(tmp_path / "parts" / "0" / "preprocessing.json")
    assert preprocessing["inputs"][0] == "<unk>"
    assert set(TEXT) <= set(preprocessing["inputs"])


def test_bidirectional_models_of_streams_are_rejected(text):
    with pytest.raises(UserError, match="bidirectional: language is read forward"):
        build_spec(
            {
                "task": {"name": "language", "train": str(text)},
                "model": {"bidirectional": True},
                "train": {"steps": 1},
            }
        )


@pytest.mark.parametrize("layout", [Layout("batch", 2, 1), Layout("members", 2, 2)], ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_logits_by_parts_equal_those_at_once_in_every_layout(text, monkeypatch, layout, tied):
    model = {"tied": tied, "embedding": 6}
    specs = [replace(language_spec(text, model=model), seed=seed) for seed in range(layout.lanes)]
    dataset = specs[0].task.load(Path())
    expected = [run_steps([spec], Layout("single", 1, 1), dataset, 5) for spec in specs]
    # Parts of a few rows; programs are kept by their spec, which is the same.
    monkeypatch.setattr(head, "PART", 1)
    monkeypatch.setattr(head, "LEAST_ROWS", 4)
    parallel._build.cache_clear()
    losses, params = run_steps(specs, layout, dataset, 5)
    parallel._build.cache_clear()
    for k, (lone_losses, lone_params) in enumerate(expected):
        assert_close(losses[:, k : k + 1], lone_losses)
        assert_close(jax.tree.map(lambda a, k=k: a[k : k + 1], params), lone_params)

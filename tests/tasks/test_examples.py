"""Splits that gather their examples, against arrays of all examples with their padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.tasks import JSB, Dataset, Examples, Sequences, Windows, batches, gather_batch
from lstm_lab.training.layout import Layout
from lstm_lab.training.parallel import build_program
from tests.helpers.data import write_series

RNG = np.random.default_rng(0)


def all_windows(values_ND, context, horizon, columns, relative):
    """Returns the windows of a series as copies."""
    windows = np.lib.stride_tricks.sliding_window_view(values_ND, context + horizon, axis=0)
    windows = windows.transpose(0, 2, 1).copy()
    x, y = windows[:, :context], windows[:, context:, list(columns)]
    if relative:
        y = y - x[:, -1:, list(columns)]
    return Examples(x, y.reshape(len(y), -1))


def all_sequences(sequences):
    """Returns sequences as inputs and targets, padded with zeros, float32."""
    lengths = np.array([len(sequence) - 1 for sequence in sequences], np.int32)
    padded = np.zeros((len(sequences), lengths.max() + 1, sequences[0].shape[1]), np.float32)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return Examples(padded[:, :-1], padded[:, 1:], lengths)


def assert_equal(split, expected, every_step):
    """Compares a split with arrays: on the host, in a program, and its targets."""
    assert (split.rows, split.steps) == expected.x.shape[:2]
    chosen = RNG.integers(0, split.rows, 9)
    compiled = jax.jit(lambda split, places: gather_batch(split, places, places).examples)
    for examples in (split.take(chosen), compiled(split, jnp.asarray(chosen))):
        jax.tree.map(np.testing.assert_array_equal, examples, expected.take(chosen))
        assert examples.x.dtype == examples.y.dtype == np.float32
    targets = expected.targets(every_step=every_step)
    np.testing.assert_array_equal(split.targets(every_step=every_step), targets)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("context", "horizon", "columns"), [(5, 3, (2, 0)), (1, 1, (1,))])
def test_windows_equal_their_copies(context, horizon, columns, relative):
    values_ND = RNG.normal(size=(23, 3)).astype(np.float32)
    options = (context, horizon, columns, relative)
    starts = np.array([0, 3, 4, 11, 15], np.int32)
    windows = Windows(values_ND, starts, *options)
    expected = all_windows(values_ND, *options).take(starts)
    assert_equal(windows, expected, every_step=False)
    for step in range(context):
        np.testing.assert_array_equal(windows.step(step), expected.x[:, step])


def test_sequences_equal_their_padded_copies():
    rolls = [(RNG.random((n, 4)) < 0.5).astype(np.uint8) for n in (7, 2, 12, 3)]
    expected = all_sequences(rolls)
    # The copies have the last frame, which is only a target, as an input in the padding.
    real_NT1 = np.arange(11)[None, :, None] < expected.lengths[:, None, None]
    assert_equal(Sequences.of(rolls), expected._replace(x=expected.x * real_NT1), every_step=True)


def test_targets_leave_out_padding_and_ignore_index():
    y = np.array([[0, -1, 2, 1], [-1, 1, 0, 0]], np.int32)
    examples = Examples(y, y, np.array([4, 3], np.int32))
    assert examples.targets(every_step=True).tolist() == [0, 2, 1, 1, 0]
    assert examples._replace(lengths=None).targets(every_step=True).tolist() == [0, 2, 1, 1, 0, 0]
    # Numbers and bits have an axis of their own, so -1 is a number.
    numbers = Examples(y, y[..., None], np.array([4, 3], np.int32))
    assert numbers.targets(every_step=True).ravel().tolist() == [0, -1, 2, 1, -1, 1, 0]


def train(spec, splits):
    """Trains for five steps with an evaluation; returns weights and metrics."""
    program = build_program(spec, 5, Layout("single", 1, 1))
    state = program.assign(None, {0: program.init_member(spec, 5)})
    state, report = program.run_chunk(
        state, program.place_data(splits), np.int32(5), np.bool_(True)
    )
    return jax.device_get((state.params, report.loss, report.valid))


@pytest.mark.parametrize("bucket", [False, True])
def test_training_on_music_equals_training_on_padded_rolls(chorales, bucket):
    size = {"batch_size": 2, "steps": 5, "bucket": bucket}
    model = {"cell": "np", "hidden": 4}
    spec = build_spec({"task": {"name": "jsb"}, "model": model, "train": size})
    splits = JSB().load(chorales).splits
    copies = {
        name: all_sequences(np.split(split.values, split.starts[1:]))
        for name, split in splits.items()
    }
    jax.tree.map(np.testing.assert_array_equal, train(spec, splits), train(spec, copies))


def test_training_on_windows_equals_training_on_their_copies(tmp_path):
    write_series(tmp_path)
    task = {"name": "series", "file": "ett/ETTh1.csv", "inputs_of": ("HUFL", "OT")}
    task |= {"targets": ("OT",), "context": 6, "horizon": 2, "relative": True}
    spec = build_spec(
        {
            "task": task,
            "model": {"cell": "lstm", "hidden": 4, "subtract_last": True},
            "train": {"batch_size": 8, "steps": 5},
        }
    )
    splits = spec.task.load(tmp_path).splits
    copies = {
        name: all_windows(split.values, 6, 2, split.columns, True) for name, split in splits.items()
    }
    jax.tree.map(np.testing.assert_array_equal, train(spec, splits), train(spec, copies))
    outputs = RNG.normal(size=(splits["test"].rows, 2)).astype(np.float32)
    found = Dataset(splits, spec.task.load(tmp_path).preprocessing)
    metrics = spec.task.final_metrics(outputs, splits["test"], found.preprocessing)
    truth = copies["test"].y
    assert metrics["mase"] == pytest.approx(
        np.abs(outputs - truth).mean() / found.preprocessing["season_mae"]
    )


def test_an_evaluation_of_long_sequences_has_fewer_rows(monkeypatch):
    assert [batches.rows_that_fit(steps, 256) for steps in (1, 1024, 20_000, 10**7)] == [
        *(256, 256, 13, 1)
    ]

"""Predictions, generated text and music of finished runs."""

import gzip
import io
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import mido
import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.config.parsing import build_spec
from lstm_lab.inference.generate import Sampling, filter_logits, generate
from lstm_lab.inference.load import Trained, load_run
from lstm_lab.inference.music import compose
from lstm_lab.inference.predict import predict_arrays, predict_lines, predict_stream
from lstm_lab.models.build import build_model
from lstm_lab.tasks import Examples, Table, Tags, Text, Waves
from lstm_lab.tasks.readers.splits import parts_of
from lstm_lab.training.outputs import outputs
from lstm_lab.training.state import member_of
from lstm_lab.training.step import TrainStep
from lstm_lab.utils.errors import UserError
from tests.helpers.data import dense, write_samples
from tests.helpers.training import language_spec, small_spec, train

SONG = "row row row your boat gently down the stream\nmerrily merrily life is but a dream\n" * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a finished language model, whose training text no longer exists."""
    folder = tmp_path_factory.mktemp("run")
    text = folder / "text.txt"
    text.write_text(SONG)
    spec = language_spec(text, model={"hidden": 24}, optim={"name": "adam", "lr": 0.02})
    train([spec], folder)
    text.unlink()
    return folder / "0"


def test_greedy_text_equals_rereading_the_whole_text(folder):
    trained = load_run(folder)
    vocabulary = trained.preprocessing["inputs"]
    text = "merrily "
    for _ in range(40):
        tokens = jnp.array([[vocabulary.index(symbol) for symbol in text]])
        logits = build_model(trained.spec).apply({"params": trained.params}, tokens)[0, -1]
        text += vocabulary[int(logits[1:].argmax()) + 1]
    generated = "".join(generate(trained, "merrily ", 40, Sampling(temperature=0.0)))
    assert "merrily " + generated == text
    assert len(set(generated)) > 5


def test_the_seed_determines_the_text(folder):
    trained = load_run(folder)
    texts = [
        "".join(generate(trained, "row", n, Sampling(seed=seed)))
        for n, seed in ((70, 3), (70, 3), (70, 4), (41, 3))
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] == texts[0][:41]
    assert len(texts[0]) == 70


@pytest.mark.parametrize(("prompt", "space"), [("to be", " "), ("to be ", ""), ("", "")])
def test_a_space_stands_between_the_prompt_and_the_words_of_a_model(tmp_path, prompt, space):
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 30)
    task = {"name": "language", "train": str(tmp_path / "a.txt")}
    spec = build_spec({"task": task, "model": {"hidden": 4}, "train": {"steps": 1}})
    params = TrainStep(spec, 0).init(member_of(spec, 1)).params
    trained = Trained(spec, params, spec.task.load(tmp_path).preprocessing)
    pieces = list(generate(trained, prompt, 3))
    words = {"to ", "be ", "or ", "not ", "\n"}
    assert pieces[: len(space)] == list(space)
    assert len(pieces[len(space) :]) == 3
    assert set(pieces[len(space) :]) <= words


LOGITS = np.log([0.01, 0.4, 0.3, 0.2, 0.09])


@pytest.mark.parametrize(
    ("sampling", "symbols"),
    [
        (Sampling(), {1, 2, 3, 4}),
        (Sampling(temperature=0.0), {1}),
        (Sampling(top_k=2), {1, 2}),
        (Sampling(top_k=9), {1, 2, 3, 4}),
        (Sampling(top_p=0.41), {1, 2}),
        (Sampling(top_p=0.4), {1}),
        (Sampling(top_k=3, top_p=0.5), {1, 2}),
    ],
)
def test_sampling_options_select_symbols(sampling, symbols):
    logits = filter_logits(jnp.array(LOGITS), sampling)
    assert set(np.flatnonzero(np.isfinite(logits)).tolist()) == symbols


@pytest.mark.parametrize("temperature", [-1.0, np.nan, np.inf])
def test_a_temperature_that_gives_no_probabilities_is_refused(temperature):
    with pytest.raises(UserError, match="--temperature: got .* a finite number of 0 or more"):
        Sampling(temperature=temperature)


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("temperature", [1e-45, 1e-39, 1e-37, 1e-30, 1e-3])
def test_a_low_temperature_takes_the_best_symbol(temperature, scale):
    logits = filter_logits(jnp.array(scale * LOGITS), Sampling(temperature=temperature))
    np.testing.assert_allclose(jax.nn.softmax(logits), [0, 1, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize("temperature", [1e30, 1e39, 1e300])
def test_a_high_temperature_draws_from_all_allowed_symbols_alike(temperature):
    logits = filter_logits(jnp.array(LOGITS), Sampling(temperature=temperature))
    np.testing.assert_allclose(jax.nn.softmax(logits), [0, 0.25, 0.25, 0.25, 0.25], rtol=1e-6)


def test_outputs_outside_the_vocabulary_are_excluded():
    logits = filter_logits(jnp.array(LOGITS), Sampling(), vocabulary_size=3)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [1, 2]


def test_the_temperature_flattens_the_distribution():
    p = jax.nn.softmax(filter_logits(jnp.array(LOGITS), Sampling(temperature=2.0)))
    expected = np.sqrt([0.0, 0.4, 0.3, 0.2, 0.09])
    np.testing.assert_allclose(p, expected / expected.sum(), rtol=1e-5)


def test_generate_prints_prompt_and_text(folder, capsys):
    flags = ["--prompt=your boat", "--length=12", "--top_k=3", "--seed=1"]
    assert main(["generate", f"--workdir={folder}", *flags]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("your boat")
    assert len(printed) == len("your boat") + 12 + 1
    assert main(["generate", f"--workdir={folder}", "--out=a.mid"]) == 2
    assert "--out: it has no effect with --format=text" in capsys.readouterr().err


def test_runs_that_cannot_generate_are_rejected(tmp_path, folder):
    with pytest.raises(UserError, match="holds no run"):
        load_run(tmp_path)
    train([small_spec(train={"steps": 1, "eval_every": 1})], tmp_path)
    with pytest.raises(UserError, match="got a run of adding, expected a run of language"):
        next(generate(load_run(tmp_path / "0"), "a", 1))
    with pytest.raises(UserError, match="--top-p: got 0.0, expected a number above 0"):
        Sampling(top_p=0.0)
    (folder / "study.json").touch()
    (tmp_path / "study.json").touch()
    with pytest.raises(UserError, match="it is a study: choose one of"):
        load_run(tmp_path)


def train_and_load(task, folder, **model):
    """Trains a few steps; returns the spec and the loaded run."""
    spec = build_spec(
        {
            "task": task,
            "model": {"hidden": 4, **model},
            "train": {"steps": 3, "batch_size": 4, "eval_every": 3},
        }
    )
    train([spec], folder, data_dir=folder.parent)
    return spec, load_run(folder / "0")


def test_predictions_equal_the_outputs_on_the_test_split(tmp_path):
    write_samples(tmp_path)
    files = {"train": "atis/train", "valid": "atis/dev", "test": "atis/test"}
    for k, (task, column) in enumerate(
        (
            (Text("imdb/train.jsonl.gz", ("0", "1"), test="imdb/test.jsonl.gz"), "text"),
            (Tags(**Tags.complete(files, tmp_path)), "words"),
        )
    ):
        options = {"name": task.name, **asdict(task)}
        spec, trained = train_and_load(options, tmp_path / str(k), embedding=5, bidirectional=True)
        test = task.load(tmp_path).splits["test"]
        if column == "text":
            with gzip.open(tmp_path / "imdb" / "test.jsonl.gz", "rt") as file:
                lines = file.read().splitlines()
        else:
            lines = (tmp_path / "atis" / "test" / "seq.in").read_text().splitlines()
        predictions = list(predict_lines(trained, [*lines[:3], "", *lines[3:]]))
        logits = outputs(spec, trained.params, test)
        assert len(predictions) == len(test.x)
        for prediction, row, length in zip(predictions, logits, test.lengths, strict=True):
            if column == "text":
                assert prediction["label"] == ("0", "1")[row.argmax()]
                assert sum(prediction["probabilities"].values()) == pytest.approx(1.0)
            else:
                assert prediction["labels"] == [task.labels[j] for j in row[:length].argmax(-1)]


def test_predictions_for_tables_and_series_equal_the_outputs_of_the_model(tmp_path):
    write_samples(tmp_path)
    table = Table.complete({"file": "german_credit/german.csv", "header": False}, tmp_path)
    spec, trained = train_and_load({"name": "table", **table}, tmp_path / "table")
    rows = (tmp_path / "german_credit" / "german.csv").read_text().splitlines()
    lines = [row.rpartition(",")[0] for row in rows]
    labels = [prediction["label"] for prediction in predict_lines(trained, lines)]
    dataset = spec.task.load(tmp_path)
    order = np.concatenate(list(parts_of({"train": 60}, None, None, SHARES, 0).values()))
    x = np.concatenate([dataset.splits[k].x for k in ("train", "valid", "test")])
    logits = outputs(spec, trained.params, Examples(x, None))
    for index, row in zip(order, logits, strict=True):
        assert labels[index] == ("1", "2")[row.argmax()]
    with pytest.raises(UserError, match="got 2 values, expected 20"):
        list(predict_lines(trained, ["1,2"]))
    options = {"name": "series", "file": "ett/ETTh1.csv", "inputs_of": ("HUFL", "OT")}
    options |= {"targets": ("OT",), "context": 6, "horizon": 2, "relative": True, "log": True}
    spec, trained = train_and_load(options, tmp_path / "series")
    lines = (tmp_path / "ett" / "ETTh1.csv").read_text().splitlines()
    (prediction,) = predict_lines(trained, lines[:-2])  # the last window of the test split
    test = spec.task.load(tmp_path).splits["test"]
    values = outputs(spec, trained.params, test)
    expected = spec.task.original(dense(test).x, values, trained.preprocessing)[-1, :, 0]
    np.testing.assert_allclose(prediction["forecast"]["OT"], expected, rtol=1e-5)


SHARES = {"valid": 0.15, "test": 0.2}


def test_predict_stream_predicts_for_each_prefix(tmp_path, monkeypatch, capsys):
    write_samples(tmp_path)
    options = {"name": "waves", **Waves.complete({"file": "ecg5000/ECG5000_TRAIN.txt"}, tmp_path)}
    _, trained = train_and_load(options, tmp_path / "waves")
    series = np.random.default_rng(0).normal(size=9).astype(np.float32)
    steps = [f"{value:.9f}" for value in series]
    predictions = list(predict_stream(trained, steps))
    for k in (1, 5, 9):
        (whole,) = predict_arrays(trained, [series[:k, None]])
        assert list(predictions[k - 1]["probabilities"].values()) == pytest.approx(whole, abs=1e-5)
    # Lines of several steps give the same predictions.
    together = list(predict_stream(trained, [" ".join(steps[:4]), "", " ".join(steps[4:])]))
    assert together[1]["probabilities"] == pytest.approx(predictions[-1]["probabilities"], abs=1e-5)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(steps[:2])))
    command = ["predict", f"--workdir={tmp_path / 'waves' / '0'}"]
    assert main([*command, "--stream", "--format=csv"]) == 0
    head, first, _ = capsys.readouterr().out.splitlines()
    assert head == "label,1,2,3,4,5"
    assert first.startswith(predictions[0]["label"])
    (tmp_path / "in.txt").write_text("1 2 x\n")
    assert main([*command, f"--input={tmp_path / 'in.txt'}"]) == 2
    assert "input line 1: got '1 2 x', expected numbers" in capsys.readouterr().err
    with pytest.raises(UserError, match="needs the end of the sequence"):
        next(predict_stream(with_model_fields(trained, bidirectional=True), steps))
    with pytest.raises(UserError, match="needs the last value of the sequence"):
        next(predict_stream(with_model_fields(trained, subtract_last=True), steps))


def with_model_fields(trained, **fields):
    model = replace(trained.spec.model, **fields)
    return replace(trained, spec=replace(trained.spec, model=model))


def test_composed_notes_are_sampled_and_saved_as_midi(tmp_path, capsys):
    write_samples(tmp_path)
    train_and_load({"name": "jsb"}, tmp_path / "music")
    out = tmp_path / "chorale.mid"
    command = ["generate", f"--workdir={tmp_path / 'music' / '0'}", "--format=midi"]
    assert main([*command, f"--out={out}", "--length=12", "--seed=3"]) == 0
    assert "12 quarter notes" in capsys.readouterr().out
    trained = load_run(tmp_path / "music" / "0")
    notes_TD = compose(trained, 12, Sampling(temperature=0.8, seed=3))
    # The MIDI file holds the same notes, frame by frame.
    sounding, frames, now = set(), np.zeros((12, 88)), 0
    for message in mido.MidiFile(out).tracks[0]:
        for frame in range(now // 480, (now + message.time) // 480):
            frames[frame, sorted(sounding)] = 1
        now += message.time
        if message.type == "note_on":
            sounding.add(message.note - 21)
        elif message.type == "note_off":
            sounding.remove(message.note - 21)
    assert not sounding
    np.testing.assert_array_equal(frames, notes_TD)
    # Each frame is drawn from the probabilities given all frames before it.
    x = np.concatenate([np.zeros((1, 1, 88)), notes_TD[None, :-1]], 1).astype(np.float32)
    logits = outputs(trained.spec, trained.params, Examples(x, None))[0]
    keys = [jax.random.fold_in(jax.random.key(3), t) for t in range(12)]
    bits = [
        jax.random.bernoulli(key, jax.nn.sigmoid(row / 0.8))
        for key, row in zip(keys, logits, strict=True)
    ]
    np.testing.assert_array_equal(notes_TD, np.array(bits))
    with pytest.raises(UserError, match="got a run of adding, expected a run of jsb"):
        compose(replace(trained, spec=small_spec()), 3)
    # Below what float32 can divide by, as at 0, every note above 0.5 sounds.
    greedy = compose(trained, 5, Sampling(temperature=0.0))
    np.testing.assert_array_equal(compose(trained, 5, Sampling(temperature=1e-39)), greedy)
    with pytest.raises(UserError, match="they choose from symbols of a text; music has none"):
        compose(trained, 3, Sampling(top_p=0.5))
    for flag in ("--prompt=C", "--top-k=3", "--top-p=0.9"):
        assert main([*command, flag]) == 2
        name = flag.partition("=")[0]
        error = f"{name}: it has no effect with --format=midi; leave it out"
        assert error in capsys.readouterr().err
    for temperature in ("-1", "nan", "inf"):
        assert main([*command, f"--temperature={temperature}"]) == 2
        assert "expected a finite number of 0 or more" in capsys.readouterr().err

"""Finished runs on new input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cli import main
from lstm_lab.config import model_of
from lstm_lab.errors import UserError
from lstm_lab.infer import Sampling, generate, likeliest, load_run
from tests.train.helpers import small, train
from tests.train.test_streams import reading

SONG = "row row row your boat gently down the stream\nmerrily merrily life is but a dream\n" * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of a language model whose text is gone."""
    place = tmp_path_factory.mktemp("run")
    text = place / "text.txt"
    text.write_text(SONG)
    spec = reading(text, model={"hidden": 24}, optim={"name": "adam", "lr": 0.02})
    train([spec], place)
    text.unlink()
    return place / "0"


def test_writing_on_equals_reading_all_again(folder):
    trained = load_run(folder)
    vocabulary = trained.fitted["inputs"]
    text = "merrily "
    for _ in range(40):
        tokens = jnp.array([[vocabulary.index(symbol) for symbol in text]])
        logits = model_of(trained.spec).apply({"params": trained.params}, tokens)[0, -1]
        text += vocabulary[int(logits[1:].argmax()) + 1]
    written = "".join(generate(trained, "merrily ", 40, Sampling(temperature=0.0)))
    assert "merrily " + written == text
    assert len(set(written)) > 5


def test_the_text_is_a_function_of_the_seed(folder):
    trained = load_run(folder)
    texts = [
        "".join(generate(trained, "row", n, Sampling(seed=seed)))
        for n, seed in ((70, 3), (70, 3), (70, 4), (41, 3))
    ]
    assert texts[0] == texts[1] != texts[2]
    assert texts[3] == texts[0][:41]
    assert len(texts[0]) == 70


LOGITS = np.log([0.01, 0.4, 0.3, 0.2, 0.09])


@pytest.mark.parametrize(
    ("sampling", "drawn"),
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
def test_only_the_likeliest_are_drawn(sampling, drawn):
    logits = likeliest(jnp.array(LOGITS), sampling)
    assert set(np.flatnonzero(np.isfinite(logits)).tolist()) == drawn


def test_the_temperature_flattens():
    p = jax.nn.softmax(likeliest(jnp.array(LOGITS), Sampling(temperature=2.0)))
    expected = np.sqrt([0.0, 0.4, 0.3, 0.2, 0.09])
    np.testing.assert_allclose(p, expected / expected.sum(), rtol=1e-5)


def test_the_command_writes_prompt_and_text(folder, capsys):
    flags = ["--prompt=your boat", "--length=12", "--top_k=3", "--seed=1", "--devices=4"]
    assert main(["generate", f"--workdir={folder}", *flags]) == 0
    written = capsys.readouterr().out
    assert written.startswith("your boat")
    assert len(written) == len("your boat") + 12 + 1


def test_what_cannot_write_is_said(tmp_path, folder):
    with pytest.raises(UserError, match="holds no run"):
        load_run(tmp_path)
    train([small(train={"steps": 1, "eval_every": 1})], tmp_path)
    with pytest.raises(UserError, match="the run is of adding, allowed language"):
        next(generate(load_run(tmp_path / "0"), "a", 1))
    with pytest.raises(UserError, match="top_p: found 0.0, allowed above 0"):
        Sampling(top_p=0.0)
    (folder / "study.json").touch()
    (tmp_path / "study.json").touch()
    with pytest.raises(UserError, match="it is a study: choose one of"):
        load_run(tmp_path)

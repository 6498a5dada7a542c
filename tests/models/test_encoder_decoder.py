"""Encoder, attention, decoder and beam search, compared with explicit loops in NumPy."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu

from lstm_lab.config.ids import redefinitions
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.variant import rates_of
from lstm_lab.inference.load import load_run
from lstm_lab.inference.predict import predict_stream
from lstm_lab.inference.translate import translate
from lstm_lab.models.beam_search import LENGTH_PENALTY, beam_search
from lstm_lab.models.build import build_model
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.regularization import Regularization
from lstm_lab.models.translation import translate_tokens
from lstm_lab.tasks import SourceTokens
from lstm_lab.tasks.datasets.translation import BEGIN_NUMBER, END_NUMBER
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json
from tests.helpers.explain import random_params
from tests.helpers.training import train
from tests.helpers.translation import translation_spec


def random_model(spec, S=4, T=3, B=2):
    """Returns a model, its parameters and a batch of sources and previous symbols."""
    model = build_model(spec)
    keys = jax.random.split(jax.random.key(1), 2)
    source = SourceTokens(jax.random.randint(keys[0], (B, S), 0, 9), jnp.array([S, S - 2]))
    x = jax.random.randint(keys[1], (B, T), 0, 10)
    return model, model.init(jax.random.key(0), x), source, x


def to_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


def cell(params, x, h, c):
    """Computes one step of an LSTM in NumPy, with gates i, f, o, g."""
    z = np.einsum("bd,dgh->bgh", x, params["wx"]) + np.einsum("bd,dgh->bgh", h, params["wh"])
    i, f, o = 1 / (1 + np.exp(-(z + params["b"])[:, :3].swapaxes(0, 1)))
    c = f * c + i * np.tanh((z + params["b"])[:, 3])
    return o * np.tanh(c), c


def dense(params, x):
    return x @ params["kernel"] + params.get("bias", 0.0)


def logits_in_numpy(params, source, x, attention):
    """Returns the logits of a model of one layer and direction, computed row by row in NumPy."""
    rows = []
    for tokens, length, symbols in zip(source.tokens, source.lengths, x, strict=True):
        h = c = np.zeros((1, 6))
        memory = []
        for token in tokens[: int(length)]:
            embedded = params["embed_source"]["embedding"][int(token)][None]
            h, c = cell(params["encoder"]["layer_0"], embedded, h, c)
            memory.append(h[0])
        memory = np.array(memory)
        h, c = (dense(params[f"bridge_0_{part}"], s) for part, s in (("h", h), ("c", c)))
        logits = []
        for symbol in symbols:
            inputs = params["embed"]["embedding"][int(symbol)][None]
            if attention == "bahdanau":
                hidden = np.tanh(dense(params["query"], h) + dense(params["keys"], memory))
                context = softmax(dense(params["score"], hidden)[:, 0]) @ memory
                h, c = cell(
                    params["decoder"]["layer_0"], np.concatenate([inputs, context[None]], 1), h, c
                )
                features = np.concatenate([h[0], context])
            else:
                h, c = cell(params["decoder"]["layer_0"], inputs, h, c)
                features = h[0]
            if attention == "luong":
                context = softmax(dense(params["keys"], memory) @ h[0]) @ memory
                features = np.tanh(dense(params["mix"], np.concatenate([context, h[0]])))
            logits.append(dense(params["head"], features))
        rows.append(logits)
    return np.array(rows)


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


@pytest.mark.parametrize("attention", ["none", "luong", "bahdanau"])
def test_logits_match_the_equations(tmp_path, attention):
    model = {"layers": 1, "bidirectional": False, "attention": attention}
    module, variables, source, x = random_model(translation_spec(tmp_path, model=model))
    result = module.apply(variables, x, source=source)
    expected = logits_in_numpy(to_float64(variables["params"]), source, x, attention)
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("attention", ["luong", "bahdanau"])
def test_stepwise_decoding_equals_decoding_at_once(tmp_path, attention):
    module, variables, source, x = random_model(
        translation_spec(tmp_path, model={"attention": attention})
    )
    whole = module.apply(variables, x, source=source)
    memory = module.apply(variables, *source, method="encode")
    states, parts = memory.states, []
    for t in range(x.shape[1]):
        logits, states = module.apply(variables, x[:, t : t + 1], states, memory, method="decode")
        parts.append(logits)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)
    # Padding of the source has no effect.
    padded = SourceTokens(jnp.pad(source.tokens, ((0, 0), (0, 3))), source.lengths)
    np.testing.assert_allclose(module.apply(variables, x, source=padded), whole, atol=1e-5)


def test_a_beam_with_all_hypotheses_finds_the_best_sequence():
    """Two steps of four symbols: the result is the best of all possible sequences."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4)), rng.normal(size=(2, 4, 4))
    log = {k: jax.nn.log_softmax(jnp.array(v)) for k, v in (("first", first), ("second", second))}

    def step(symbols_R, sentences_R):
        begins = symbols_R == BEGIN_NUMBER
        later = log["second"][sentences_R, symbols_R]
        return jnp.where(begins[:, None], log["first"][sentences_R], later), sentences_R

    sentences_R = jnp.arange(2).repeat(16)
    result = beam_search(
        step, sentences_R, beam=16, max_length=2, begin=BEGIN_NUMBER, end=END_NUMBER
    )
    for sentence in range(2):
        best, score = None, -np.inf
        for text in product((1, 2, 3), repeat=2):
            if text[0] == END_NUMBER and text[1] != END_NUMBER:
                continue
            p = float(log["first"][sentence, text[0]])
            if text[0] != END_NUMBER:
                # `step` gives a begin symbol inside a sequence the same scores as the first one.
                after = log["first"][sentence] if text[0] == 1 else log["second"][sentence, text[0]]
                p += float(after[text[1]])
            words = sum(symbol != END_NUMBER for symbol in text)
            p /= ((5 + words) / 6) ** LENGTH_PENALTY
            if p > score:
                best, score = text, p
        assert tuple(np.asarray(result[sentence]).tolist()) == best


def greedy_translation(spec, params, source, length):
    """Returns the most probable symbols one by one, with the rates of the run."""
    module, text = build_model(spec), [BEGIN_NUMBER]
    for _ in range(length):
        logits = module.apply(
            {"params": params},
            jnp.array([text]),
            regularization=Regularization(rates_of(spec.model)),
            source=source,
        )
        text.append(int(logits[0, -1, 1:].argmax()) + 1)
        if text[-1] == END_NUMBER:
            break
    return text[1:]


def test_a_beam_of_one_is_greedy_search(tmp_path):
    spec = translation_spec(tmp_path)
    train([spec], tmp_path / "run", data_dir=tmp_path)
    trained = load_run(tmp_path / "run" / "0")
    test = spec.task.load(tmp_path).splits["test"]
    source = jax.tree.map(lambda a: a[:1], test.source)
    (result,) = translate_tokens(spec, trained.params, source, beam=1)
    text = greedy_translation(spec, trained.params, source, len(result))
    np.testing.assert_array_equal(result[: len(text)], text)
    assert (result[len(text) :] == END_NUMBER).all()


@pytest.mark.parametrize("attention", ["none", "luong", "bahdanau"])
def test_a_projected_cell_translates(tmp_path, attention):
    """Its h has other features than its c."""
    spec = translation_spec(tmp_path, model={"cell": "lstmp", "attention": attention})
    model, variables, source, x = random_model(spec)
    logits, states = model.apply(variables, x, source=source, method="logits_and_states")
    assert logits.shape == (2, 3, 10)
    assert [(state.h.shape, state.c.shape) for (state,) in states] == [((2, 3), (2, 6))] * 2
    params = variables["params"]
    assert params["bridge_0_h"]["kernel"].shape == (6, 3)
    assert params["bridge_0_c"]["kernel"].shape == (12, 6)


def test_encoder_and_decoder_draw_different_masks(tmp_path):
    model, variables, source, x = random_model(
        translation_spec(tmp_path, model={"dropout_in": 0.5, "attention": "none"})
    )
    key = jax.random.key(0)
    regularization = Regularization({}, key, jax.random.split(key, 2))
    masks, keys = {}, {}

    def record(call, args, kwargs, context):
        if isinstance(context.module, LSTM) and context.method_name == "__call__":
            stack, given = context.module, kwargs["regularization"]
            keys[stack.name] = jnp.concatenate([given.key[None], given.keys_B])
            masks[stack.name] = stack._drop_inputs(jnp.ones((3, 2, 5)), 0, given)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        model.apply(variables, x, None, regularization, source=source)
    # All noise of a stack follows from these keys.
    assert (keys["encoder"] != keys["decoder"]).all()
    assert (masks["encoder"] != masks["decoder"]).any()


def test_only_noise_of_the_stacks_of_a_translation_means_something_new(tmp_path):
    for model, changed in (
        ({}, {}),
        ({"dropout_out": 0.1}, {}),
        ({"dropout_in": 0.1}, {"noise": 2}),
        ({"dropout": 0.1}, {"noise": 2}),
        ({"cell": "zoneout"}, {"noise": 2}),
    ):
        assert redefinitions(translation_spec(tmp_path, model=model)) == changed


def test_a_translation_has_the_zoneout_of_the_run(tmp_path):
    model = {"cell": "zoneout", "zoneout_c": 0.0, "zoneout_h": 0.9}
    spec = translation_spec(tmp_path, model=model)
    params = random_params(spec, scale=1.0)
    source = jax.tree.map(lambda a: a[:1], spec.task.load(tmp_path).splits["test"].source)
    (result,) = translate_tokens(spec, params, source, beam=1)
    text = greedy_translation(spec, params, source, len(result))
    np.testing.assert_array_equal(result[: len(text)], text)
    at_paper = replace(spec, model=replace(spec.model, zoneout_c=None, zoneout_h=None))
    assert greedy_translation(at_paper, params, source, len(result)) != text


def test_bleu_of_a_run_matches_its_translations(tmp_path):
    spec = translation_spec(
        tmp_path,
        model={"hidden": 32, "layers": 1, "embedding": 16},
        train={"steps": 300, "eval_every": 100},
    )
    train([spec], tmp_path / "run", data_dir=tmp_path)
    trained = load_run(tmp_path / "run" / "0")
    result = read_json(tmp_path / "run" / "0" / "result.json")
    references = trained.preprocessing["references"]
    dataset = spec.task.load(tmp_path)
    sources = dataset.splits["test"].source
    words = trained.preprocessing["sources"]
    lines = [
        " ".join(words[k] for k in row[:n])
        for row, n in zip(sources.tokens, sources.lengths, strict=True)
    ]
    texts = translate(trained, lines)
    bleu = sacrebleu.corpus_bleu(texts, [references], lowercase=True).score
    assert result["test"]["bleu"] == pytest.approx(bleu)
    assert bleu > 30
    assert texts[0].endswith(".")
    with pytest.raises(UserError, match="a translation starts after the end of its source"):
        next(predict_stream(trained, lines))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"embedding": None}}, "model.embedding: translation needs one"),
        ({"model": {"tied": True, "embedding": 12}}, "model.tied: translation does not support it"),
        ({"model": {"cell": "slstm"}}, "the normalizer of slstm"),
        (
            {"model": {"attention": "bahdanau", "dropout": 0.1}},
            "bahdanau attention supports neither",
        ),
        ({"model": {"attention": "bahdanau", "cell": "zoneout"}}, "draws no noise for zoneout"),
        ({"compute": {"gates": True}}, "compute.gates: translation has no gate statistics"),
        ({"task": {"valid_target": None}}, "valid_source, valid_target: expected both or none"),
        ({"task": {"vocabulary": 3}}, "vocabulary: got 3, expected 4"),
    ],
)
def test_invalid_settings_are_rejected(tmp_path, sections, message):
    with pytest.raises(UserError, match=message):
        translation_spec(tmp_path, **sections)


def test_attention_needs_a_source():
    with pytest.raises(UserError, match="counting has no encoder to attend to"):
        build_spec(
            {
                "task": {"name": "counting"},
                "model": {"attention": "none"},
                "train": {"steps": 1},
            }
        )


def test_long_pairs_are_left_out_of_training_only(tmp_path):
    spec = translation_spec(tmp_path)
    short = replace(spec.task, max_length=3)
    sizes = [
        {k: len(part.y) for k, part in task.load(tmp_path).splits.items()}
        for task in (spec.task, short)
    ]
    assert sizes[1]["train"] < sizes[0]["train"]
    assert sizes[1]["test"] == sizes[0]["test"] == 6
    assert short.load(tmp_path).splits["train"].x.shape[1] <= 4
    assert Path(spec.task.train_source).name == "train.en.gz"

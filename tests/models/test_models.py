"""The recurrent stack, its directions, dropout, heads and inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ScopeParamShapeError

import lstm_lab as ll
from lstm_lab.cells import get_variant
from lstm_lab.config.sections import ModelSpec
from lstm_lab.models.build import build_sequence_model
from lstm_lab.models.recurrent import LSTM, merge_directions
from lstm_lab.models.regularization import Regularization
from lstm_lab.recurrence import unroll

T, B, D = 5, 3, 4
LENGTHS = jnp.array([5, 2, 0])


def stack(**options):
    model = LSTM(get_variant("np").spec, **{"hidden_sizes": (6,), **options})
    x = jax.random.normal(jax.random.key(0), (T, B, D))
    return model, model.init(jax.random.key(1), x), x


def test_a_stack_equals_its_layers_one_by_one():
    model, variables, x = stack(hidden_sizes=(6, 7))
    h, states = model.apply(variables, x, lengths=LENGTHS)
    expected = x
    for layer in range(2):
        params = variables["params"][f"layer_{layer}"]
        expected, final, _ = unroll(get_variant("np").spec, params, expected, lengths=LENGTHS)
        np.testing.assert_allclose(states[layer][0].c, final.c, atol=1e-6)
    np.testing.assert_allclose(h, expected, atol=1e-6)


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", "product"])
def test_directions_are_merged(merge):
    model, variables, x = stack(bidirectional=True, merge=merge)
    h, ((forward, backward),) = model.apply(variables, x, lengths=LENGTHS)
    p = variables["params"]
    spec = get_variant("np").spec
    a = unroll(spec, p["layer_0"], x, lengths=LENGTHS).h
    b = unroll(spec, p["layer_0_reverse"], x, lengths=LENGTHS, reverse=True).h
    joined = {
        "concat": np.concatenate([a, b], -1),
        "sum": a + b,
        "mean": (a + b) / 2,
        "product": a * b,
    }
    np.testing.assert_allclose(h, joined[merge], atol=1e-6)
    last, _ = LSTM(spec, (6,), True, merge, return_sequences=False).apply(
        variables, x, lengths=LENGTHS
    )
    np.testing.assert_allclose(last, merge_directions([forward.h, backward.h], merge), atol=1e-6)
    np.testing.assert_allclose(forward.h[1], a[1, 1], atol=1e-6)
    np.testing.assert_allclose(backward.h, b[0], atol=1e-6)


@pytest.mark.parametrize(
    ("error", "message", "options", "shape", "keywords"),
    [
        (ScopeParamShapeError, r"shape \(3, 4, 6\)", {}, (T, B, D - 1), {}),
        (ValueError, r"x_TBD: got shape \(3, 4\), expected \[T,B,D\]", {}, (B, D), {}),
        (
            ValueError,
            r"states: got \[\] states by layer, expected \[1\]",
            {},
            (T, B, D),
            {"states": ()},
        ),
        (ValueError, r"x_TBD: got shape \(0, 3, 4\)", {}, (0, B, D), {}),
        (ValueError, "lengths: got shape", {}, (T, B, D), {"lengths": LENGTHS[:2]}),
        (ValueError, "resets: got shape", {}, (T, B, D), {"resets": LENGTHS > 0}),
        (ValueError, "backend: got 'cuda'", {"backend": "cuda"}, (T, B, D), {}),
        (ValueError, "does not support", {"backend": "associative"}, (T, B, D), {}),
        (ValueError, "got gate 'q'", {"clamp": {"layer_0": {"q": 1.0}}}, (T, B, D), {}),
    ],
)
def test_the_errors_are_those_that_the_docstring_names(error, message, options, shape, keywords):
    model, variables, _ = stack()
    with pytest.raises(error, match=message):
        model.clone(**options).apply(variables, jnp.ones(shape), **keywords)


def test_residual_adds_a_layers_input():
    model, variables, x = stack(hidden_sizes=(6, 6), residual=True)
    h, _ = model.apply(variables, x, lengths=LENGTHS)
    plain, _ = LSTM(get_variant("np").spec, (6, 6)).apply(variables, x, lengths=LENGTHS)
    first, _ = LSTM(get_variant("np").spec, (6,)).apply(
        {"params": {"layer_0": variables["params"]["layer_0"]}}, x, lengths=LENGTHS
    )
    np.testing.assert_allclose(h, plain + first, atol=1e-6)
    last, _ = LSTM(get_variant("np").spec, (6, 6), residual=True, return_sequences=False).apply(
        variables, x, lengths=LENGTHS
    )
    np.testing.assert_allclose(last[0], h[4, 0], atol=1e-6)
    np.testing.assert_allclose(last[1], h[1, 1], atol=1e-6)
    np.testing.assert_array_equal(last[2], np.zeros(6))


def test_chunks_with_carried_states_equal_one_call():
    model, variables, x = stack(hidden_sizes=(6, 6))
    whole, final = model.apply(variables, x)
    first, states = model.apply(variables, x[:2])
    second, after = model.apply(variables, x[2:], states)
    np.testing.assert_allclose(whole, np.concatenate([first, second]), atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), final, after)


def test_dropout_masks_depend_on_the_example_and_act_only_in_training():
    model, variables, x = stack(hidden_sizes=(6, 6), dropout=0.5)
    keys = jax.random.split(jax.random.key(3), B)
    evaluated, _ = model.apply(variables, x)
    without_dropout, _ = LSTM(get_variant("np").spec, (6, 6)).apply(variables, x)
    np.testing.assert_array_equal(evaluated, without_dropout)
    trained, _ = model.apply(variables, x, regularization=Regularization({}, keys[0], keys))
    assert np.abs(trained - evaluated).max() > 1e-3
    alone, _ = model.apply(
        variables, x[:, 1:], regularization=Regularization({}, keys[0], keys[1:])
    )
    np.testing.assert_allclose(trained[:, 1:], alone, atol=1e-6)


def test_dropout_keeps_the_mean():
    from lstm_lab.models.regularization import dropout

    x = jnp.ones((40, 10, 50))
    dropped = dropout(x, 0.3, jax.random.split(jax.random.key(0), 10))
    assert abs(float(dropped.mean()) - 1.0) < 0.02
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.02


def test_a_locked_mask_is_the_same_at_all_steps():
    from lstm_lab.models.regularization import dropout

    keys = jax.random.split(jax.random.key(0), 10)
    dropped = dropout(jnp.ones((40, 10, 50)), 0.3, keys, locked=True)
    np.testing.assert_array_equal(dropped, jnp.broadcast_to(dropped[:1], dropped.shape))
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.05
    assert (dropped[0, 0] != dropped[0, 1]).any()


def token_model(**fields):
    """Returns a model of tokens, its parameters, tokens, and keys of a training step."""
    spec = ModelSpec(hidden=6, embedding=6, layers=2, **fields)
    model = build_sequence_model(
        spec, get_variant("lstm").spec, vocabulary=11, outputs=11, every_step=True
    )
    x = jax.random.randint(jax.random.key(5), (B, T), 0, 11)
    keys = jax.random.split(jax.random.key(3), B)
    return model, model.init(jax.random.key(0), x), x, Regularization({}, keys[0], keys)


def test_words_are_dropped_in_each_sequence_with_all_their_occurrences():
    from lstm_lab.models.regularization import drop_words_of_sequences

    words_TB = jax.random.randint(jax.random.key(0), (60, 40), 0, 5)
    keys_B = jax.random.split(jax.random.key(1), 40)
    x = drop_words_of_sequences(jnp.ones((60, 40, 2)), words_TB, 0.3, keys_B)
    np.testing.assert_array_equal(x[..., 0], x[..., 1])
    np.testing.assert_allclose(np.unique(x), [0.0, 1.0 / 0.7], rtol=1e-6)
    fates = np.array(
        [[np.unique(x[words_TB[:, b] == word, b, 0]) for word in range(5)] for b in range(40)]
    )  # fails to be an array if a word has two fates in a sequence
    assert fates.shape == (40, 5, 1)
    assert abs((fates == 0).mean() - 0.3) < 0.1
    assert 0.0 < (fates[:, 2] == 0).mean() < 1.0  # the same word, in different sequences


def test_words_of_sequences_are_dropped_in_training_only():
    fields = {"dropout_words": 0.5, "dropout_words_per": "sequence"}
    model, variables, x, regularization = token_model(**fields)
    plain, _, _, _ = token_model()
    evaluated = model.apply(variables, x)[0]
    np.testing.assert_array_equal(evaluated, plain.apply(variables, x)[0])
    assert (model.apply(variables, x, regularization=regularization)[0] != evaluated).any()


@pytest.mark.parametrize("field", ["dropout_in", "dropout_out", "dropout_words"])
def test_each_dropout_acts_only_in_training(field):
    model, variables, x, regularization = token_model(**{field: 0.5})
    evaluated = model.apply(variables, x)
    np.testing.assert_array_equal(evaluated, token_model()[0].apply(variables, x))
    trained = model.apply(variables, x, regularization=regularization)
    assert np.abs(trained - evaluated).max() > 1e-3


def test_a_dropped_word_is_zero_in_the_whole_batch():
    from lstm_lab.models.regularization import drop_words

    table = drop_words(jnp.ones((400, 3)), 0.25, jax.random.key(1))
    assert set(np.unique(table)) == {0.0, np.float32(1 / 0.75)}
    assert abs(float((table[:, 0] == 0).mean()) - 0.25) < 0.07
    np.testing.assert_array_equal(table, jnp.broadcast_to(table[:, :1], table.shape))


def test_a_tied_head_uses_the_embedding():
    model, variables, x, _ = token_model(tied=True)
    params = variables["params"]
    assert set(params) == {"embed", "lstm", "bias"}
    features, _ = LSTM(get_variant("lstm").spec, (6, 6)).apply(
        {"params": params["lstm"]}, params["embed"]["embedding"][x.T]
    )
    expected = np.asarray(features) @ np.asarray(params["embed"]["embedding"]).T
    np.testing.assert_allclose(
        model.apply(variables, x), expected.swapaxes(0, 1) + np.asarray(params["bias"]), atol=1e-5
    )


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("embedding", [None, 8])
def test_heads_and_inputs_have_the_expected_shapes_and_dtypes(every_step, embedding):
    spec = ModelSpec(hidden=6, embedding=embedding, dtype="bfloat16")
    model = build_sequence_model(
        spec, get_variant("lstm").spec, vocabulary=11, outputs=2, every_step=every_step
    )
    x = jnp.zeros((B, T), jnp.int32)
    logits, variables = model.init_with_output(jax.random.key(0), x, LENGTHS)
    assert logits.shape == ((B, T, 2) if every_step else (B, 2))
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    inputs = 11 if embedding is None else 8
    assert variables["params"]["lstm"]["layer_0"]["wx"].shape == (inputs, 4, 6)


def test_subtract_last_makes_the_model_invariant_to_the_level():
    spec = ModelSpec(hidden=6, subtract_last=True)
    options = {"vocabulary": None, "outputs": 2, "every_step": False}
    model = build_sequence_model(spec, get_variant("lstm").spec, **options)
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    variables = model.init(jax.random.key(1), x)
    level = jnp.array([3.0, -1.0, 2.0])[:, None, None]
    for lengths in (None, LENGTHS):
        result = model.apply(variables, x, lengths)
        np.testing.assert_allclose(result, model.apply(variables, x + level, lengths), atol=1e-5)
    plain = build_sequence_model(ModelSpec(hidden=6), get_variant("lstm").spec, **options)
    last = jnp.stack([x[0, 4], x[1, 1], x[2, 0]])[:, None]
    expected = plain.apply(variables, x - last, LENGTHS)
    np.testing.assert_array_equal(model.apply(variables, x, LENGTHS), expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": 0}, "hidden: got 0, expected 1 or more"),
        ({"layers": 0}, "layers: got 0"),
        ({"hidden_sizes": ()}, "hidden_sizes: got"),
        ({"hidden_sizes": (4, 0)}, r"hidden_sizes\[1\]: got 0"),
        ({"dropout": 1.0, "layers": 2}, "dropout: got 1.0"),
        ({"dropout": 0.5}, "dropout: acts between layers"),
        ({"hidden_sizes": (4, 5), "residual": True}, "residual: needs equal widths"),
        ({"embedding": 0}, "embedding: got 0"),
        ({"tied": True}, "tied: needs an embedding"),
        ({"dropout_out": 1.5}, "dropout_out: got 1.5"),
    ],
)
def test_invalid_models_are_rejected(fields, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec(**fields)


def test_a_stack_is_built_from_a_spec():
    for spec, found in (("gru", "'gru'"), (ll.cell("gru"), "BoundCell")):
        with pytest.raises(TypeError, match=f"spec: got {found}, expected a spec, such as"):
            LSTM(spec, (8,))
    with pytest.raises(TypeError, match=r"trace: got \('f',\), expected True or False"):
        LSTM(get_variant("lstm").spec, (8,), trace=("f",))


def test_keys_of_dropout_come_with_its_regularization():
    """Flax's own modules read them from `rngs`; that they would be ignored is not seen."""
    stack = LSTM(get_variant("lstm").spec, (8, 8), dropout=0.9)
    x, key = jnp.ones((5, 3, 2)), jax.random.key(1)
    variables = stack.init({"params": jax.random.key(0), "dropout": key}, x)
    with pytest.raises(ValueError, match="rngs: got dropout, expected regularization="):
        stack.apply(variables, x, rngs={"dropout": key})
    step = ll.Regularization({}, key, jax.random.split(key, 3))
    dropped = stack.apply(variables, x, regularization=step)[0]
    assert not jnp.allclose(dropped, stack.apply(variables, x)[0])

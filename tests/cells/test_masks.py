"""Regularization: active in training, deterministic in evaluation; what its masks depend on."""

from dataclasses import replace
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstm_lab.cells import CellSpec, get_variant, masks
from lstm_lab.cells.masks import default_rates, draw, drop_inputs, drop_weights, expected
from lstm_lab.models.recurrent import LSTM
from lstm_lab.models.regularization import Regularization

T, B, D, H = 6, 4, 3, 8
REGULARIZED = {
    "zoneout": get_variant("zoneout").spec,
    "variational": get_variant("variational").spec,
    "variational_untied": CellSpec(recurrent_dropout="variational_untied"),
    "semeniuta": get_variant("semeniuta").spec,
    "semeniuta_sequence": CellSpec(recurrent_dropout="semeniuta_sequence"),
    "weightdrop": get_variant("weightdrop").spec,
    "all": CellSpec(
        peephole="ifo",
        layer_norm=True,
        zoneout=True,
        recurrent_dropout="variational",
        weight_drop=True,
    ),
}


def stack(spec, bidirectional=False):
    model = LSTM(spec, (H,), bidirectional=bidirectional)
    x = jax.random.normal(jax.random.key(0), (T, B, D))
    return model, model.init(jax.random.key(1), x), x


def keys(seed):
    return jax.random.key(seed), jax.random.split(jax.random.key(seed + 100), B)


@pytest.mark.parametrize("name", REGULARIZED)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_regularization_is_active_in_training_and_deterministic_in_evaluation(name, bidirectional):
    model, variables, x = stack(REGULARIZED[name], bidirectional)
    key, keys_B = keys(0)
    evaluated, _ = model.apply(variables, x)
    # Rates without keys are what an evaluation during training passes.
    with_rates, _ = model.apply(variables, x, regularization=Regularization({}))
    np.testing.assert_array_equal(evaluated, with_rates)
    trained, _ = model.apply(variables, x, regularization=Regularization({}, key, keys_B))
    other, _ = model.apply(variables, x, regularization=Regularization({}, *keys(1)))
    assert np.abs(trained - evaluated).max() > 1e-3
    assert np.abs(trained - other).max() > 1e-3
    # The masks of a row depend on its own key and not on its position in the batch.
    flipped = Regularization({}, key, keys_B[::-1])
    flipped, _ = model.apply(variables, x[:, ::-1], regularization=flipped)
    np.testing.assert_allclose(trained, flipped[:, ::-1], atol=1e-6)


@pytest.mark.parametrize("name", REGULARIZED)
def test_training_at_rate_zero_equals_evaluation(name):
    spec = REGULARIZED[name]
    model, variables, x = stack(spec)
    zero = dict.fromkeys(default_rates(spec), 0.0)
    trained, _ = model.apply(variables, x, regularization=Regularization(zero, *keys(0)))
    evaluated, _ = model.apply(variables, x, regularization=Regularization(zero))
    np.testing.assert_allclose(trained, evaluated, atol=1e-6)
    plain = replace(spec, zoneout=False, recurrent_dropout=None, weight_drop=False)
    np.testing.assert_allclose(evaluated, stack(plain)[0].apply(variables, x)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["variational", "variational_untied", "semeniuta", "weightdrop"])
def test_dropout_is_the_identity_in_evaluation(name):
    model, variables, x = stack(REGULARIZED[name])
    plain, _, _ = stack(CellSpec())
    np.testing.assert_array_equal(model.apply(variables, x)[0], plain.apply(variables, x)[0])


def test_zoneout_evaluates_to_the_expectation():
    """One step from a zero state: the mean over masks is the evaluated step."""
    spec = replace(get_variant("zoneout").spec, forget_bias=0.0)
    model = LSTM(spec, (H,))
    x = jax.random.normal(jax.random.key(0), (1, B, D))
    variables = model.init(jax.random.key(1), x)
    rates = {"zoneout_c": 0.4, "zoneout_h": 0.3}

    def sample(seed):
        key = jax.random.key(seed)
        training = Regularization(rates, key, jax.random.split(key, B))
        return model.apply(variables, x, regularization=training)

    h, state = jax.vmap(sample)(jnp.arange(4000))
    evaluated_h, evaluated_state = model.apply(variables, x, regularization=Regularization(rates))
    np.testing.assert_allclose(h.mean(0), evaluated_h, atol=0.01)
    np.testing.assert_allclose(state[0][0].c.mean(0), evaluated_state[0][0].c, atol=0.01)


def test_masks_do_not_depend_on_hidden_size_batch_or_chunk():
    spec = REGULARIZED["all"]
    rates = dict.fromkeys(default_rates(spec), 0.5)
    keys_B = jax.random.split(jax.random.key(0), B)

    def draw_masks(H, keys_B, T=T, start=0):
        params = spec.cell.init(spec, jax.random.key(1), D, H)
        return draw(spec, rates, keys_B, params, T, start)

    whole = draw_masks(H, keys_B)
    wider, fewer_rows = draw_masks(H + 8, keys_B), draw_masks(H, keys_B[:2])
    chunk = draw_masks(H, keys_B, 2, start=3)
    for other in (wider, fewer_rows, chunk):
        for name, mask in other._asdict().items():
            if mask is not None:
                reference = getattr(whole, name)
                reference = reference[3:5] if mask.shape[0] == 2 else reference
                n = mask.shape[1]
                np.testing.assert_array_equal(mask[..., :H], reference[:, :n])
    wide, narrow = (
        drop_weights({"weight_drop": 0.5}, jax.random.key(2), {"wh": jnp.ones((n, 4, n))})["wh"]
        for n in (H + 8, H)
    )
    np.testing.assert_array_equal(wide[:H, :, :H], narrow)


def test_the_rate_is_the_share_of_dropped_units():
    params = {"wh": jnp.ones((100, 4, 100))}
    dropped = drop_weights({"weight_drop": 0.3}, jax.random.key(0), params)["wh"]
    assert abs(float((dropped == 0).mean()) - 0.3) < 0.01
    np.testing.assert_allclose(dropped.mean(), 1.0, atol=0.02)
    keys_B = jax.random.split(jax.random.key(0), 50)
    rates, spec = {"input_dropout": 0.2}, get_variant("variational").spec
    params = spec.cell.init(spec, jax.random.key(1), 100, H)
    same, x = drop_inputs(spec, rates, keys_B, params, jnp.ones((3, 50, 100)))
    assert same is params
    assert abs(float((x == 0).mean()) - 0.2) < 0.02
    np.testing.assert_array_equal(x[0], x[2])
    assert expected(get_variant("np").spec, {}) is None


def test_the_expectation_of_zoneout_is_that_of_each_mask(monkeypatch):
    """Whatever the order in which the rates are listed."""
    monkeypatch.setattr(masks, "_ZONEOUT", {"zoneout_h": 0.05, "zoneout_c": 0.5})
    noise = expected(get_variant("zoneout").spec, {"zoneout_c": 0.25, "zoneout_h": 0.75})
    assert (noise.zoneout_c.item(), noise.zoneout_h.item()) == (0.25, 0.75)


DROPOUT = ("variational", "variational_untied", "semeniuta", "semeniuta_sequence")


def masks_of(spec, rates, T=T, rows=50):
    """Returns the masks of a variant by name, for many rows."""
    params = spec.cell.init(spec, jax.random.key(1), D, H)
    masks = draw(spec, rates, jax.random.split(jax.random.key(0), rows), params, T)
    return {name: np.asarray(m) for name, m in masks._asdict().items() if m is not None}


@pytest.mark.parametrize("name", DROPOUT)
def test_what_dropout_keeps_is_divided_by_the_share_that_is_kept(name):
    """The expectation of a mask is 1, so that evaluation needs none."""
    (mask,) = masks_of(REGULARIZED[name], {"recurrent_dropout": 0.2}).values()
    np.testing.assert_allclose(np.unique(mask), [0.0, 1.25], rtol=1e-6)
    assert abs((mask == 0.0).mean() - 0.2) < 0.05
    # A mask per step, or one for all.
    assert len(mask) == (T if name == "semeniuta" else 1)
    assert (mask[0] != mask[-1]).any() == (name == "semeniuta")


def test_untied_masks_give_each_gate_inputs_of_its_own():
    spec = REGULARIZED["variational_untied"]
    params = spec.cell.init(spec, jax.random.key(1), D, H)
    x = jax.random.normal(jax.random.key(2), (T, B, D))
    keys_B = jax.random.split(jax.random.key(0), B)
    read, wide = drop_inputs(spec, {"input_dropout": 0.5}, keys_B, params, x)
    inputs = np.asarray(wide).reshape(T, B, 4, D)
    ratio = inputs / np.asarray(x)[:, :, None]
    np.testing.assert_allclose(np.unique(ratio.round(4)), [0.0, 2.0])
    np.testing.assert_array_equal(ratio[0], ratio[-1])  # one mask per sequence
    for one, other in combinations(range(4), 2):
        assert (ratio[:, :, one] != ratio[:, :, other]).any()
    expected = np.einsum("tbgd,dgh->tbgh", inputs, params["wx"]).reshape(T, B, -1)
    zx = spec.cell.project(spec, read, wide)
    np.testing.assert_allclose(zx, expected + np.ravel(params["b"]), rtol=1e-4, atol=1e-5)


def test_zoneout_keeps_units_at_its_rates():
    masks = masks_of(REGULARIZED["zoneout"], {"zoneout_c": 0.5, "zoneout_h": 0.1})
    for name, rate in (("zoneout_c", 0.5), ("zoneout_h", 0.1)):
        assert set(np.unique(masks[name])) == {0.0, 1.0}
        assert abs(masks[name].mean() - rate) < 0.05


def test_masks_of_gates_states_and_inputs_differ():
    untied = masks_of(REGULARIZED["variational_untied"], {"recurrent_dropout": 0.5})["recurrent"]
    for one, other in combinations(range(4), 2):
        assert (untied[:, :, one] != untied[:, :, other]).any()
    both = masks_of(REGULARIZED["zoneout"], {"zoneout_c": 0.5, "zoneout_h": 0.5})
    assert (both["zoneout_c"] != both["zoneout_h"]).any()


def test_the_rates_of_the_papers_are_the_defaults():
    # Krueger et al. 2017 (characters of the Penn Treebank); Merity et al. 2017.
    assert default_rates(REGULARIZED["zoneout"]) == {"zoneout_c": 0.5, "zoneout_h": 0.05}
    assert default_rates(REGULARIZED["weightdrop"]) == {"weight_drop": 0.5}
    for name in DROPOUT:
        rates = default_rates(REGULARIZED[name])
        # yaringal/BayesianRNN, main_new_dropout_SOTA.lua: dropout_h and dropout_i.
        published = {"recurrent_dropout": 0.3, "input_dropout": 0.5}
        assert rates == (published if "variational" in name else {"recurrent_dropout": 0.25})
    assert default_rates(get_variant("gru").spec) == {}

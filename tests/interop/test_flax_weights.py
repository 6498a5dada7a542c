"""Weights of Flax: round trips are exact, modules of users give the same numbers here."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

from lstm_lab.interop.flax_models import linen_params
from lstm_lab.interop.flax_weights import _forward_first, import_weights
from lstm_lab.interop.portable import portable_model
from lstm_lab.utils.errors import UserError
from tests.helpers.frameworks import (
    LENGTHS,
    MODELS,
    WORDS,
    assert_equal_outputs,
    inputs_of,
    reference,
    run_of,
)


class OfAUser(nn.Module):
    """A bidirectional model as a user of Flax writes one."""

    @nn.compact
    def __call__(self, x, lengths):
        h = nn.Embed(4, 3)(x)
        both = nn.Bidirectional(nn.RNN(nn.LSTMCell(5)), nn.RNN(nn.LSTMCell(5)))
        ((_, forward), (_, backward)), _ = both(h, seq_lengths=lengths, return_carry=True)
        return nn.Dense(1)(jax.numpy.concatenate([forward, backward], -1))


class WithNames(nn.Module):
    """The same with names; the backward one comes first in the alphabet and in the file."""

    def setup(self):
        self.embed, self.head = nn.Embed(4, 3), nn.Dense(1)
        self.backward_rnn = nn.RNN(nn.LSTMCell(5))
        self.forward_rnn = nn.RNN(nn.LSTMCell(5))
        self.both = nn.Bidirectional(self.forward_rnn, self.backward_rnn)

    def __call__(self, x, lengths):
        carries, _ = self.both(self.embed(x), seq_lengths=lengths, return_carry=True)
        ((_, forward), (_, backward)) = carries
        return self.head(jax.numpy.concatenate([forward, backward], -1))


def saved(path, params):
    path.write_bytes(serialization.msgpack_serialize(params))
    return path


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("name", ["concat", "tied", "sizes"])
def test_a_round_trip_is_exact(cell, name, tmp_path):
    task, settings = MODELS[name]
    run = run_of(cell, task, **settings)
    path = saved(tmp_path / "params.msgpack", linen_params(portable_model(run)))
    weights, expected = import_weights(path, run.spec), flatten_dict(run.params, sep="/")
    assert weights.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(weights[key], array, err_msg=key)


@pytest.mark.parametrize("module", [OfAUser, WithNames])
@pytest.mark.parametrize("form", ["msgpack", "safetensors"])
def test_a_module_of_a_user_gives_the_same_numbers(form, module, tmp_path):
    run = run_of("lstm", WORDS, bidirectional=True, embedding=3)
    x, path = inputs_of(run), tmp_path / f"params.{form}"
    lengths = np.maximum(LENGTHS, 1)  # nn.RNN of Flax needs a step in each row
    with jax.numpy_rank_promotion("allow"):
        logits, variables = module().init_with_output(jax.random.key(0), x, lengths)
    if form == "safetensors":
        numpy = pytest.importorskip("safetensors.numpy")
        named = flatten_dict(jax.tree.map(np.asarray, variables["params"]), sep=".")
        numpy.save_file(named, path)
    else:
        saved(path, jax.tree.map(np.asarray, variables))
    weights = import_weights(path, run.spec)
    run = type(run)(run.spec, unflatten_dict(weights, sep="/"), {})
    assert_equal_outputs(reference(run, x, lengths)[0], logits)


@pytest.mark.parametrize(
    ("model", "mapping", "message"),
    [
        ({"hidden": 6}, {}, r"layer_0/ii/kernel has the shape \[2, 5\], expected \[2, 6\]"),
        ({"layers": 2}, {}, r"layers is 1 \(layer_0\), expected 2 because of model.layers"),
        ({}, {"head": "heads"}, "--map=head: got 'heads'; did you mean 'head'"),
        ({}, {"head": "layer_0"}, r"has no layer_0/kernel \[5, 1\] for head"),
        (
            {"cell": "gru"},
            {"lstm/layer_0": "layer_0"},
            r"an LSTM \(4 gates\), and the config has a GRU \(3 gates\)",
        ),
        ({"hidden": 6}, {}, r"axes are \[inputs, hidden\]: --config.model.hidden=5 fits"),
        ({"cell": "janet"}, {}, "no cell with the equations of janet"),
    ],
)
def test_weights_that_do_not_fit_are_refused(model, mapping, message, tmp_path):
    path = saved(tmp_path / "params.msgpack", linen_params(portable_model(run_of("lstm"))))
    with pytest.raises(UserError, match=message):
        import_weights(path, run_of(**{"cell": "lstm", **model}).spec, mapping)


def test_a_head_of_its_own_is_no_tied_head(tmp_path):
    task, settings = MODELS["tied"]
    run = run_of("gru", task, **settings)
    params = linen_params(portable_model(run))
    head = {"kernel": params["embed"]["embedding"].T, "bias": params.pop("bias")}
    path = saved(tmp_path / "params.msgpack", params | {"head": head})
    np.testing.assert_array_equal(import_weights(path, run.spec)["bias"], head["bias"])
    saved(path, params)  # without a bias, as `Embed.attend` is
    assert not import_weights(path, run.spec)["bias"].any()
    assert "bias" not in import_weights(path, run.spec, {"head": ""})
    saved(path, params | {"head": {**head, "kernel": head["kernel"] + 1}})
    with pytest.raises(UserError, match=r"differs from its embedding.* model.tied is true"):
        import_weights(path, run.spec)


@pytest.mark.parametrize("name", ["params.msgpack", "params.safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", b"\x81\xa1a\xc7\x05\x01abcde"])
def test_another_file_is_refused_in_one_line(content, name, tmp_path):
    pytest.importorskip("safetensors")
    (tmp_path / name).write_bytes(content)
    message = "cannot be read, expected parameters of Flax|is damaged, or no safetensors file"
    with pytest.raises(UserError, match=message) as error:
        import_weights(tmp_path / name, run_of("lstm").spec)
    assert "\n" not in str(error.value)


def test_of_several_modules_one_must_be_named(tmp_path):
    run = run_of("lstm")
    params = linen_params(portable_model(run))
    other = {name: array + 1 for name, array in params["head"].items()}
    path = saved(tmp_path / "params.msgpack", params | {"Dense_0": other})
    message = "has Dense_0, head for head; --map=head=head chooses one, --map=head= leaves"
    with pytest.raises(UserError, match=message):
        import_weights(path, run.spec)
    with pytest.raises(
        UserError, match=r"no place for Dense_0/bias \[1\], Dense_0/kernel \[5, 1\]"
    ):
        import_weights(path, run.spec, {"head": "head"})
    for mapping in ({"head": "head", "ignore": "Dense_0"}, {"ignore": "Dense_*"}):
        read = import_weights(path, run.spec, mapping)
        np.testing.assert_array_equal(read["head/kernel"], params["head"]["kernel"])
    left_out = {"head": "", "ignore": "head:Dense_0"}
    assert "head/kernel" not in import_weights(path, run.spec, left_out)


@pytest.mark.parametrize("form", ["msgpack", "safetensors"])
@pytest.mark.parametrize("name", ["step", "opt_state"])
def test_a_parameter_named_like_a_part_of_a_train_state_is_not_left_out(name, form, tmp_path):
    run, path = run_of("lstm"), tmp_path / f"params.{form}"
    params = linen_params(portable_model(run))
    weights = np.zeros(2, np.float32)
    own = {name: weights if name == "step" else {"w": weights}}
    # The train state has both names beside `params`, too; these are never read.
    state = {"params": params | own, "opt_state": {"mu": weights}, "step": weights}
    if form == "safetensors":
        numpy = pytest.importorskip("safetensors.numpy")
        numpy.save_file(flatten_dict(jax.tree.map(np.asarray, state), sep="."), path)
    else:
        saved(path, state)
    with pytest.raises(UserError, match=rf"no place for {name}(/w)? \[2\]; --map=ignore={name} l"):
        import_weights(path, run.spec)
    read = import_weights(path, run.spec, {"ignore": name})
    assert read.keys() == flatten_dict(run.params, sep="/").keys()


def test_only_the_head_of_another_cell_can_be_read(tmp_path):
    path = saved(tmp_path / "params.msgpack", linen_params(portable_model(run_of("lstm"))))
    read = import_weights(path, run_of("gru").spec, {"lstm": "", "ignore": "layer_0"})
    assert set(read) == {"head/kernel", "head/bias"}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["lstm.weight_ih_l0"], "no recurrent layer, expected .*PyTorch: --from=torch"),
        (["lstm/layer_0/wx"], "names are ours and need no import: --config.model.init_from="),
        (["other.thing"], r"it has other/thing \[8, 2\]; --map=lstm/layer_0=NAME says where"),
    ],
)
def test_a_file_of_which_nothing_is_read_is_an_error(names, message, tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "model.safetensors"
    numpy.save_file({name: np.ones((8, 2), np.float32) for name in names}, path)
    with pytest.raises(UserError, match=message):
        import_weights(path, run_of("lstm").spec)


def test_our_own_file_is_no_head_of_flax(tmp_path):
    run, path = run_of("lstm"), tmp_path / "model.safetensors"
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file(flatten_dict(jax.tree.map(np.asarray, run.params), sep="/"), path)
    with pytest.raises(UserError, match="has no recurrent layer, .* the names are ours"):
        import_weights(path, run.spec)


def test_forward_comes_before_backward_in_each_layer():
    modules = ["backward_10", "backward_2", "forward_10", "forward_2"]
    assert sorted(modules, key=_forward_first) == [
        *("forward_2", "backward_2", "forward_10", "backward_10")
    ]

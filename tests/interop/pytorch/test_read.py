"""Weights of PyTorch find their places in our models, or the message says what is in the way."""

import json

import jax
import numpy as np
import pytest

from lstm_lab.interop.portable import portable_model
from lstm_lab.interop.pytorch import import_weights
from lstm_lab.interop.pytorch.module import state_dict
from lstm_lab.utils.errors import UserError
from tests.helpers.pages import blocks_of
from tests.helpers.paths import ROOT
from tests.helpers.torch_runs import make_run

numpy_files = pytest.importorskip("safetensors.numpy")


def tensors_of(run):
    tensors = state_dict(portable_model(run))
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def read(run, tensors, folder, **mapping):
    """Writes tensors to a file and imports it for a run; `__` stands for a slash in `mapping`."""
    numpy_files.save_file(tensors, folder / "model.safetensors")
    mapping = {name.replace("__", "/"): theirs for name, theirs in mapping.items()}
    return import_weights(folder / "model.safetensors", run.spec, mapping)


def renamed(tensors, **names):
    """Returns tensors with the beginnings of their names replaced."""
    for old, new in names.items():
        tensors = {
            new + name.removeprefix(old) if name.startswith(old) else name: tensor
            for name, tensor in tensors.items()
        }
    return tensors


def assert_same_bits(weights, run):
    leaves = jax.tree_util.tree_leaves_with_path(run.params)
    ours = {"/".join(part.key for part in path): np.asarray(leaf) for path, leaf in leaves}
    assert weights.keys() == ours.keys()
    for name, array in ours.items():
        assert weights[name].tobytes() == array.tobytes(), name
        assert weights[name].shape == array.shape, name


MODELS = [
    {},
    {"bidirectional": True, "embedding": 3},
    {"cell": "gru", "layers": 3},
    {"cell": "rnn", "bidirectional": True},
    {"cell": "weightdrop", "embedding": 3},
    {"embedding": 4, "tied": True},
    {"residual": True, "layers": 12},
    {"hidden_sizes": (4, 3), "bidirectional": True, "cell": "gru"},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_round_trip_returns_the_same_bits(model, tmp_path):
    run = make_run(**model)
    assert_same_bits(read(run, tensors_of(run), tmp_path), run)


@pytest.mark.parametrize(
    "names",
    [
        {"embedding": "encoder", "head": "decoder", "lstm": "rnn"},
        {"embedding": "model.emb", "head": "model.fc", "lstm": "model.encoder.rnn"},
        {"embedding": "wte", "head": "classifier", "lstm.": ""},
        {"embedding": "a", "head": "b", "lstm": "c"},  # found by their shapes
    ],
    ids=str,
)
def test_prefixes_and_usual_names_are_found(names, tmp_path):
    run = make_run(embedding=3)
    assert_same_bits(read(run, renamed(tensors_of(run), **names), tmp_path), run)


def test_several_stacks_need_a_choice(tmp_path):
    run = make_run()
    tensors = tensors_of(run)
    both = renamed(tensors, lstm="first") | {
        f"second.{name.removeprefix('lstm.')}": array * 2
        for name, array in tensors.items()
        if name.startswith("lstm")
    }
    with pytest.raises(UserError, match=r"several modules \(first, second\); --map=lstm=first"):
        read(run, both, tmp_path)
    weights = read(run, both, tmp_path, lstm="first", ignore="second.*")
    assert_same_bits(weights, run)
    with pytest.raises(UserError, match=r"--map=lstm: got 'firstt'; did you mean 'first'"):
        read(run, both, tmp_path, lstm="firstt")
    with pytest.raises(UserError, match="model has no place for second"):
        read(run, both, tmp_path, lstm="first")


def test_single_layers_can_be_chosen_one_by_one(tmp_path):
    run = make_run()
    tensors = {
        name.replace("lstm.", f"part_{'ab'[int(name[-1])]}.").replace("_l1", "_l0")
        if name.startswith("lstm")
        else name: array
        for name, array in tensors_of(run).items()
    }
    mapping = {"lstm__layer_0": "part_a.l0", "lstm__layer_1": "part_b.l0"}
    assert_same_bits(read(run, tensors, tmp_path, **mapping), run)
    with pytest.raises(UserError, match=r"--map=lstm/layer_1: got 'part_c.l0'; did you mean"):
        read(run, tensors, tmp_path, lstm__layer_0="part_a.l0", lstm__layer_1="part_c.l0")


def test_ambiguous_heads_need_a_choice(tmp_path):
    run = make_run()
    tensors = tensors_of(run)
    tensors |= {"fc.weight": tensors["head.weight"] + 1, "fc.bias": tensors["head.bias"] + 1}
    with pytest.raises(
        UserError, match=r"fc\.weight \[5, 4\], head\.weight \[5, 4\]; --map=head=head c"
    ):
        read(run, tensors, tmp_path)
    weights = read(run, tensors, tmp_path, head="head", ignore="fc.*")
    assert_same_bits(weights, run)


def test_missing_biases_are_zeros(tmp_path):
    run = make_run()
    tensors = {name: array for name, array in tensors_of(run).items() if "bias" not in name}
    weights = read(run, tensors, tmp_path)
    assert not weights["lstm/layer_1/b"].any()
    assert not weights["head/bias"].any()


def test_tied_weights_may_be_stored_twice_if_they_are_equal(tmp_path):
    run = make_run(embedding=4, tied=True)
    tensors = tensors_of(run)
    twice = renamed(tensors, head_bias="decoder.bias")
    twice |= {"decoder.weight": tensors["embedding.weight"]}
    assert_same_bits(read(run, twice, tmp_path), run)
    twice |= {"decoder.weight": tensors["embedding.weight"] + 1}
    with pytest.raises(UserError, match=r"decoder\.weight differs from the embedding"):
        read(run, twice, tmp_path)


@pytest.mark.parametrize(
    ("theirs", "message"),
    [
        (
            {"hidden": 5},
            r"lstm\.weight_ih_l0 has the shape \[20, 5\], expected \[16, 5\] for .*/wx",
        ),
        ({"cell": "gru"}, r"belongs to a GRU \(3 gates\), and the config has an LSTM \(4 gates\)"),
        ({"hidden": 5}, r"the axes are \[4 x hidden, inputs\]: --config\.model\.hidden=5 fits"),
        ({"layers": 3}, r"layers is 3 \(lstm\.l0, .*\), expected 2 because of model\.layers"),
        (
            {"bidirectional": True},
            r"lstm\.weight_ih_l1 has the shape \[16, 8\], expected \[16, 4\]",
        ),
        ({"layers": 1}, r"layers is 1 \(lstm\.l0\), expected 2"),
        ({"cell": "vanilla"}, "no recurrent layer, expected names of PyTorch such as"),
        ({"embedding": 5}, r"no place for embedding\.weight \[5, 5\]"),
    ],
    ids=str,
)
def test_another_model_is_refused_by_tensor_and_shapes(theirs, message, tmp_path):
    with pytest.raises(UserError, match=message) as error:
        read(make_run(), tensors_of(make_run(**theirs)), tmp_path)
    assert "\n" not in str(error.value)


def test_another_vocabulary_is_refused(tmp_path):
    run = make_run(embedding=3)
    tensors = tensors_of(run) | {"embedding.weight": np.zeros((9, 3), np.float32)}
    message = r"embedding\.weight has the shape \[9, 3\], expected \[5, 3\] for embed/embedding"
    with pytest.raises(UserError, match=message):
        read(run, tensors, tmp_path)


def test_a_cell_that_pytorch_lacks_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="PyTorch has no cell with the equations of vanilla"):
        read(make_run(cell="vanilla"), tensors_of(make_run()), tmp_path)


def test_an_unknown_name_of_ours_is_refused(tmp_path):
    run = make_run()
    with pytest.raises(UserError, match="--map: got 'haed'; did you mean 'head'"):
        read(run, tensors_of(run), tmp_path, haed="fc")


def test_parts_can_be_left_out(tmp_path):
    run, other = make_run(embedding=3), tensors_of(make_run(embedding=7))
    tensors = {name: a for name, a in tensors_of(run).items() if "head" not in name}
    tensors |= {"embedding.weight": other["embedding.weight"]}
    with pytest.raises(UserError, match="--map=head=MODULE chooses one, --map=head= leaves the"):
        read(run, tensors, tmp_path, embed="", ignore="embedding.*")
    weights = read(run, tensors, tmp_path, embed="", head="", ignore="none:embedding.*")
    assert {name.split("/")[0] for name in weights} == {"lstm"}
    weights = read(run, tensors_of(run), tmp_path, lstm="", ignore="lstm.*")
    assert set(weights) == {"embed/embedding", "head/kernel", "head/bias"}


def test_the_top_level_can_be_chosen(tmp_path):
    run = make_run()
    tensors = renamed(tensors_of(run), **{"lstm.": ""})
    tensors |= {f"other.{name}": array for name, array in tensors.items() if "_l" in name}
    weights = read(run, tensors, tmp_path, lstm=".", ignore="other.*")
    assert_same_bits(weights, run)


def test_the_head_of_tied_weights_can_be_named(tmp_path):
    run = make_run(embedding=4, tied=True)
    tensors = renamed(tensors_of(run), head_bias="last.bias")
    tensors |= {"last.weight": tensors["embedding.weight"]}
    assert_same_bits(read(run, tensors, tmp_path, head="last", embed="embedding"), run)


def test_a_matrix_of_another_shape_is_no_head_of_tied_weights(tmp_path):
    run = make_run(embedding=4, tied=True)
    others = {"fc1.weight": np.ones((9, 4), np.float32), "fc1.bias": np.ones(9, np.float32)}
    tensors = tensors_of(run) | others
    message = r"no place for fc1\.bias \[9\], fc1\.weight \[9, 4\]; --map=ignore=fc1 leaves"
    with pytest.raises(UserError, match=message):
        read(run, tensors, tmp_path)
    assert_same_bits(read(run, tensors, tmp_path, ignore="fc1"), run)
    with pytest.raises(UserError, match=r"fc1\.weight has the shape \[9, 4\], expected \[5, 4\]"):
        read(run, tensors, tmp_path, head="fc1")


def test_another_width_of_a_projection_is_not_taken_for_hidden_units(tmp_path):
    cell = tmp_path / "mine.py"
    cell.write_text("from lstm_lab.cells import CellSpec\n\nnarrow = CellSpec(projection=0.5)\n")
    run = make_run(cell=f"{cell}:narrow", layers=1)
    tensors = tensors_of(run) | {"lstm.weight_hh_l0": np.zeros((16, 3), np.float32)}
    message = (
        r"weight_hh_l0 has the shape \[16, 3\], expected \[16, 2\] for lstm/layer_0/wh; the axes "
        r"are \[4 x hidden, projected h\]$"
    )
    with pytest.raises(UserError, match=message):
        read(run, tensors, tmp_path)


def test_our_own_file_needs_no_import(tmp_path):
    run = make_run()
    with pytest.raises(UserError, match=r"names are ours and need no import: --config\.model\.in"):
        read(run, {"lstm/layer_0/wx": np.zeros((2, 4, 4), np.float32)}, tmp_path)


def test_the_lines_of_the_page_bring_symbols_into_our_order(tmp_path, monkeypatch):
    text = (ROOT / "docs/how_to/pytorch.md").read_text()
    (lines,) = [block for _, block in blocks_of(text) if "my_symbols" in block]
    monkeypatch.chdir(tmp_path)
    ours, theirs = ["<unk>", "a", "b", "c", "d"], ["d", "b", "a", "c"]
    (tmp_path / "preprocessing.json").write_text(json.dumps({"inputs": ours}))
    run = make_run(embedding=3)
    rows = {"embedding.weight": 3, "head.weight": 4, "head.bias": 0}
    tensors = tensors_of(run)
    for name, width in rows.items():
        tensors[name] = np.arange(4.0 * max(width, 1), dtype=np.float32).reshape(4, -1)
    tensors["head.bias"] = tensors["head.bias"][:, 0]
    own = dict(tensors)
    with pytest.raises(UserError, match=r"\[4, 3\], expected \[5, 3\] .* the file has 4 symbols"):
        read(run, tensors, tmp_path)
    exec(lines, {"my_symbols": theirs, "tensors": tensors})
    weights = read(run, tensors, tmp_path)
    for number, symbol in enumerate(theirs):
        place = ours.index(symbol)
        row = own["embedding.weight"][number]
        np.testing.assert_array_equal(weights["embed/embedding"][place], row)
        np.testing.assert_array_equal(weights["head/kernel"][:, place], own["head.weight"][number])
        assert weights["head/bias"][place] == own["head.bias"][number]

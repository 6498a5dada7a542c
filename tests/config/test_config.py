"""From configs to specs: strict types, JSON, ids, a user's own cells."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_lab.cells import CATALOGUE, get_variant
from lstm_lab.config.ids import canonical, group_id, program_key, run_id
from lstm_lab.config.load import load_spec
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import from_json, to_json
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.build import backends_for_training, build_model
from lstm_lab.studies.load import load_study
from lstm_lab.utils.errors import UserError
from tests.helpers.settings import CELL, config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"hiden": 3}}, "model.hiden: got 'hiden'.*did you mean 'hidden'"),
        ({"optim": {"learning_rate": 3}}, "got 'learning_rate'; did you mean 'optim.lr'"),
        ({"modle": {"hidden": 3}}, "modle: got 'modle'.*did you mean 'model'"),
        ({"modle": {}, "train": {"steps": None}}, "modle: got 'modle'.*did you mean 'model'"),
        ({"compute": {"gate": True}, "train": {"steps": None}}, "did you mean 'gates'"),
        ({"model": {"hidden": "big"}}, "model.hidden: got 'big', expected a whole number"),
        ({"model": {"hidden": 3.5}}, "model.hidden: got 3.5, expected a whole number"),
        ({"model": {"hidden": True}}, "model.hidden: got True"),
        ({"model": {"hidden": 0}}, "model.hidden: got 0, expected 1 or more"),
        ({"model": {"hidden_sizes": [4, "x"]}}, r"model.hidden_sizes\[1\]: got 'x'"),
        ({"model": {"hidden_sizes": 4}}, "model.hidden_sizes: got 4, expected a tuple"),
        ({"model": {"cell": "peepole"}}, "model.cell: .*'peepole'.*did you mean 'peephole'"),
        ({"model": {"cell": "nfg", "forget_bias": 1.0}}, "model.forget_bias: .*1.0"),
        ({"model": {"cell": "rnn", "forget_bias": 1.0}}, "model.forget_bias: rnn has no such"),
        ({"model": {"init": "norml(1)"}}, "model.init: .*'norml"),
        (
            {"model": {"dtype": "float16"}},
            "model.dtype: got 'float16'; did you mean 'bfloat16'. expected one of float32",
        ),
        ({"model": {"embedding": 8}}, "model.embedding: the inputs of adding are not tokens"),
        (
            {"task": {"name": "parity"}, "model": {"subtract_last": True}},
            "subtract_last: needs vectors and",
        ),
        ({"model": {"bidirectional": 1}}, "model.bidirectional: got 1, expected true or false"),
        ({"task": {"name": "ading"}}, "task.name: got 'ading'.*did you mean 'adding'"),
        ({"task": {"length": 1}}, "task.length: .*2 or more"),
        ({"optim": {"lr": 0.0}}, "optim.lr: got 0.0, expected above 0"),
        ({"optim": {"name": "adm"}}, "optim.name: got 'adm'.*did you mean 'adam'"),
        ({"optim": {"name": "adam", "momentum": 0.9}}, "only sgd has them, got adam"),
        ({"optim": {"clip": -1.0}}, "optim.clip: got -1.0"),
        (
            {"optim": {"final_lr": 0.1}},
            "optim.final_lr: got 0.1, which the schedule constant does not read; "
            "set optim.schedule=linear or cosine, or optim.final_lr=0$",
        ),
        ({"optim": {"final_lr": 0.1, "schedule": "one_cycle"}}, "schedule one_cycle does not read"),
        (
            {"optim": {"decay_rate": 0.9, "schedule": "cosine"}},
            "optim.decay_rate: got 0.9, which the schedule cosine does not read; set",
        ),
        ({"model": {"merge": "sum"}}, "merge: got sum, expected model.bidirectional with it"),
        ({"optim": {"freeze": 3}}, "optim.freeze: got 3, expected a tuple of words"),
        ({"optim": 3}, "optim: got 3, expected a section"),
        ({"train": {"epochs": 3}}, "train.steps, epochs: got 10 and 3, expected exactly one"),
        ({"train": {"steps": None, "epochs": 3}}, "train.epochs: adding generates"),
        ({"train": {"metric": "accuracy"}}, "train.metric: got 'accuracy', expected one of mse"),
        ({"train": {"batch_size": 0}}, "train.batch_size: got 0"),
        ({"seed": -1}, "seed: got -1, expected 0"),
        ({"task": {"split_seed": -1}}, "task.split_seed: got -1, expected 0 to"),
        ({"compute": {"devices": 0}}, "compute.devices: got 0"),
    ],
)
def test_invalid_settings_are_named_in_one_line(sections, message):
    with pytest.raises(UserError, match=message) as caught:
        build_spec(config(**sections))
    assert "\n" not in str(caught.value)


def test_a_metric_of_the_test_split_cannot_choose_checkpoints():
    with pytest.raises(UserError, match="'piece_nll', which is measured on the test split alone"):
        build_spec({"task": {"name": "jsb"}, "train": {"steps": 1, "metric": "piece_nll"}})


def test_a_variant_that_means_something_new_gets_new_ids():
    janet, uniform, plain = (
        build_spec(config(model=model))
        for model in ({"cell": "janet"}, {"cell": "lstm", "init": "uniform"}, {"cell": "lstm"})
    )
    assert '"redefined":{"cell":2}' in canonical(janet)
    assert '"redefined":{"init":2}' in canonical(uniform)
    assert "redefined" not in canonical(plain)


@pytest.mark.parametrize(
    "model",
    [
        {"dropout": 0.1, "layers": 2},
        {"dropout_in": 0.1},
        {"dropout_out": 0.1},
        {"input_noise": 0.1},
        {"cell": "zoneout"},
        {"cell": "weightdrop", "weight_drop": 0.1},
    ],
)
def test_noise_on_generated_data_means_something_new(model):
    """Its keys were those of the examples; noise on stored data, and none, mean the same."""
    spec = build_spec(config(model=model))
    assert '"redefined":{"noise":2}' in canonical(spec)
    stored = {**config(model=model), "task": {"name": "digits"}}
    assert "redefined" not in canonical(build_spec(stored))


@pytest.mark.parametrize(
    ("model", "features"),
    [({}, 8), ({"cell": "lstmp"}, 4), ({"cell": "lstmp", "bidirectional": True}, 8)],
)
def test_a_tied_embedding_is_as_wide_as_the_output_of_the_last_layer(model, features):
    """With a projection that is not the number of units."""

    def tied(embedding):
        settings = {"hidden": 8, "tied": True, "embedding": embedding, **model}
        return build_spec({**config(model=settings), "task": {"name": "dyck"}})

    x = jnp.zeros((2, 3), jnp.int32)
    spec = tied(features).for_tracing()
    logits, _ = jax.eval_shape(build_model(spec).init_with_output, jax.random.key(0), x)
    assert logits.shape[-1] == spec.task.target.size
    message = f"model.tied: the last layer gives {features} features, the embedding has 5; set"
    with pytest.raises(UserError, match=message):
        tied(5)


def test_a_tied_head_has_an_output_for_each_symbol():
    settings = {"hidden": 8, "tied": True, "embedding": 8}
    with pytest.raises(UserError, match="model.tied: parity has 2 symbols and 1 outputs"):
        build_spec({**config(model=settings), "task": {"name": "parity"}})


def test_frozen_parts_mean_something_new():
    assert '"redefined":{"freeze":2}' in canonical(build_spec(config(optim={"freeze": ["head"]})))
    assert "redefined" not in canonical(build_spec(config(optim={"clip": 1.0})))


def test_a_rate_of_zero_means_the_same_and_shares_its_program():
    none = {"cell": "zoneout", "zoneout_c": 0.0, "zoneout_h": 0.0, "input_noise": 0.0}
    off, on = (build_spec(config(model=m)) for m in (none, {**none, "zoneout_c": 0.1}))
    assert "redefined" not in canonical(off)
    assert "redefined" in canonical(on)
    assert program_key(off) == program_key(on)


def test_an_int_is_accepted_as_a_float_and_a_list_as_a_tuple():
    spec = build_spec(config(optim={"lr": 1}, model={"hidden_sizes": [3, 4]}))
    assert (spec.optim.lr, spec.model.hidden_sizes) == (1.0, (3, 4))


@given(
    cell=st.sampled_from(sorted(CATALOGUE)),
    hidden=st.integers(1, 50),
    lr=st.floats(1e-6, 1.0),
    seed=st.integers(0, 2**32 - 1),
    data_seed=st.none() | st.integers(0, 5),
)
def test_json_reads_back_the_same_spec(cell, hidden, lr, seed, data_seed):
    spec = build_spec(
        config(
            model={"cell": cell, "hidden": hidden}, optim={"lr": lr}, seed=seed, data_seed=data_seed
        )
    )
    restored = from_json(json.loads(json.dumps(to_json(spec))))
    assert restored == spec
    assert run_id(restored) == run_id(spec)


def test_an_id_leaves_out_settings_at_their_defaults():
    """A new setting therefore does not change the ids of earlier results."""
    spec = build_spec(config())
    explicit = build_spec({**config(), "optim": {**config()["optim"], "decay_begin": 0}})
    assert canonical(explicit) == canonical(spec)
    assert "decay_begin" not in canonical(spec)
    with_value = build_spec({**config(), "optim": {**config()["optim"], "decay_begin": 5}})
    assert '"decay_begin":5' in canonical(with_value)


def test_run_group_and_program_ids_depend_on_their_settings():
    spec = build_spec(config())
    other_seed, other_lr = replace(spec, seed=1), replace(spec, optim=replace(spec.optim, lr=0.2))
    other_compute = replace(spec, compute=replace(spec.compute, devices=2, log_every=5))
    assert run_id(other_compute) == run_id(spec)
    assert run_id(other_seed) != run_id(spec)
    assert group_id(other_seed) == group_id(spec) != group_id(other_lr)
    assert program_key(other_seed) == program_key(other_lr) == program_key(spec)
    assert run_id(replace(spec, data_seed=0)) == run_id(spec)
    assert run_id(replace(spec, data_seed=1)) != run_id(spec)
    wider = replace(spec, model=replace(spec.model, hidden=5))
    assert program_key(wider) != program_key(spec)
    assert "schema" in canonical(spec)


def test_a_users_cell_is_identified_by_its_source(tmp_path, monkeypatch):
    path = tmp_path / "cells.py"
    path.write_text(CELL)
    spec = build_spec(config(model={"cell": f"{path}:mine"}))
    assert resolve_cell(spec.model).cell is not get_variant("np").spec.cell
    assert str(tmp_path) not in canonical(spec)
    moved = tmp_path / "elsewhere.py"
    moved.write_text(CELL)
    assert run_id(build_spec(config(model={"cell": f"{moved}:mine"}))) == run_id(spec)
    saved = to_json(spec)
    assert from_json(saved) == spec
    path.write_text(CELL + "\n# changed\n")
    assert run_id(build_spec(config(model={"cell": f"{path}:mine"}))) != run_id(spec)
    with pytest.raises(UserError, match="has changed since that run"):
        from_json(saved)
    for name, message in (
        (f"{path}:mime", "did you mean 'mine'"),
        (f"{path}:cell", "cells.py:cell', expected .*cells.py:mine$"),
        (str(path), "expected .*cells.py:NAME$"),
        (f"{tmp_path}/none.py:mine", "does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            build_spec(config(model={"cell": name}))
    path.write_text("import nothing_of_that_name")
    with pytest.raises(UserError, match=r"cells.py line 1: ModuleNotFoundError"):
        build_spec(config(model={"cell": f"{path}:mine"}))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"model": {"dtype": "bfloat16"}, "compute": {"backend": "native"}},
            "dtype: got bfloat16, native supports float32",
        ),
        ({"compute": {"backend": "associative"}}, "cell: associative"),
        ({"compute": {"backend": "cudnn"}}, "platform: .*cpu"),
    ],
)
def test_a_backend_that_does_not_support_a_run_is_rejected(sections, message):
    with pytest.raises(UserError, match=f"compute.backend: .*{message}"):
        backends_for_training(build_spec(config(**sections)), 32)
    named = {**sections, "compute": {"backend": "fused"}}
    assert backends_for_training(build_spec(config(**named)), 32) == ["fused"]


def test_a_schedule_in_epochs_needs_a_length_in_epochs():
    optim = {**config()["optim"], "schedule": "exponential", "decay_unit": "epoch"}
    with pytest.raises(UserError, match="optim.decay_unit: got epoch, which needs train.epochs"):
        build_spec({**config(), "optim": optim})


def test_both_lengths_of_training_together_are_an_error_with_a_next_step():
    message = "train.steps, epochs: got 2 and 3, expected exactly one of them; set the other one"
    both = {"task": {"name": "digits"}, "train": {"steps": 2, "epochs": 3}}
    with pytest.raises(UserError, match=message):
        load_spec(both)
    with pytest.raises(UserError, match=message):
        load_spec({"task": {"name": "digits"}}, {"train.steps": 2, "train.epochs": 3})
    with pytest.raises(UserError, match="got None and None, .*; set one of them"):
        load_spec({"task": {"name": "digits"}})


def test_the_folder_of_a_study_is_not_its_file(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(UserError, match="is the folder of a study; expected its name or file"):
        load_study(str(tmp_path))


def test_the_folder_of_a_run_is_no_config_and_its_run_json_is(tmp_path, monkeypatch):
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    for name in ("first", str(folder)):
        with pytest.raises(UserError, match=r"is the folder of a run; did you mean .*run.json\?$"):
            load_spec(name)
    # A config of this name comes first.
    folder.rename(tmp_path / "adding")
    assert load_spec("adding").task.name == "adding"

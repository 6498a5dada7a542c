"""Settings of the command line: types, errors, what they replace."""

import pytest

from lstm_lab.config.load import load_spec
from lstm_lab.config.overrides import parse_overrides, take_overrides
from lstm_lab.utils.errors import UserError
from tests.helpers.settings import config


def test_overrides_are_parsed_by_the_types_of_the_spec():
    argv = [
        "--workdir=x",
        "--config.model.hidden=7",
        "--config.model.hidden_sizes=(3,4)",
        "--seeds=2",
    ]
    argv += [
        "--config.optim.clip=none",
        "--config.model.bidirectional",
        "--config.task.length",
        "12",
    ]
    argv += ["--config.optim.lr=1e-2", "--config.model.residual=false", "--config.seed=5"]
    rest, overrides = take_overrides(argv)
    assert rest == ["--workdir=x", "--seeds=2"]
    settings = config(model={"hidden_sizes": None})
    spec = load_spec(settings, parse_overrides(settings, {**overrides, "model.layers": "2"}))
    assert (spec.model.hidden, spec.model.hidden_sizes, spec.optim.clip) == (7, (3, 4), None)
    assert (spec.model.bidirectional, spec.task.length, spec.optim.lr) == (True, 12, 0.01)
    assert spec.seed == 5


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("model.hidden", "big", "model.hidden: got 'big', expected a whole number"),
        ("model.hiden", "3", "did you mean 'hidden'"),
        ("mdel.hidden", "3", "did you mean 'model'"),
        ("model.hidden", None, "model.hidden: got no value"),
        ("model.bidirectional", "maybe", "expected true or false"),
        ("model.hidden_sizes", "3,x", r"hidden_sizes\[1\]: got 'x'"),
        ("optim.schedule", "cosin", "did you mean 'cosine'"),
        ("task.lenth", "3", "did you mean 'length'"),
        ("sead", "3", "did you mean 'seed'"),
        ("optim.learning_rate", "3", "did you mean 'optim.lr'"),
        ("model.hidden_size", "3", "did you mean 'model.hidden'"),
        ("train.lr", "3", "did you mean 'optim.lr'"),
        ("lr", "3", "did you mean 'optim.lr'"),
    ],
)
def test_wrong_overrides_are_named_in_the_error(path, text, message):
    with pytest.raises(UserError, match=message):
        load_spec(config(), parse_overrides(config(), {path: text}))


def test_an_override_can_choose_another_task():
    values = {"task.name": "copy_memory", "task.delay": "5"}
    settings = config(task={})
    settings["task"].pop("length")
    assert load_spec(settings, parse_overrides(settings, values)).task.delay == 5


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("8,4", (8, 4)),
        ("[8, 4]", (8, 4)),
        ("(8,4,)", (8, 4)),
        ("()", ()),
        ("none", None),
    ],
)
def test_lists_of_numbers_may_have_brackets(text, items):
    assert parse_overrides(config(), {"model.hidden_sizes": text}) == {"model.hidden_sizes": items}


@pytest.mark.parametrize(("own", "other"), [("epochs", "steps"), ("steps", "epochs")])
def test_a_length_of_training_replaces_that_of_the_config_in_the_other_unit(own, other):
    base = {"task": {"name": "digits"}, "train": {own: 3}}
    assert load_spec(base, {f"train.{other}": 2}).train.steps == (2 if other == "steps" else None)
    assert load_spec(base, {f"train.{other}": 2}).train.epochs == (2 if other == "epochs" else None)
    # Also without training steps: 0 is a number.
    assert load_spec(base, {"train.steps": 0}).train.steps == 0
    # No number replaces nothing.
    assert getattr(load_spec(base, {f"train.{other}": None}).train, own) == 3
    assert base["train"] == {own: 3}

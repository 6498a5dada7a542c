"""What speaks against a model: each sentence appears if its condition holds, and only then."""

from dataclasses import replace

import pytest

from lstm_lab.cards.facts import SeedGroup, read_facts
from lstm_lab.cards.limits import limits

GROUP = SeedGroup(
    study="five",
    seeds=(0, 1, 2),
    planned=3,
    scores={"mse": [0.1, 0.2, 0.3]},
    stage="final",
    trials=0,
    tuned=(),
    best=False,
    folds=None,
)


@pytest.fixture
def facts(run):
    """A run that is better than its baselines, and best before its end."""
    facts = read_facts(run)
    record = replace(
        facts.record,
        test={"mse": 0.1, "mae": 0.2},
        trivial={"constant": {"mse": 0.5, "mae": 0.4}},
        best_step=5,
    )
    return replace(facts, record=record, group=GROUP)


def changed(facts, **fields):
    return limits(replace(facts, record=replace(facts.record, **fields)))


def test_a_good_run_has_only_the_limit_of_its_data(facts):
    assert limits(facts) == [
        "The model was tested only on the test split of adding. Its performance on other data is "
        "unknown."
    ]


@pytest.mark.parametrize(
    ("test", "trivial", "text"),
    [
        ({"mse": 0.6}, {"mse": 0.5}, "mse 0.6 (constant: 0.5)"),
        # As good as the baseline, to the digits of the table.
        ({"mse": 0.5}, {"mse": 0.50001}, "mse 0.5 (constant: 0.5)"),
        ({"mse": 0.5}, {"mse": 0.5001}, None),
        ({"accuracy": 0.4}, {"accuracy": 0.5}, "accuracy 0.4 (constant: 0.5)"),
        ({"accuracy": 0.6}, {"accuracy": 0.5}, None),
        ({"mse": 0.4}, {"mse": 0.5}, None),
        # Whether more is better is not known of a metric of the user's task.
        ({"own": 0.4}, {"own": 0.5}, None),
        ({"mse": float("nan")}, {"mse": 0.5}, None),
    ],
)
def test_a_baseline_that_is_not_beaten_is_named(facts, test, trivial, text):
    sentences = changed(facts, test=test, trivial={"constant": trivial})
    behind = [sentence for sentence in sentences if "not better than a trivial" in sentence]
    assert len(behind) == (text is not None)
    assert text is None or text in behind[0]


def test_a_metric_without_a_value_is_named(facts):
    sentences = changed(facts, test={"mse": 0.1, "auc": float("nan")})
    assert "The test split gives no value of auc." in sentences


def test_one_seed_says_that_the_spread_is_unknown(facts):
    sentences = limits(replace(facts, group=None))
    assert any(sentence.startswith("One seed was trained") for sentence in sentences)


def test_a_choice_among_seeds_and_settings_is_named(facts):
    group = replace(GROUP, best=True, planned=5, trials=40, tuned=("optim.lr",))
    text = " ".join(limits(replace(facts, group=group)))
    assert "best validation mse of 3 seeds" in text
    assert "2 of 5 seeds did not complete" in text
    assert "optim.lr were chosen by the validation mse of 40 tuning runs" in text
    text = " ".join(limits(replace(facts, group=replace(group, stage="tuning"))))
    assert "one of 40 tuning runs, which differ in optim.lr" in text


def test_the_last_evaluation_may_not_be_the_end(facts):
    last = facts.record.steps
    assert any("longer training" in text for text in changed(facts, best_step=last))


def test_a_run_that_did_not_complete_says_why(facts):
    sentences = changed(facts, status="diverged", reason="the loss is not finite at step 9")
    assert any("diverged: the loss is not finite at step 9" in text for text in sentences)


def test_rollbacks_are_counted(facts):
    head = {**facts.head, "rollbacks": [{"rows": 1}]}
    assert any("1 time," in text for text in limits(replace(facts, head=head)))


def test_what_the_reader_noted_is_repeated(facts):
    data = replace(facts.data, source={"notes": ["3 % of the words are unknown"]})
    assert "3 % of the words are unknown." in limits(replace(facts, data=data))


def test_a_model_of_two_directions_needs_the_end(facts):
    settings = {**facts.record.settings, "model.bidirectional": True}
    assert any("both directions" in text for text in changed(facts, settings=settings))

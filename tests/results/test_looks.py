"""Which seeds are due, as a function of study.json; what a damaged record of looks says."""

import doctest

import pytest

from lstm_lab.results import looks
from lstm_lab.results.looks import due_seeds, look_sizes, open_variants
from lstm_lab.results.plan_schema import damage
from lstm_lab.results.study_file import count_expected_runs


def plan(*judged, seeds=12):
    """Returns a plan whose looks have these verdicts, by variant."""
    study = {
        "name": "s",
        "title": "s",
        "variants": {"lstm": {}, "gru": {}, "rnn": {}},
        "seeds": list(range(seeds)),
        "baseline": "lstm",
        "metric": "mse",
        "direction": "min",
        "tuning": None,
        "sequential": {"first": 4, "step": 3, "alpha": 0.05, "rope": 0.0},
    }
    recorded = [
        {
            "seeds": size,
            "limit": 0.01,
            "variants": {
                name: {"p": 0.5, "equal": None, "verdict": v} for name, v in of_look.items()
            },
        }
        for size, of_look in zip(look_sizes(study), judged, strict=False)
    ]
    return {"study": study, "runs": {}, "cohorts": {}, "chosen": {}, "looks": recorded}


OPEN = "undecided"


def test_the_baseline_gets_seeds_while_a_variant_is_open():
    for judged, due, opened in (
        ([], {"lstm": 4, "gru": 4, "rnn": 4}, ["gru", "rnn"]),
        ([{"gru": OPEN, "rnn": "worse"}], {"lstm": 7, "gru": 7, "rnn": 4}, ["gru"]),
        ([{"gru": "better", "rnn": "worse"}], {"lstm": 4, "gru": 4, "rnn": 4}, []),
        (
            [{"gru": OPEN, "rnn": "worse"}, {"gru": "equivalent"}],
            {"lstm": 7, "gru": 7, "rnn": 4},
            [],
        ),
        (
            [{"gru": OPEN, "rnn": OPEN}] * 3 + [{"gru": OPEN, "rnn": "worse"}],
            {"lstm": 12, "gru": 12, "rnn": 12},
            [],
        ),
    ):
        assert damage(plan(*judged)) is None
        assert due_seeds(plan(*judged)) == due
        assert open_variants(plan(*judged)) == opened
        assert count_expected_runs(plan(*judged)) == sum(due.values())


def test_all_seeds_of_a_study_without_looks_are_due():
    without = plan()
    del without["study"]["sequential"], without["looks"]
    assert damage(without) is None
    assert due_seeds(without) == {"lstm": 12, "gru": 12, "rnn": 12}
    assert damage({**without, "looks": plan({"gru": OPEN})["looks"]}) is not None


def test_a_damaged_record_is_named():
    good = plan({"gru": OPEN, "rnn": "worse"})

    def look(**changes):
        return {**good, "looks": [{**good["looks"][0], **changes}]}

    def sequential(value):
        return {**good, "study": {**good["study"], "sequential": value}}

    judged = good["looks"][0]["variants"]["gru"]
    for broken, message in (
        ({**good, "looks": {}}, "looks: got {}"),
        (look(seeds=5), "looks.0: expected the seeds and variants of a declared look"),
        (look(variants={"lstm": judged}), "looks.0: expected the seeds and variants"),
        (look(variants={"gru": {**judged, "verdict": "equal"}}), "looks.0.variants.gru.verdict"),
        (look(limit="low"), "looks.0.limit: got 'low'"),
        (sequential(7), "study.sequential: got 7, expected an object"),
        (sequential({"first": 0}), "study.sequential.first: got 0"),
        ({**good, "study": {**good["study"], "baseline": None}}, "study.baseline: got None"),
    ):
        assert message in (damage(broken) or "")


@pytest.mark.parametrize("seeds", [5, 7, 8])
def test_the_last_look_has_all_seeds(seeds):
    assert look_sizes(plan(seeds=seeds)["study"]) == {5: [4, 5], 7: [4, 7], 8: [4, 7, 8]}[seeds]


def test_the_example_holds():
    assert doctest.testmod(looks) == (0, 1)

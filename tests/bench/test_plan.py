"""Plans: the contenders that are installed, operations, estimates, and what is missing."""

from lstm_lab.bench import plan as plans
from lstm_lab.bench.cases import Case
from lstm_lab.bench.plan import listing, make_plan, operations

SMALL, LARGE = Case("gradient", 4, 6, 5, 8), Case("gradient", 128, 100, 256, 512)


def plan_of(cases, names=("lstm_lab", "flax"), **changes):
    settings = {"memory_settings": False, "rounds": 2, "seconds": 0.5, **changes}
    return make_plan("layer", cases, list(names), **settings)


def test_operations_are_those_of_the_matrix_products():
    assert operations(Case("forward", 4, 6, 5, 8)) == 2 * 4 * 6 * 4 * 8 * (5 + 8)
    assert operations(SMALL) == 3 * operations(Case("forward", 4, 6, 5, 8))
    both = Case("forward", 4, 6, 5, 8, layers=2, bidirectional=True)
    assert operations(both) == 2 * 4 * 6 * 2 * 4 * 8 * ((5 + 8) + (16 + 8))
    language = Case("language", 4, 6, 5, 8, vocabulary=1000)
    assert operations(language) == operations(SMALL) + 6 * 4 * 6 * 8 * 1000
    assert operations(Case("population", 4, 6, 5, 8, members=3)) == 3 * operations(SMALL)


def test_estimates_grow_with_shapes_rounds_and_memory_settings():
    small, large = plan_of([SMALL]), plan_of([SMALL, LARGE])
    assert small.seconds_of(LARGE) > small.seconds_of(SMALL)
    assert large.total_seconds > small.total_seconds
    assert plan_of([SMALL], rounds=9).total_seconds > small.total_seconds
    assert plan_of([SMALL], memory_settings=True).total_seconds == 2 * small.total_seconds


def test_a_listing_shows_cases_contenders_and_the_time(monkeypatch):
    monkeypatch.setattr(plans, "missing", lambda name: name == "keras")
    plan = plan_of([SMALL, LARGE], ("lstm_lab", "keras"), memory_settings=True)
    assert (plan.names, plan.absent) == (("lstm_lab",), ("keras",))
    text = listing(plan)
    assert SMALL.label in text
    assert "contenders: lstm_lab\n" in text
    assert "not installed: keras" in text
    assert "memory settings" in text
    assert "2 cases, 2 rounds: about " in text


def test_the_missing_cases_are_those_that_are_not_done():
    plan = plan_of([SMALL, LARGE])
    assert plan.without([SMALL.to_json()]).cases == (LARGE,)
    assert plan.without([]).cases == plan.cases

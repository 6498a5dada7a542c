"""Plans: the contenders that are installed, operations, estimates, and what is missing."""

import math

from lstm_lab.bench import plan as plans
from lstm_lab.bench.cases import Case
from lstm_lab.bench.plan import GPU, Deadline, listing, make_plan, operations

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


def test_in_front_of_a_gpu_contenders_compile_at_the_same_time():
    one, two = (
        plan_of([SMALL], names, speed=GPU) for names in (["lstm_lab"], ["lstm_lab", "flax"])
    )
    assert GPU.build < two.seconds_of(SMALL) < one.seconds_of(SMALL) + GPU.build
    assert two.total_seconds == GPU.start + two.seconds_of(SMALL)
    assert "on a GPU with 16 CPU cores" in listing(two)


def test_no_case_starts_that_would_probably_end_after_the_limit(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(plans.time, "perf_counter", lambda: now)
    started = []
    deadline = Deadline(10.0)
    now = 2.0  # as much as starting the contenders took
    for case in deadline.while_time([SMALL, LARGE, SMALL, SMALL]):
        started.append(case)
        now += 3.0 if case == SMALL else 4.0
    # After 9 s, a case as long as the longest (4 s) would end after 10 s.
    assert started == [SMALL, LARGE]
    assert "2 cases are left for lack of time; --resume continues" in capsys.readouterr().err


def test_without_a_limit_all_cases_run():
    assert list(Deadline(math.inf).while_time([SMALL, LARGE])) == [SMALL, LARGE]

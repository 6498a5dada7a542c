"""The cases of the suites: what differs between platforms, labels, lengths and data."""

import numpy as np

from lstm_lab.bench.cases import SUITES, WORKS, Case, cases
from lstm_lab.bench.contenders import ALL, default_contenders
from lstm_lab.cells import CATALOGUE


def test_suites_depend_on_the_platform():
    for suite in SUITES:
        assert set(default_contenders(suite, "cpu")) | set(default_contenders(suite, "gpu")) <= set(
            ALL
        )
        assert (cases(suite) == cases(suite, "gpu")) == (suite in ("cells", "costs", "streaming"))
        assert {case.work for case in cases(suite, "gpu")} == set(WORKS[suite])
    assert Case("gradient", 16, 1024, 768, 768) in cases("layer", "gpu")
    population = {(case.members, case.H) for case in cases("population", "gpu")}
    assert population == {(M, H) for M in (16, 256) for H in (64, 256)}


def test_the_suites_have_shapes_of_all_kinds():
    gradient = [case for case in cases("layer") if case.work == "gradient"]
    assert len(gradient) == 18
    assert Case("gradient", 64, 40, 300, 512, layers=3) in gradient
    assert Case("gradient", 256, 20, 100, 128) in gradient
    assert Case("gradient", 48, 90, 200, 384, bidirectional=True, ragged=True) in gradient
    for name, low, high in (("B", 1, 256), ("T", 10, 400), ("H", 32, 1024), ("layers", 1, 3)):
        values = [getattr(case, name) for case in gradient]
        assert (min(values), max(values)) == (low, high)
    assert len(cases("population")) == 7
    assert len(cases("train")) == 6
    words = [case.vocabulary for case in cases("train") if case.work == "language"]
    assert (min(words), max(words)) == (1_000, 50_000)
    assert [case.cell for case in cases("cells")] == 2 * list(CATALOGUE)


def test_no_two_cases_of_a_suite_have_the_same_label():
    """Tables and `--resume` know a case by its work and label."""
    for suite in SUITES:
        for platform in ("cpu", "gpu"):
            names = [(case.work, case.label) for case in cases(suite, platform)]
            assert len(set(names)) == len(names)


def test_lengths_are_at_least_one_and_reach_the_last_step():
    for T in (1, 2, 3, 50):
        lengths = Case("forward", 64, T, 2, 2, ragged=True).lengths
        assert lengths.min() >= 1
        assert lengths.max() == T
    assert Case("forward", 64, 9, 2, 2).lengths is None


def test_the_data_of_models_have_the_shapes_of_their_work():
    shapes = {"language": ((3, 4), (3, 4)), "tagger": ((3, 4), (3, 4))}
    shapes["classifier"] = ((3, 4, 5), (3,))
    for work, expected in shapes.items():
        case = Case(work, 3, 4, 5, 6, vocabulary=7)
        x, y = case.data()
        assert (x.shape, y.shape) == expected
        assert y.max() < case.outputs
    x, y = Case("language", 3, 4, 5, 6, vocabulary=7).data()
    assert np.array_equal(x[:, 1:], y[:, :-1])  # the next word

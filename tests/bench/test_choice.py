"""Shapes, layers, lengths, vocabularies and cells of the user's own."""

import pytest

from lstm_lab.bench.cases import SHAPES, Case, cases
from lstm_lab.bench.choice import CaseChoice, chosen_cases, parse_shapes
from lstm_lab.utils.errors import UserError

SHAPE = (4, 6, 5, 8)


def test_shapes_are_read_from_text():
    assert parse_shapes("4x6x5x8, 1X2X3X4") == (SHAPE, (1, 2, 3, 4))


@pytest.mark.parametrize(
    "text", ["", "4x6x5", "4x6x5x0", "4x6x5x-8", "axbxcxd", "4x6x5x8,", "1_0x1x1x1"]
)
def test_a_wrong_shape_is_an_error_in_one_line(text):
    with pytest.raises(UserError, match=r"--shapes: got '.*', expected BxTxDxH") as caught:
        parse_shapes(text)
    assert "\n" not in str(caught.value)


def test_without_a_choice_the_cases_are_those_of_the_suite():
    for suite in ("layer", "train", "population", "cells", "costs", "backends"):
        assert chosen_cases(suite, "cpu", CaseChoice()) == cases(suite)


def test_shapes_replace_those_of_every_suite():
    def works(suite, **changes):
        chosen = chosen_cases(suite, "cpu", CaseChoice(shapes=(SHAPE,), **changes))
        assert all((case.B, case.T, case.D, case.H) == SHAPE for case in chosen)
        return [case.work for case in chosen]

    assert works("layer") == ["forward", "gradient"]
    assert works("layer", works=("gradient",)) == ["gradient"]
    assert works("train") == ["language", "classifier", "tagger"]
    assert works("population") == ["population"]
    assert works("costs") == ["gradient", "language"]
    assert len(works("cells")) == len(cases("cells")) / 2
    population = chosen_cases("population", "cpu", CaseChoice(shapes=(SHAPE,)))
    assert [case.members for case in population] == [16]
    gpu = chosen_cases("population", "gpu", CaseChoice(shapes=(SHAPE,)))
    assert [case.members for case in gpu] == [256, 16]


def test_changes_apply_to_the_shapes_of_the_suite_and_to_the_users():
    choice = CaseChoice(layers=3, bidirectional=True, ragged=True)
    chosen = chosen_cases("layer", "cpu", choice)
    assert {(case.layers, case.bidirectional, case.ragged) for case in chosen} == {(3, True, True)}
    # Some cases differed only in what is changed.
    assert len(SHAPES) < len(chosen) / 2 < 18
    (case,) = chosen_cases("population", "cpu", CaseChoice(shapes=(SHAPE,), members=3))
    assert case == Case("population", *SHAPE, members=3)
    chosen = chosen_cases("train", "cpu", CaseChoice(shapes=(SHAPE,), vocabulary=77))
    assert {case.vocabulary for case in chosen} == {77}


def test_cells_of_the_catalogue_and_of_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from lstm_lab.cells import CellSpec\nMINE = CellSpec(forget_bias=2.0)\n")
    own = f"{file}:MINE"
    chosen = chosen_cases("layer", "cpu", CaseChoice(shapes=(SHAPE,), cells=("gru", own)))
    assert [(case.work, case.cell) for case in chosen] == [
        ("forward", "gru"),
        ("forward", own),
        ("gradient", "gru"),
        ("gradient", own),
    ]
    chosen = chosen_cases("cells", "cpu", CaseChoice(cells=("all", own)))
    assert [case.cell for case in chosen].count(own) == 2
    assert len(chosen) == len(cases("cells")) + 2
    # Shape by shape, so that a cell stands beside those that it is compared with.
    assert chosen[len(chosen) // 2 - 1].cell == own


@pytest.mark.parametrize(
    ("suite", "choice", "message"),
    [
        (
            "layer",
            CaseChoice(works=("language",)),
            "--work: got 'language', expected one of forward",
        ),
        ("layer", CaseChoice(members=3), "--members: got 3 with --suite=layer, expected"),
        ("layer", CaseChoice(vocabulary=9), "--vocabulary: got 9 with --suite=layer, expected"),
        ("layer", CaseChoice(cells=("gruu",)), "--cell: got 'gruu'; did you mean 'gru'"),
        ("layer", CaseChoice(cells=("no.py:CELL",)), "--cell: no.py does not exist"),
    ],
)
def test_a_change_that_a_suite_lacks_is_an_error(suite, choice, message):
    with pytest.raises(UserError) as caught:
        chosen_cases(suite, "cpu", choice)
    assert message in str(caught.value)

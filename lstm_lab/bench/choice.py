"""The user's own cases: shapes, layers, directions, lengths, vocabulary and cells of a suite.

In: a suite and a `CaseChoice`, which the command line reads. Out: `Case`s. Without a choice they
are the suite's own, see `cases.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lstm_lab.bench.cases import WORKS, Case, Shape, Suite, cases
from lstm_lab.utils.errors import UserError, unknown

# What a suite cannot change: only populations have members, and only models have words.
WITH_MEMBERS: tuple[Suite, ...] = ("population", "backends")
WITH_WORDS: tuple[Suite, ...] = ("train", "costs", "streaming")
ALL_CELLS = "all"


@dataclass(frozen=True)
class CaseChoice:
    """What the user changes in the cases of a suite.

    Attributes:
      shapes: B, T, D, H of each case; none keeps those of the suite.
      works: kinds of work; none keeps those of the suite.
      cells: variants, FILE.py:NAME, or `all` for those of the suite.
      layers, members, vocabulary: as in `Case`; None keeps those of the suite.
      bidirectional, ragged: as in `Case`; False keeps those of the suite.
    """

    shapes: tuple[Shape, ...] = ()
    works: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    layers: int | None = None
    members: int | None = None
    vocabulary: int | None = None
    bidirectional: bool = False
    ragged: bool = False


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """Returns the shapes of a text such as "32x64x64x128,20x35x650x650".

    Args:
      text: shapes BxTxDxH, separated by commas.

    Raises:
      UserError: for anything else.
    """
    shapes = []
    for part in text.split(","):
        sizes = part.strip().lower().split("x")
        # `isdecimal` and not `int`, which takes "1_0" and " 1" too.
        if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise UserError(
                f"--shapes: got {part.strip()!r}, expected BxTxDxH (rows, steps, inputs, hidden "
                "units), each 1 or more, e.g. 32x64x64x128"
            )
        B, T, D, H = (int(size) for size in sizes)
        shapes.append((B, T, D, H))
    return tuple(shapes)


def chosen_cases(suite: Suite, platform: str, choice: CaseChoice) -> list[Case]:
    """Returns the cases of a suite with the user's changes.

    Args:
      suite: the suite.
      platform: "cpu" or "gpu", as JAX names it.
      choice: the changes.

    Raises:
      UserError: for a change that the suite does not have.

    Example:
      chosen_cases("layer", "cpu", CaseChoice(shapes=((32, 64, 64, 128),), layers=3))
    """
    _check(suite, choice)
    defaults = cases(suite, platform)
    if choice.shapes:
        works = [work for work in WORKS[suite] if work in {case.work for case in defaults}]
        cells = dict.fromkeys(case.cell for case in defaults)
        members = dict.fromkeys((case.work, case.members) for case in defaults)
        defaults = [
            Case(work, *shape, members=count, cell=cell)
            for work in works
            for cell in cells
            for of_work, count in members
            if of_work == work
            for shape in choice.shapes
        ]
    changes: dict[str, Any] = {
        name: value
        for name in ("layers", "members", "vocabulary")
        if (value := getattr(choice, name)) is not None
    }
    changes |= {name: True for name in ("bidirectional", "ragged") if getattr(choice, name)}
    # Changed cases may be equal: the suite has some shapes with one layer and with two.
    changed = dict.fromkeys(replace(case, **changes) for case in defaults)
    chosen = [case for case in changed if not choice.works or case.work in choice.works]
    return _with_cells(chosen, choice.cells)


def _with_cells(chosen: list[Case], cells: Sequence[str]) -> list[Case]:
    """Returns the cases with the chosen cells, each shape once for each cell."""
    if not cells:
        return chosen
    others = [cell for cell in cells if cell != ALL_CELLS]
    kept = chosen if ALL_CELLS in cells else []
    added = [replace(case, cell=cell) for cell in others for case in chosen]
    # Shape by shape, as in the suite, so that rows to compare are neighbors.
    shapes = dict.fromkeys(replace(case, cell="lstm") for case in chosen)
    by_shape = [
        case for shape in shapes for case in (*kept, *added) if replace(case, cell="lstm") == shape
    ]
    return list(dict.fromkeys(by_shape))


def _check(suite: Suite, choice: CaseChoice) -> None:
    for work in choice.works:
        if work not in WORKS[suite]:
            raise unknown("--work", work, WORKS[suite])
    for flag, value, suites in (
        ("--members", choice.members, WITH_MEMBERS),
        ("--vocabulary", choice.vocabulary, WITH_WORDS),
    ):
        if value is not None and suite not in suites:
            expected = " or ".join(f"--suite={name}" for name in suites)
            raise UserError(f"{flag}: got {value} with --suite={suite}, expected {expected}")
    for cell in choice.cells:
        if cell != ALL_CELLS:
            check_cell(cell)


def check_cell(cell: str) -> None:
    """Raises UserError for a cell that does not exist; a user's file is run.

    Args:
      cell: a name of the catalogue, or FILE.py:NAME.
    """
    # Late: it imports JAX, which the verb needs only here.
    from lstm_lab.config.sections import ModelSpec
    from lstm_lab.config.variant import resolve_cell

    try:
        resolve_cell(ModelSpec(cell=cell))
    except UserError as error:
        raise UserError(str(error).replace("model.cell: ", "--cell: ", 1)) from None


def parse_words(text: str | None) -> tuple[str, ...]:
    """Returns the words of a list with commas; none for None.

    Args:
      text: the list.
    """
    return tuple(word.strip() for word in text.split(",")) if text else ()

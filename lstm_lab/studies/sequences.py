"""Whether the fields of a study that hold several values do so.

In: the fields as the user gave them. Out: nothing, or an error where the study is declared; without
it, `seeds=3` and `axes=grid(...)` would fail in the middle of a sweep, with the words of Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from lstm_lab.studies.axes import Axis
from lstm_lab.studies.claims import AnyClaim
from lstm_lab.utils.errors import expect_several


def expect_axes_and_seeds(what: str, axes: object, seeds: object) -> None:
    """Raises UserError for anything but several axes and several seeds.

    Args:
      what: whose fields they are, for errors.
      axes, seeds: the fields.
    """
    expect_several(f"{what}: axes", axes, (Axis,), "an axis (grid, zipped or chain)")
    expect_several(f"{what}: seeds", seeds)


def expect_claims_and_groups(what: str, claims: object, groups: Mapping[str, object]) -> None:
    """Raises UserError for anything but several claims, and several variants in each group.

    Args:
      what: whose fields they are, for errors.
      claims, groups: the fields.
    """
    expect_several(
        f"{what}: claims", claims, get_args(AnyClaim), "one such as Claim(better, worse)"
    )
    for name, members in groups.items():
        expect_several(f"{what}: groups[{name}]", members)

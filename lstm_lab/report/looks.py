"""What the looks of a study have decided about each variant, for its report.

In: `StudyRuns`, whose looks `studies/sequential.py` recorded. Out: `LastLook`.
"""

from __future__ import annotations

from dataclasses import dataclass

from lstm_lab.report.runs import StudyRuns
from lstm_lab.results.looks import look_sizes


@dataclass(frozen=True)
class LastLook:
    """The last look at a comparison.

    Attributes:
      seeds: number of seeds on each side; 0 before the first look.
      p: nominal p-value of Welch's test at this look; NaN for too few scores, or before it.
      limit: of the p-value at this look; NaN before the first one.
      verdict: as the study recorded it: better, worse, equivalent, no score or undecided.
      final: whether no further look follows.
    """

    seeds: int
    p: float
    limit: float
    verdict: str
    final: bool

    @property
    def text(self) -> str:
        """The verdict for a table."""
        if self.verdict != "undecided":
            return self.verdict
        return "no difference shown" if self.final else "undecided so far"


def last_look(runs: StudyRuns, variant: str) -> LastLook | None:
    """Returns the last look at a variant; None for the baseline, and in a study without looks.

    Args:
      runs: the study.
      variant: its label.
    """
    if runs.study.get("sequential") is None or variant == runs.study["baseline"]:
        return None
    nan = float("nan")
    for look in reversed(runs.looks):
        if variant in look["variants"]:
            judged = look["variants"][variant]
            p = nan if judged["p"] is None else judged["p"]
            final = look["seeds"] == look_sizes(runs.study)[-1]
            return LastLook(look["seeds"], p, look["limit"], judged["verdict"], final)
    return LastLook(0, nan, nan, "undecided", False)

"""What a study claims before it runs, and the published values it is compared with.

A claim is planned: it names the variants, the test and the level before any result is known. The
report judges each claim as holds, fails or inconclusive; see `report/verdicts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class Claim:
    """The claim that `better` beats `worse`, by Welch's one-sided t-test.

    Attributes:
      better, worse: labels of two variants.
      alpha: the level of this claim. It is not corrected for the number of claims: a study with
        many claims should choose lower levels.

    Raises:
      UserError: for a variant that should beat itself, or a level that is out of range.

    Example:
      Claim(better="peephole", worse="nfg", alpha=0.01)
    """

    better: str
    worse: str
    alpha: float = 0.05

    kind: ClassVar[str] = "better"

    def __post_init__(self) -> None:
        _check(self, "worse", self.worse != self.better, "another variant")
        _check(self, "alpha", 0.0 < self.alpha < 1.0, "more than 0 and less than 1")


@dataclass(frozen=True)
class Equivalent:
    """The claim that two variants differ by less than a margin, by two one-sided tests (TOST).

    A test that finds no difference does not show equality. This one does.

    Attributes:
      a, b: labels of two variants.
      margin: in units of the metric that ranks the variants.
      alpha: the level.

    Raises:
      UserError: for a variant and itself, a margin of 0 or less, or a level that is out of range.

    Example:
      Equivalent("vanilla", "np", margin=0.01)
    """

    a: str
    b: str
    margin: float
    alpha: float = 0.05

    kind: ClassVar[str] = "equivalent"

    def __post_init__(self) -> None:
        _check(self, "b", self.b != self.a, "another variant")
        _check(self, "margin", self.margin > 0.0, "more than 0")
        _check(self, "alpha", 0.0 < self.alpha < 1.0, "more than 0 and less than 1")


@dataclass(frozen=True)
class Best:
    """The claim that the best score of the study equals a published one, within a tolerance.

    Attributes:
      published: the published score, in units of the metric that ranks the variants.
      tolerance: how far the best score of the study may be from it.
      source: the publication, with table or page.

    Raises:
      UserError: for a negative tolerance.

    Example:
      Best(published=8.38, tolerance=0.1, source="Greff et al. 2017, second-hand")
    """

    published: float
    tolerance: float
    source: str

    kind: ClassVar[str] = "best"

    def __post_init__(self) -> None:
        _check(self, "tolerance", self.tolerance >= 0.0, "0 or more")


@dataclass(frozen=True)
class Matters:
    """A claim on the share of the score's variance that one hyperparameter explains (fANOVA).

    Attributes:
      setting: its dotted name; a setting of the trials, with a range that has no condition.
      at_least, at_most: bounds of the share, from 0 to 1, averaged over the variants.

    Raises:
      UserError: for bounds that no share can keep.

    Example:
      Matters("optim.lr", at_least=0.5)
    """

    setting: str
    at_least: float = 0.0
    at_most: float = 1.0

    kind: ClassVar[str] = "matters"

    def __post_init__(self) -> None:
        low, high = self.at_least, self.at_most
        _check(self, "at_least", 0.0 <= low <= 1.0, "0 to 1")
        _check(self, "at_most", low <= high <= 1.0, f"{low} to 1")


@dataclass(frozen=True)
class Scores:
    """The claim that every run of a variant scores within bounds on the test split.

    Attributes:
      variant: the label of the variant.
      metric: a metric of the test split; it may differ from the one that selects checkpoints.
      at_least, at_most: the bounds; one is enough.
      source: the origin of the bound, such as a paper.

    Raises:
      UserError: without bounds, or for bounds that no score can keep.

    Example:
      Scores("lstm", "mse", at_most=0.001)
    """

    variant: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""

    kind: ClassVar[str] = "scores"

    def __post_init__(self) -> None:
        low, high = self.at_least, self.at_most
        _check(self, "at_least", low is not None or high is not None, "a bound, or at_most")
        valid = low is None or high is None or low <= high
        _check(self, "at_most", valid, f"{low} or more")


@dataclass(frozen=True)
class Reproduces:
    """The claim that the mean test score of a variant equals a published one, within a tolerance.

    The tolerance is declared before any run. A mean that is better by more than that does not hold
    either: it points to a difference in data or protocol, which has to be named.

    Attributes:
      variant: the label of the variant.
      metric: a metric of the test split; it may differ from the one that selects checkpoints.
      published: the published score, in units of this metric.
      tolerance: how far the mean over all runs like these may be from it.
      source: the publication, with table or page.
      alpha: the level of each of two one-sided tests.

    Raises:
      UserError: for a tolerance of 0 or less, or a level that is out of range.

    Example:
      Reproduces("lstm", "nll", 8.45, tolerance=0.2, source="Bai et al. 2018, Table 1")
    """

    variant: str
    metric: str
    published: float
    tolerance: float
    source: str
    alpha: float = 0.05

    kind: ClassVar[str] = "reproduces"

    def __post_init__(self) -> None:
        _check(self, "tolerance", self.tolerance > 0.0, "more than 0")
        _check(self, "alpha", 0.0 < self.alpha < 1.0, "more than 0 and less than 1")


AnyClaim = Claim | Equivalent | Best | Matters | Scores | Reproduces


def _check(claim: AnyClaim, name: str, valid: bool, expected: str) -> None:
    """Raises a UserError for a field of a claim with a value that cannot be meant."""
    if not valid:
        value = getattr(claim, name)
        raise UserError(f"{type(claim).__name__}: {name}: got {value!r}, expected {expected}")


@dataclass(frozen=True)
class Reference:
    """A published value, shown in the report next to the study's own results.

    Attributes:
      label: the name shown in the report.
      value: in units of the metric that ranks the variants.
      source: the publication, with table or page.
      variant: the variant to compare it with; None compares it with the best one.

    Example:
      Reference("Keras", 0.87, "Keras documentation", variant="lstm")
    """

    label: str
    value: float
    source: str
    variant: str | None = None

"""The declaration of a study: what is compared, over which seeds, how tuned and how judged.

A study file defines `get_study()`, which returns a `Study`. These classes hold data and check it.
`expand.py` turns them into runs, `declaration.py` into JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from lstm_lab.config.load import read_config
from lstm_lab.config.parsing import with_complete_task
from lstm_lab.studies.axes import Axis, Point, SearchRange, cross, random_points
from lstm_lab.studies.claims import AnyClaim, Reference
from lstm_lab.utils.errors import UserError

# The size that all variants share: hidden units, parameters, or FLOP per time step.
Match = Literal["hidden", "params", "flops"]


@dataclass(frozen=True)
class Trials:
    """Random search: every variant gets the same number of random points.

    Attributes:
      count: the number of points per variant. A larger number keeps the points of a smaller one.
      ranges: the distribution of each setting.
      seed: the seed of the draws.
      paired: all variants get the same points. If False, each variant gets its own.

    Example:
      Trials(50, {"optim.lr": LogUniform(1e-4, 1e-2)})
    """

    count: int
    ranges: Mapping[str, SearchRange]
    seed: int = 0
    paired: bool = True


@dataclass(frozen=True)
class Search:
    """Adaptive search with Optuna: later points depend on the results of earlier ones.

    Attributes:
      count: the number of points per variant.
      ranges: the range of each setting.
      seed: the seed of the sampler.
      generation: the number of points that are chosen together and trained in parallel; the first
        generation is random. A small generation learns more from each result. A large one fills
        more lanes.
      grace: the number of evaluations before a run can be pruned. A run is pruned if its best score
        so far is worse than the median of the earlier generations (median stopping, Golovin et al.
        2017). None never prunes.

    Raises:
      UserError: for a count, generation or grace below 1.

    Example:
      Search(40, {"optim.lr": LogUniform(1e-4, 1e-2)}, generation=8, grace=3)
    """

    count: int
    ranges: Mapping[str, SearchRange]
    seed: int = 0
    generation: int = 8
    grace: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "generation", "grace"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"search: {name}: got {value}, expected 1 or more")


@dataclass(frozen=True)
class Tuning:
    """How the variants are tuned: each gets the same budget, judged on the validation split.

    Attributes:
      axes: explicit values, crossed.
      seeds: the seeds of each point. They must differ from the study's final seeds, because a point
        chosen on a seed looks too good on that seed. None trains each random trial once, with the
        number of the trial as its seed.
      overrides: settings of the tuning runs only, such as fewer epochs.
      trials: random points, crossed with the axes; or a search, which allows no axes; or None.

    Raises:
      UserError: without seeds and trials, or for a search with axes.

    Example:
      Tuning(axes=(grid("optim.lr", (0.003, 0.01)),), seeds=(0, 1))
    """

    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, object] | None = None
    trials: Trials | Search | None = None

    def __post_init__(self) -> None:
        if self.seeds is None and self.trials is None:
            raise UserError("tuning: seeds: got None, expected seeds or trials")
        if isinstance(self.trials, Search) and self.axes:
            raise UserError(
                "tuning: got a search with axes, expected no axes; put a Choice among its ranges"
            )

    def points(self, variant: str) -> list[tuple[Point, tuple[int, ...]]]:
        """Returns the points of a variant, each with its seeds.

        The points of a search depend on results, so random points of its ranges stand in for them:
        enough to count runs and estimate time.

        Raises:
          UserError: if a setting is both on an axis and in the trials.
        """
        points = []
        for number, trial in enumerate(self._random_points(variant)):
            seeds = (number,) if self.seeds is None else self.seeds
            for point in cross(self.axes):
                both = sorted(set(point) & set(trial))
                if both:
                    raise UserError(
                        f"tuning: got {', '.join(both)} on an axis and in trials, expected one"
                    )
                points.append(({**point, **trial}, seeds))
        return points

    def _random_points(self, variant: str) -> tuple[Point, ...]:
        if self.trials is None:
            return ({},)
        paired = isinstance(self.trials, Trials) and self.trials.paired
        stream = "" if paired else variant
        return random_points(self.trials.count, self.trials.seed, self.trials.ranges, stream)


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
      name: a short name.
      base: the config that all runs share: its name, as "adding:lstm", a file, a ConfigDict or a
        dict.
      axes: the settings that define the variants, crossed.
      seeds: the final seeds of every variant. Without any, the tuning runs are compared.
      baseline: the label of the variant that the others are tested against, or None.
      tuning: how every variant is tuned first, or None.
      claims: planned claims.
      references: published values.
      title: the title of the report.
      match: the size that all variants share with the baseline: the hidden size itself, or the
        number of parameters or of FLOP per time step, by a different hidden size per variant.
      top: the share of each variant's tuning runs, best on validation, that is compared if there
        are no final seeds.
      folds: the number of parts of a cross-validation. Seed s tests on part `s % folds`, so runs
        paired by seed are also paired by fold. None uses the task's own splits.
      rope: the largest difference of the metric that does not matter (the region of practical
        equivalence). The report says how probable larger differences are.
      test_metric: the test metric that ranks the variants, such as a task's final metric; None
        means the metric that chooses checkpoints.
      test_direction: whether larger ("max") or smaller values of `test_metric` are better.
      groups: named groups of variants, whose mean scores the report shows.

    Raises:
      UserError: for fewer than 3 folds: one each to train, validate and test; for a negative rope.

    Example:
      Study(
          name="forget_bias",
          base="adding",
          axes=(grid("model.forget_bias", (0.0, 1.0)),),
          seeds=(10, 11, 12),
          baseline="0.0",
          claims=(Claim(better="1.0", worse="0.0"),),
      )
    """

    name: str
    base: str | Mapping[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    baseline: str | None = None
    tuning: Tuning | None = None
    claims: tuple[AnyClaim, ...] = ()
    references: tuple[Reference, ...] = ()
    title: str = ""
    match: Match = "hidden"
    top: float = 0.1
    folds: int | None = None
    rope: float = 0.0
    test_metric: str | None = None
    test_direction: Literal["min", "max"] = "max"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rope >= 0.0:
            raise UserError(f"study {self.name}: rope: got {self.rope}, expected 0 or more")
        if self.folds is not None and self.folds < 3:
            raise UserError(
                f"study {self.name}: folds: got {self.folds}, expected 3 or more (one part each to "
                "train, validate and test)"
            )

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The settings of `base`; a named config and the files of its task are read once.

        Raises:
          UserError: for an unknown name, or a file that is missing or does not run.
        """
        # The user wrote this study, and so chose its base.
        return with_complete_task(read_config(self.base, trust_code=True))

"""The declaration of a study: what is compared, over which seeds, how tuned and how judged.

A study file defines `get_study()`, which returns a `Study`. These classes hold data and check it.
`expand.py` turns them into runs, `declaration.py` into JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lstm_lab.config.load import read_config
from lstm_lab.config.parsing import build_spec, with_complete_task
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.results.labels import split_labels, variants_by_task
from lstm_lab.studies.axes import Axis, Point, SearchRange, by_label, cross, random_points
from lstm_lab.studies.claims import AnyClaim, Claim, Equivalent, Reference, Reproduces
from lstm_lab.studies.sequences import expect_axes_and_seeds, expect_claims_and_groups
from lstm_lab.tasks import metric_directions
from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.files import flatten

if TYPE_CHECKING:
    from lstm_lab.studies.power import StudyPower

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
      UserError: without seeds and trials, for one axis or seed outside of a tuple, for a seed that
        is there twice, or for a search with axes.

    Example:
      Tuning(axes=(grid("optim.lr", (0.003, 0.01)),), seeds=(0, 1))
    """

    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, object] | None = None
    trials: Trials | Search | None = None

    def __post_init__(self) -> None:
        expect_axes_and_seeds("tuning", self.axes, self.seeds or ())
        if self.seeds is None and self.trials is None:
            raise UserError("tuning: seeds: got None, expected seeds or trials")
        if len(set(self.seeds or ())) < len(self.seeds or ()):
            raise UserError(f"tuning: seeds: got {self.seeds}, expected each seed once")
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
class Sequential:
    """Final seeds in groups: a variant gets no more of them when its comparison is decided.

    After `first` seeds, and after every `step` more, each variant is compared with the baseline by
    Welch's two-sided test. It is better or worse if p is below the limit of the look; the limits
    spend the level as Lan and DeMets 1983 (like O'Brien and Fleming), so that all looks together
    keep it. With `Study.rope`, it is equivalent if the posterior probability of a difference
    within rope is above 0.95. A variant without any scored run gets no more seeds. The others
    continue to the last of `Study.seeds`.

    Attributes:
      first: the number of seeds before the first look, 2 or more.
      step: the number of seeds between two looks.
      alpha: the two-sided level of all looks at all variants together; each variant has alpha
        divided by their number, without the baseline.

    Raises:
      UserError: for a number that is out of range.

    Example:
      Study(..., seeds=tuple(range(10, 40)), baseline="lstm", sequential=Sequential(first=10))
    """

    first: int = 5
    step: int = 5
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for name, valid, expected in (
            ("first", self.first >= 2, "2 or more"),
            ("step", self.step >= 1, "1 or more"),
            ("alpha", 0.0 < self.alpha < 1.0, "more than 0 and less than 1"),
        ):
            if not valid:
                raise UserError(
                    f"sequential: {name}: got {getattr(self, name)}, expected {expected}"
                )


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
      match: the size that all variants share with the baseline: the `hidden` size itself, or the
        number of `params` or of `flops` per time step, by a different hidden size per variant.
      top: the share of each variant's tuning runs, best on validation, that is compared if there
        are no final seeds; at least one run.
      folds: the number of parts of a cross-validation. Seed s tests on part `s % folds`, so runs
        paired by seed are also paired by fold. None uses the task's own splits.
      rope: the largest difference of the metric that does not matter (the region of practical
        equivalence). The report gives the probabilities of better, equal within it, and worse.
      test_metric: the test metric that ranks the variants, such as a task's final metric; None
        means the metric that chooses checkpoints.
      groups: named groups of variants, whose mean scores the report shows.
      sequential: the looks after which decided variants get no more final seeds; `seeds` are then
        the most that a variant gets. None trains all seeds.

    Raises:
      UserError: for one axis, seed or claim outside of a tuple; for fewer than 3 folds: one each to
        train, validate and test; for a negative rope; for a share `top` out of range; for a seed
        that is there twice; for looks without a baseline, with folds, with a `test_metric`, without
        more seeds than the first look, or with a claim that tests means, whose level would ignore
        the looks.

    Example:
      Study(
          name="my_bias",
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
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sequential: Sequential | None = None

    def __post_init__(self) -> None:
        expect_axes_and_seeds(f"study {self.name}", self.axes, self.seeds)
        expect_claims_and_groups(f"study {self.name}", self.claims, self.groups)
        if self.sequential is not None:
            self._check_looks(self.sequential)
        parts = "3 or more (one part each to train, validate and test)"
        for name, valid, expected in (
            ("seeds", len(set(self.seeds)) == len(self.seeds), "each seed once"),
            ("top", 0.0 < self.top <= 1.0, "more than 0 and at most 1"),
            ("rope", self.rope >= 0.0, "0 or more"),
            ("folds", self.folds is None or self.folds >= 3, parts),
        ):
            if not valid:
                raise UserError(
                    f"study {self.name}: {name}: got {getattr(self, name)}, expected {expected}"
                )

    def _check_looks(self, looks: Sequential) -> None:
        of_means = (Claim, Equivalent, Reproduces)
        tests = [claim.kind for claim in self.claims if isinstance(claim, of_means)]
        for name, found, valid, expected in (
            ("baseline", self.baseline, self.baseline is not None, "a variant"),
            ("folds", self.folds, self.folds is None, "None"),
            ("seeds", len(self.seeds), len(self.seeds) > looks.first, f"more than {looks.first}"),
            ("claims", tests, not tests, "no claim that tests means"),
            # The looks judge the metric that chooses checkpoints.
            ("test_metric", self.test_metric, self.test_metric is None, "None"),
        ):
            if not valid:
                raise UserError(
                    f"study {self.name}: {name}: got {found}, expected {expected} with sequential"
                )

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """The settings of `base`; a named config and the files of its task are read once.

        Raises:
          UserError: for an unknown name, or a file that is missing or does not run.
        """
        # The user wrote this study, and so chose its base.
        return with_complete_task(read_config(self.base, trust_code=True))

    @property
    def ranking_metric(self) -> str:
        """The test metric that ranks the variants."""
        return self.test_metric or build_spec(self.settings).metric

    @property
    def ranking_direction(self) -> str:
        """Whether larger ("max") or smaller ("min") values of `ranking_metric` are better.

        Raises:
          UserError: if the task has no such metric.
        """
        metric, directions = (
            self.ranking_metric,
            metric_directions(build_spec(self.settings).task),
        )
        if metric not in directions:
            raise unknown(f"study {self.name}: test_metric", metric, directions)
        return directions[metric]

    @property
    def points(self) -> dict[str, Point]:
        """The points of the axes, by label; `expand.variants` checks that the study fits them."""
        # Conditions of an axis may refer to settings that the base leaves at their defaults.
        base = flatten(to_json(build_spec(self.settings)))
        return by_label(cross(self.axes, base))

    @property
    def rivals(self) -> list[str]:
        """The variants that are compared with the baseline: the others on its task."""
        of_task = variants_by_task(split_labels(self.points)).values()
        compared = next((names for names in of_task if self.baseline in names), [])
        return [name for name in compared if name != self.baseline]

    def power(
        self,
        std: float | str | Path,
        difference: float | None = None,
        *,
        alpha: float | None = None,
        power: float = 0.8,
    ) -> StudyPower:
        """Returns what the final seeds can find, before they are trained.

        Args:
          std: the standard deviation of `ranking_metric` over seeds; or an earlier study with this
            metric, as its folder or as an archive of `lstm-lab pack`.
          difference: the difference of means that matters; None takes `rope`, if it is not 0.
          alpha: the two-sided level of all comparisons with the baseline together. Each is tested
            at alpha divided by their number, the level that Holm's correction has at worst. None
            takes that of `sequential`, or 0.05.
          power: the probability with which a difference is to be found.

        Returns:
          The power of Welch's test with the declared seeds, the seeds that the difference needs,
          and the smallest difference that the declared seeds find. With `sequential`, that of one
          test of all seeds: studies with looks have nearly this power (docs/benchmarks.md).

        Raises:
          UserError: without a baseline and another variant on its task; for a cross-validation,
            whose scores depend on each other; for a number that is out of range; for a file or
            folder without two results of one variant.

        Example:
          >>> axes = (grid("model.cell", ("lstm", "gru")),)
          >>> study = Study("cells", "adding", axes, seeds=(10, 11, 12, 13, 14), baseline="lstm")
          >>> study.power(std=0.01, difference=0.02)
          5 seeds find a difference of 0.02 with probability 0.77, and one of 0.0208 with 0.8.
          6 seeds find 0.02 with 0.8. (Standard deviation 0.01, two-sided Welch's test at 0.05.)
        """
        # Late, here and there: SciPy's statistics take a second, and training does not need them.
        from lstm_lab.studies.power import deviation_of_runs, power_of_seeds

        if not self.rivals or self.folds is not None:
            raise UserError(
                f"study {self.name}: power: expected a baseline, another variant on its task and "
                "no folds"
            )
        if not isinstance(std, (int, float)):
            std = deviation_of_runs(Path(std), self.ranking_metric)
        if alpha is None:
            alpha = 0.05 if self.sequential is None else self.sequential.alpha
        matters = difference if difference is not None else self.rope or None
        return power_of_seeds(len(self.seeds), std, matters, alpha, len(self.rivals), power)


def study_of_seeds(name: str, spec: RunSpec, seeds: int) -> Study:
    """Returns a study without variants: several seeds of a run, from its own seed on.

    Args:
      name: of the study.
      spec: the run.
      seeds: their number.

    Example:
      study_of_seeds("adding-lstm-5seeds", spec, 5).seeds  # (0, 1, 2, 3, 4)
    """
    return Study(name, to_json(spec), (), tuple(range(spec.seed, spec.seed + seeds)))

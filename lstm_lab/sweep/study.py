"""A study, declared before it runs: what is compared, over which seeds, tuned how, judged how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from lstm_lab.config.parsing import build_spec, with_values
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.serialization import to_json
from lstm_lab.sweep.axes import Axis, Given, Point, Range, cross, label, random
from lstm_lab.sweep.sizes import Match, matched
from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.files import flatten


@dataclass(frozen=True)
class Trials:
    """Random points, equally many for every variant.

    Attributes:
      count: how many; more leave those before what they were.
      ranges: what each setting is drawn from.
      seed: of the draws.
      paired: the same points for every variant, rather than each its own.
    """

    count: int
    ranges: Mapping[str, Range]
    seed: int = 0
    paired: bool = True


@dataclass(frozen=True)
class Search:
    """Points that Optuna chooses from the results of those before, equally many for every variant.

    Attributes:
      count: how many.
      ranges: what each setting is searched in.
      seed: of the choices.
      generation: how many are chosen at a time, and trained side by side; the first ones at random.
        Fewer learn more from each result, more fill more lanes.
      grace: evaluations after which a run is pruned whose best score so far is worse than the
        median's of the generations before (median stopping, Golovin et al. 2017); None never.
    """

    count: int
    ranges: Mapping[str, Range]
    seed: int = 0
    generation: int = 8
    grace: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("count", self.count, 1),
            ("generation", self.generation, 1),
            ("grace", self.grace, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"search: {name}: found {value}, allowed {least} or more")


@dataclass(frozen=True)
class Tuning:
    """How every variant is tuned, with equal trials, on validation.

    Attributes:
      axes: what is searched, crossed.
      seeds: of each point; the study's own seeds have to be others. None trains each random trial
        once, with its number as the seed.
      overrides: settings of tuning runs, such as fewer epochs.
      trials: random points, crossed with the axes; or a search, which takes no axes; or None.
    """

    axes: tuple[Axis, ...] = ()
    seeds: tuple[int, ...] | None = None
    overrides: Mapping[str, Any] | None = None
    trials: Trials | Search | None = None

    def __post_init__(self) -> None:
        if self.seeds is None and self.trials is None:
            raise UserError(
                "tuning: seeds: missing, allowed seeds, or trials with seeds of their own"
            )
        if isinstance(self.trials, Search) and self.axes:
            raise UserError("tuning: a search takes no axes; search a Choice among its ranges")

    def points(self, variant: str) -> list[tuple[Point, tuple[int, ...]]]:
        """Returns a variant's points with their seeds; for a search, random ones in their place."""
        found = []
        for number, trial in enumerate(self._trials(variant)):
            seeds = (number,) if self.seeds is None else self.seeds
            for point in cross(self.axes):
                if set(point) & set(trial):
                    both = ", ".join(sorted(set(point) & set(trial)))
                    raise UserError(f"tuning: a setting stands on an axis and in trials: {both}")
                found.append(({**point, **trial}, seeds))
        return found

    def _trials(self, variant: str) -> tuple[Point, ...]:
        if self.trials is None:
            return ({},)
        paired = isinstance(self.trials, Trials) and self.trials.paired
        stream = "" if paired else variant
        return random(self.trials.count, self.trials.seed, self.trials.ranges, stream).points


@dataclass(frozen=True)
class Claim:
    """A planned claim that `better` beats `worse`, by Welch's one-sided test."""

    better: str
    worse: str
    alpha: float = 0.05

    kind: ClassVar[str] = "better"


@dataclass(frozen=True)
class Equivalent:
    """A planned claim that two variants differ by less than a margin, by two one-sided tests."""

    a: str
    b: str
    margin: float
    alpha: float = 0.05

    kind: ClassVar[str] = "equivalent"


@dataclass(frozen=True)
class Best:
    """A planned claim that the best score is a published one, within a tolerance."""

    published: float
    tolerance: float
    source: str

    kind: ClassVar[str] = "best"


@dataclass(frozen=True)
class Matters:
    """A planned claim on the share of the variance that a setting explains, over the variants."""

    setting: str
    at_least: float = 0.0
    at_most: float = 1.0

    kind: ClassVar[str] = "matters"


@dataclass(frozen=True)
class Scores:
    """A planned claim that every run of a variant scores within bounds on the test split.

    Attributes:
      variant: whose runs.
      metric: of the test split; it need not be the one that chooses checkpoints.
      at_least, at_most: the bounds; one is enough.
      source: where the bound comes from.
    """

    variant: str
    metric: str
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""

    kind: ClassVar[str] = "scores"


@dataclass(frozen=True)
class Reference:
    """A published figure, shown beside ours.

    Attributes:
      label: what it is called.
      value: of the study's metric.
      source: where it stands.
      variant: ours to compare it with; None is the best.
    """

    label: str
    value: float
    source: str
    variant: str | None = None


AnyClaim = Claim | Equivalent | Best | Matters | Scores


@dataclass(frozen=True)
class Study:
    """Runs to compare.

    Attributes:
      name: a short name.
      base: the config that all runs share.
      axes: what distinguishes the variants, crossed.
      seeds: of each variant; none where the tuning runs themselves are compared.
      baseline: the label of the variant that the others are tested against, or None.
      tuning: how each variant is tuned first, or None.
      claims: planned comparisons.
      references: published figures.
      title: what the report is called.
      match: what of the baseline every variant has: its hidden size, or about its number of
        parameters or of operations, by a hidden size of its own.
      top: share of each variant's tuning runs, best on validation, that is compared where there are
        no seeds.
      folds: cross-validation: seed s tests on part s modulo this number, so that pairs by seed are
        pairs by fold; None for none.
    """

    name: str
    base: Mapping[str, Any]
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

    def __post_init__(self) -> None:
        if self.folds is not None and self.folds < 3:
            raise UserError(
                f"study {self.name}: folds: found {self.folds}, allowed 3 or more: to train, "
                "validate and test"
            )


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
      spec: the run.
      variant: the label of its point on the study's axes.
      stage: `tuning` or `final`.
      point: its values on the tuning axes.
      pruning_thresholds: validation scores by step that its best has to reach, else it is pruned.
    """

    spec: RunSpec
    variant: str
    stage: str
    point: Point
    pruning_thresholds: Mapping[int, float] = field(default_factory=dict)


def variants(study: Study) -> dict[str, Point]:
    """Returns the study's variants by label.

    Raises:
      UserError: for a study without runs, or names that are not its variants.
    """
    base = flatten(to_json(build_spec(study.base)))
    found = {label(point): point for point in cross(study.axes, base)}
    tuned = study.tuning and (study.tuning.seeds or study.tuning.trials)
    if not found or not (study.seeds or tuned) or (study.tuning and not tuned):
        raise UserError(f"study {study.name}: it has no runs; give every axis and seeds a value")
    named = {"baseline": study.baseline} if study.baseline is not None else {}
    for k, claim in enumerate(study.claims):
        match claim:
            case Claim():
                named |= {f"claims[{k}].better": claim.better, f"claims[{k}].worse": claim.worse}
            case Equivalent():
                named |= {f"claims[{k}].a": claim.a, f"claims[{k}].b": claim.b}
            case Scores():
                named |= {f"claims[{k}].variant": claim.variant}
    for k, reference in enumerate(study.references):
        if reference.variant is not None:
            named[f"references[{k}].variant"] = reference.variant
    for what, name in named.items():
        if name not in found:
            raise unknown(f"study {study.name}: {what}", name, found)
    if study.match != "hidden" and study.baseline is None:
        raise UserError(f"study {study.name}: match={study.match!r} needs a baseline")
    if study.tuning and set(study.tuning.seeds or ()) & set(study.seeds):
        raise UserError(
            f"study {study.name}: seeds and tuning.seeds share a seed; winners need fresh ones"
        )
    return found


def tuning_runs(study: Study) -> list[PlannedRun]:
    """Returns the runs of the tuning stage; none where nothing is tuned.

    Those of a search are not known yet: random points of its ranges stand in their place.
    """
    if study.tuning is None:
        return []
    return [
        run
        for name, values in variants(study).items()
        for point, seeds in study.tuning.points(name)
        for run in trial_runs(study, name, values, point, seeds)
    ]


def trial_runs(
    study: Study, name: str, values: Point, point: Point, seeds: Sequence[int]
) -> list[PlannedRun]:
    """Returns the tuning runs, one a seed, of a variant (its name and values) at a point."""
    assert study.tuning is not None
    overrides = study.tuning.overrides or {}
    return [_planned(study, name, values, "tuning", point, seed, overrides) for seed in seeds]


def final_runs(study: Study, chosen: Mapping[str, Point]) -> list[PlannedRun]:
    """Returns the runs that are compared, of those variants whose tuning has been decided.

    Args:
      study: the study.
      chosen: each variant's point on the tuning axes; where nothing is tuned, it is not read.
    """
    return [
        _planned(study, name, values, "final", dict(chosen.get(name, {})), seed, {})
        for name, values in variants(study).items()
        if study.tuning is None or name in chosen
        for seed in study.seeds
    ]


def _planned(
    study: Study,
    name: str,
    values: Point,
    stage: str,
    point: Point,
    seed: int,
    overrides: Mapping[str, Any],
) -> PlannedRun:
    shared = {**overrides, **point, "seed": seed}
    if study.folds is not None:
        shared |= {"task.folds": study.folds, "task.fold": seed % study.folds}
    spec = build_spec(with_values(study.base, {**values, **shared}))
    if study.match != "hidden" and study.baseline is not None:
        baseline = variants(study)[study.baseline]
        reference = build_spec(with_values(study.base, {**baseline, **shared}))
        spec = matched(spec, reference, study.match)
    return PlannedRun(spec, name, stage, point)


def declaration(study: Study) -> dict[str, Any]:
    """Returns what a study declares, as JSON-ready data; its report needs nothing else."""
    tuning = study.tuning
    spec = build_spec(study.base)
    names = variants(study)
    declared = {
        "name": study.name,
        "title": study.title or study.name,
        "base": to_json(spec),
        "variants": names,
        "seeds": list(study.seeds),
        "baseline": study.baseline,
        "metric": spec.metric,
        "direction": spec.direction,
        "match": study.match,
        "top": study.top,
        "folds": study.folds,
        "tuning": tuning
        and {
            "points": {name: len(tuning.points(name)) for name in names},
            "seeds": tuning.seeds if tuning.seeds is None else list(tuning.seeds),
            "ranges": tuning.trials and _ranges(tuning.trials),
            "axes": [asdict(axis) for axis in tuning.axes],
            "overrides": dict(tuning.overrides or {}),
            **_searching(tuning.trials),
        },
        "claims": [{"kind": claim.kind, **asdict(claim)} for claim in study.claims],
        "references": [asdict(reference) for reference in study.references],
    }
    return dict(json.loads(json.dumps(declared)))


def _searching(trials: Trials | Search | None) -> dict[str, Any]:
    """Returns how points are searched; nothing where they are drawn."""
    if not isinstance(trials, Search):
        return {}
    chosen = {name: getattr(trials, name) for name in ("seed", "generation", "grace")}
    return {"search": {"sampler": "optuna.TPESampler", **chosen}}


def _ranges(trials: Trials | Search) -> dict[str, Any]:
    """Returns what each setting is drawn from; a condition is left out."""
    drawn = {k: v.range if isinstance(v, Given) else v for k, v in trials.ranges.items()}
    return {
        path: {"kind": type(values).__name__, **asdict(values)} for path, values in drawn.items()
    }

"""From a declared study to its runs: variants, tuning runs, final runs.

Pure functions of the declaration and, for final runs, of the points that tuning chose. `plan.py`
groups the runs into cohorts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lstm_lab.config.parsing import build_spec, typed, with_values
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.results.labels import split_labels, variants_by_task
from lstm_lab.studies.axes import Conditional, Point
from lstm_lab.studies.claims import Claim, Equivalent, Matters, Reproduces, Scores
from lstm_lab.studies.sizes import match_size
from lstm_lab.studies.study import Study
from lstm_lab.tasks import metric_directions
from lstm_lab.utils.errors import UserError, unknown


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes:
      spec: what it trains.
      variant: the label of its point on the study's axes.
      stage: `tuning` or `final`.
      point: its values on the tuning axes.
      pruning_thresholds: validation scores by step. The run is pruned if its best score so far is
        worse than the threshold of the step.
    """

    spec: RunSpec
    variant: str
    stage: str
    point: Point
    pruning_thresholds: Mapping[int, float] = field(default_factory=dict)


def variants(study: Study) -> dict[str, Point]:
    """Returns the points of the study's axes, by label.

    Raises:
      UserError: for a study without runs, or a name that is not one of its variants, metrics or
        tuned settings.
    """
    points = study.points
    _check_metrics(study)
    _check_shares(study)
    has_tuning_runs = study.tuning and (study.tuning.seeds or study.tuning.trials)
    if not points or not (study.seeds or has_tuning_runs) or (study.tuning and not has_tuning_runs):
        raise UserError(
            f"study {study.name}: got no runs, expected at least one value on every axis and one "
            "seed"
        )
    for field_name, variant in _named_variants(study).items():
        if variant not in points:
            raise unknown(f"study {study.name}: {field_name}", variant, points)
    if study.sequential is not None and len(points) < 2:
        raise UserError(
            f"study {study.name}: axes: got 1 variant, expected 2 or more with sequential"
        )
    # Looks compare every variant with one baseline, and scores of different tasks do not compare.
    tasks = variants_by_task(split_labels(points))
    if study.sequential is not None and len(tasks) > 1:
        raise UserError(
            f"study {study.name}: sequential: got variants on {len(tasks)} tasks, expected one "
            "task; declare a study for each"
        )
    # A size is matched to the baseline, so there has to be one.
    if study.match != "hidden" and study.baseline is None:
        raise UserError(
            f"study {study.name}: match={study.match!r}: got baseline=None, expected a variant"
        )
    shared = set(study.tuning.seeds or ()) & set(study.seeds) if study.tuning else set()
    if shared:
        # A point that was chosen because it did well on a seed is biased on that seed.
        raise UserError(
            f"study {study.name}: got {sorted(shared)} in seeds and tuning.seeds, expected "
            "different seeds"
        )
    return points


def _check_metrics(study: Study) -> None:
    """Raises a UserError for a metric that the test split lacks."""
    metrics = metric_directions(build_spec(study.settings).task)
    named = {"test_metric": study.ranking_metric}
    for k, claim in enumerate(study.claims):
        if isinstance(claim, (Scores, Reproduces)):
            named[f"claims[{k}].metric"] = claim.metric
    for field_name, metric in named.items():
        if metric not in metrics:
            raise unknown(f"study {study.name}: {field_name}", metric, metrics)


def _check_shares(study: Study) -> None:
    """Raises a UserError for a claim on a setting whose share the trials cannot tell."""
    trials = None if study.tuning is None else study.tuning.trials
    for k, claim in enumerate(study.claims):
        if not isinstance(claim, Matters):
            continue
        place, setting = f"study {study.name}: claims[{k}].setting", claim.setting
        if trials is None:
            raise UserError(f"{place}: got {setting!r}, expected a study with tuning.trials")
        if setting not in trials.ranges:
            raise unknown(place, setting, trials.ranges)
        if isinstance(trials.ranges[setting], Conditional):
            raise UserError(
                f"{place}: got {setting!r}, which only some trials have; expected a setting whose "
                "range has no condition"
            )


def _named_variants(study: Study) -> dict[str, str]:
    """Returns the variants that the study's other fields name, by field."""
    names = {"baseline": study.baseline} if study.baseline is not None else {}
    for k, claim in enumerate(study.claims):
        match claim:
            case Claim():
                names |= {f"claims[{k}].better": claim.better, f"claims[{k}].worse": claim.worse}
            case Equivalent():
                names |= {f"claims[{k}].a": claim.a, f"claims[{k}].b": claim.b}
            case Scores() | Reproduces():
                names |= {f"claims[{k}].variant": claim.variant}
    for k, reference in enumerate(study.references):
        if reference.variant is not None:
            names[f"references[{k}].variant"] = reference.variant
    for group, members in study.groups.items():
        names |= {f"groups[{group}][{k}]": member for k, member in enumerate(members)}
    return names


def tuning_runs(study: Study) -> list[PlannedRun]:
    """Returns the runs of the tuning stage; an empty list for a study without tuning.

    The points of a search are not known yet; random points of its ranges stand in for them.
    """
    if study.tuning is None:
        return []
    return [
        run
        for name, values in variants(study).items()
        for point, seeds in study.tuning.points(name)
        for run in trial_runs(study, name, values, point, seeds)
    ]


def all_runs(study: Study, due: Mapping[str, int] | None = None) -> list[PlannedRun]:
    """Returns all runs of a study, with each variant's first point in the final stage.

    A final run has the same number of steps at any tuned point, so the first serves as well.

    Args:
      study: the study.
      due: as in `final_runs`.
    """
    tuning = tuning_runs(study)
    first_points = {run.variant: run.point for run in tuning[::-1]}
    return [*tuning, *final_runs(study, first_points, due)]


def trial_runs(
    study: Study, variant: str, values: Point, point: Point, seeds: Sequence[int]
) -> list[PlannedRun]:
    """Returns the tuning runs of one variant at one point, one per seed.

    Args:
      study: a study with tuning.
      variant: the label of the variant.
      values: its values on the study's axes.
      point: values on the tuning axes.
      seeds: the seeds.
    """
    assert study.tuning is not None
    # Tuning runs may be shorter than final runs.
    overrides = study.tuning.overrides or {}
    return _plan_runs(study, variant, values, "tuning", point, seeds, overrides)


def final_runs(
    study: Study, chosen: Mapping[str, Point], due: Mapping[str, int] | None = None
) -> list[PlannedRun]:
    """Returns the final runs, which are compared, of all variants whose tuning is decided.

    Args:
      study: the study.
      chosen: each variant's point on the tuning axes; not read for a study without tuning.
      due: the number of seeds of each variant; None for all.
    """
    seeds = {name: study.seeds[: None if due is None else due[name]] for name in variants(study)}
    return [
        run
        for name, values in variants(study).items()
        # A variant whose tuning failed has no point yet.
        if study.tuning is None or name in chosen
        for run in _plan_runs(
            study, name, values, "final", dict(chosen.get(name, {})), seeds[name], {}
        )
    ]


def _plan_runs(
    study: Study,
    variant: str,
    values: Point,
    stage: str,
    point: Point,
    seeds: Sequence[int],
    overrides: Mapping[str, object],
) -> list[PlannedRun]:
    """Builds the specs of runs that differ in their seeds only."""
    # By fold: it depends on the seed. To build a spec, with all its checks, takes ten times as long
    # as to copy it with another seed, and a study may have ten thousand runs.
    built: dict[int, RunSpec] = {}
    runs = []
    for seed in seeds:
        fold = 0 if study.folds is None else seed % study.folds
        if fold not in built:
            built[fold] = _build(study, values, point, seed, overrides)
        try:
            spec = replace(built[fold], **typed(RunSpec, {"seed": seed}, ""))
        except ValueError as error:
            raise UserError(str(error)) from None
        runs.append(PlannedRun(spec, variant, stage, point))
    return runs


def _build(
    study: Study, values: Point, point: Point, seed: int, overrides: Mapping[str, object]
) -> RunSpec:
    """Builds the spec of one run: base, then variant, then overrides, then tuned point."""
    shared = {**overrides, **point, "seed": seed}
    if study.folds is not None:
        # By the seed: the same seed of two variants tests on the same part, so they form a pair.
        shared |= {"task.folds": study.folds, "task.fold": seed % study.folds}
    spec = build_spec(with_values(study.settings, {**values, **shared}))
    if study.match == "hidden" or study.baseline is None:
        return spec
    # Matched at the same tuned point: a searched hidden size changes the size to match.
    baseline = variants(study)[study.baseline]
    reference = build_spec(with_values(study.settings, {**baseline, **shared}))
    return match_size(spec, reference, study.match)

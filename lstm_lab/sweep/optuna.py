"""Adaptive search by Optuna: a generation of trials is asked for, trained, and told.

A generation's trials are all told before the next is asked for, and each value is chosen with its
own seed, so the points depend on the results alone: not on processes, their timing, or kills.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from lstm_lab.config.ids import run_id
from lstm_lab.sweep.axes import Choice, Given, LogUniform, Point, Uniform
from lstm_lab.sweep.folder import StudyFolder
from lstm_lab.sweep.study import PlannedRun, Search, Study, trial_runs, variants
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines, valid_by_step

JOURNAL = "search.journal"


def next_generation(
    folder: StudyFolder, study: Study, ended: Collection[str] = ()
) -> list[PlannedRun]:
    """Tells Optuna what has ended, and asks for more where a variant's generation is over.

    Args:
      folder: the study's folder; Optuna's storage is a journal in it, a study a variant.
      study: the study, tuned by a search.
      ended: ids of runs that have been worked through; those without a result have failed.

    Returns:
      The runs under way, of all variants; none once all trials have been told.

    Raises:
      UserError: without Optuna.
    """
    folder.declare()  # first: a journal alone would not make the folder a study's
    runs: dict[str, PlannedRun] = {}
    with folder.changing():
        for name, values in variants(study).items():
            searched = _Searched(folder, study, name, values)
            searched.tell(ended)
            # Two trials at one point are the same runs.
            runs |= {run_id(run.spec): run for run in searched.ask()}
    return list(runs.values())


class _Searched:
    """A variant's search.

    Args:
      folder, study: as in `next_generation`.
      name, values: the variant.
    """

    def __init__(self, folder: StudyFolder, study: Study, name: str, values: Point) -> None:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise UserError('a search needs optuna; pip install "lstm-lab[search]"') from None
        assert study.tuning is not None
        assert isinstance(study.tuning.trials, Search)
        self.folder, self.study, self.name, self.values = folder, study, name, values
        self.search, self.seeds = study.tuning.trials, study.tuning.seeds
        self.metric, direction = (folder.plan["study"][key] for key in ("metric", "direction"))
        self.optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = JournalFileBackend(str(folder.folder / JOURNAL))
        self.trials = optuna.create_study(
            storage=optuna.storages.JournalStorage(journal),
            study_name=name,
            direction={"min": "minimize", "max": "maximize"}[direction],
            load_if_exists=True,
        )

    def _in(self, *states: str) -> list[Any]:
        """Returns the trials in some states, or all, by number."""
        chosen = tuple(self.optuna.trial.TrialState[state] for state in states) or None
        return list(self.trials.get_trials(deepcopy=False, states=chosen))

    def _open(self, number: int) -> Any:
        """Returns a trial that is still to be told, as something that takes values."""
        return self.optuna.trial.Trial(self.trials, self._in()[number]._trial_id)

    # ---- telling

    def tell(self, ended: Collection[str]) -> None:
        """Tells the trials whose runs have all ended."""
        for trial in self._in("RUNNING"):
            runs = [run_id(run.spec) for run in self._runs(trial.number, {})]
            folders = [self.folder.run_folder(run) for run in runs]
            results = [read_json(folder / "result.json") for folder in folders]
            if all(results):
                curves = [
                    valid_by_step(read_lines(folder / "metrics.jsonl"), self.metric)
                    for folder in folders
                ]
                self._tell(trial.number, results, curves)
            elif set(runs) <= set(ended):
                self.trials.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def _tell(
        self, number: int, results: list[dict[str, Any]], curves: list[dict[int, float]]
    ) -> None:
        """Tells a trial its mean over the seeds, at every evaluation and at the best ones."""
        trial = self._open(number)
        for step in sorted(set.intersection(*map(set, curves))):
            trial.report(fmean(curve[step] for curve in curves), step)
        best = [result["best"]["valid"].get(self.metric) for result in results]
        if all(result["status"] == "completed" for result in results):
            self.trials.tell(number, fmean(best))
        else:
            # Diverged or pruned: to be avoided, where a trial that failed would say nothing.
            self.trials.tell(number, state=self.optuna.trial.TrialState.PRUNED)

    # ---- asking

    def ask(self) -> list[PlannedRun]:
        """Returns the runs of the trials that are not told, after asking for those that are due."""
        asked, size = len(self._in()), self.search.generation
        begun = -(-asked // size) * size  # a kill may have come while they were asked for
        due = begun if self._in("RUNNING") else begun + size
        for _ in range(asked, min(due, self.search.count)):
            self._point(self.trials.ask().number)
        running = [trial.number for trial in self._in("RUNNING")]
        pruning_thresholds = self._bars(running[0]) if running else {}
        return [run for number in running for run in self._runs(number, pruning_thresholds)]

    def _runs(self, number: int, pruning_thresholds: dict[int, float]) -> list[PlannedRun]:
        seeds = (number,) if self.seeds is None else self.seeds
        runs = trial_runs(self.study, self.name, self.values, self._point(number), seeds)
        return [replace(run, pruning_thresholds=pruning_thresholds) for run in runs]

    def _bars(self, number: int) -> dict[int, float]:
        """Returns, by step, the median of the generations before: Optuna's MedianPruner's rule."""
        if self.search.grace is None:
            return {}
        first = number // self.search.generation * self.search.generation
        before = [t.intermediate_values for t in self._in("COMPLETE") if t.number < first]
        steps = sorted({step for values in before for step in values})[self.search.grace :]
        return {step: median(values[step] for values in before if step in values) for step in steps}

    def _point(self, number: int) -> Point:
        """Returns a trial's point; settings it has no value for yet are chosen now."""
        trial, point = self._open(number), dict[str, Any]()
        for path, values in self.search.ranges.items():
            if isinstance(values, Given):
                if any(point.get(name) != value for name, value in values.when.items()):
                    continue
                values = values.range
            # A value's seed is its own: it is the same after a kill between two of them.
            seed = zlib.crc32(f"{self.search.seed}/{self.name}/{number}/{path}".encode())
            self.trials.sampler = self.optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.search.generation, constant_liar=True
            )
            point[path] = _suggest(trial, path, values)
        return point


def _suggest(trial: Any, path: str, values: Uniform | LogUniform | Choice) -> Any:
    match values:
        case LogUniform(integer=True):
            return trial.suggest_int(path, round(values.low), round(values.high), log=True)
        case LogUniform(one_minus=True):
            return 1.0 - trial.suggest_float(f"1 - {path}", values.low, values.high, log=True)
        case LogUniform():
            return trial.suggest_float(path, values.low, values.high, log=True)
        case Choice():
            # By name: Optuna's journal keeps no values but the simplest.
            named = {repr(value): value for value in values.values}
            return named[trial.suggest_categorical(path, list(named))]
        case _:
            return trial.suggest_float(path, values.low, values.high)

"""Adaptive search with Optuna, one generation of trials at a time.

A generation is sampled, trained as ordinary cohorts, and reported to Optuna before the next one is
sampled. Every value is sampled with its own seed. So the points depend on the results alone: not on
the number of processes, their timing, or kills.

Optuna's storage is a journal in the study's folder, with one Optuna study per variant.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from lstm_lab.config.ids import run_id
from lstm_lab.results.intact import curve_problem
from lstm_lab.results.run_files import read_result, read_rows
from lstm_lab.studies.axes import Choice, Conditional, LogUniform, Point, Uniform
from lstm_lab.studies.expand import PlannedRun, trial_runs, variants
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.study import Search, Study
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import valid_by_step
from lstm_lab.utils.progress import say
from lstm_lab.utils.types import JSON

if TYPE_CHECKING:
    from optuna.samplers import TPESampler
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "search.journal"


class _HeldLock:
    """The lock of Optuna's journal: none, because every change is made under that of the study.

    Optuna's own lock is a file. A killed process leaves it behind, and the next one waits for it.
    """

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def open_journal(path: Path) -> JournalStorage:
    """Opens Optuna's storage of a search, under the lock of the study.

    A last line that a killed process left unfinished is dropped. A journal with other damage is put
    aside, and a new one begins: the points follow from the results on disk.

    Args:
      path: the journal; it may be absent.

    Raises:
      UserError: without Optuna.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise UserError('a search requires Optuna: pip install "lstm-lab[search]"') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def read() -> JournalStorage:
        backend = JournalFileBackend(str(path), lock_obj=_HeldLock())
        return optuna.storages.JournalStorage(backend)

    damaged = _damaged_line(path)
    if damaged is None:
        try:
            return read()
        # Optuna replays the lines without checks, so a line of other contents raises any error.
        except Exception as error:
            damaged = f"{type(error).__name__}: {error}"
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    say(f"{path}: {damaged}; it is built again from the results, and is now {aside.name}")
    return read()


def _damaged_line(path: Path) -> str | None:
    """Cuts an unfinished last line off a journal; returns what else is wrong with it, or None."""
    if not path.exists():
        return None
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        # A new line would be appended to the unfinished one.
        os.truncate(path, len(whole))
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            return f"line {number} is damaged"
    return None


def next_generation(
    folder: StudyFolder, study: Study, ended: Collection[str] = ()
) -> list[PlannedRun]:
    """Reports finished trials to Optuna, and samples new ones when a generation is complete.

    All variants are in the same generation. So the runs of a generation are planned together, and
    their cohorts do not depend on the moment at which an earlier process was killed.

    Args:
      folder: the study's folder.
      study: a study that is tuned by a search.
      ended: ids of runs that were worked on. A run among them without a result has failed.

    Returns:
      All runs of the current generation of all variants, finished ones too, because their cohorts
      may still have other runs to train; empty once all trials are reported.

    Raises:
      UserError: without Optuna.
    """
    # Before the journal: a folder with a journal but no study.json would look like another
    # project's folder, and a second launch would refuse it.
    folder.declare()
    with folder.locked_plan():
        searches = _searches(folder, study)
        # Before the reports: a killed process may have sampled a part of a generation, and the rest
        # must not know more results.
        _sample_generation(searches)
        for search in searches:
            search.report_finished(ended)
        trials = _sample_generation(searches)
        # Two trials at one point are one run: the dict keeps it once.
        runs = {
            run_id(run.spec): run for search in searches for run in search.generation_runs(trials)
        }
    return list(runs.values())


def lost_runs(folder: StudyFolder, study: Study) -> list[PlannedRun]:
    """Returns the runs of reported trials if one of them has no result any more, or else none.

    Its result.json was damaged or deleted, or it failed. A generation is returned as a whole, as
    by `next_generation`: what the runs of a cohort are must not depend on what was lost.

    Args:
      folder: the study's folder.
      study: a study that is tuned by a search.

    Raises:
      UserError: without Optuna.
    """
    lost = {
        run
        for run, row in folder.plan["runs"].items()
        if row["stage"] == "tuning" and read_result(folder.run_folder(run)) is None
    }
    if not lost:
        return []
    with folder.locked_plan():
        searches = _searches(folder, study)
        search = searches[0].search
        reported = min(search.reported_trials() for search in searches)
        runs: dict[str, PlannedRun] = {}
        # The generation of the first trial that is not reported is the next one anyway.
        for start in range(0, reported, search.generation):
            trials = range(start, min(start + search.generation, search.count))
            if trials.stop > reported:
                break
            generation = {
                run_id(run.spec): run for one in searches for run in one.generation_runs(trials)
            }
            if lost & generation.keys():
                runs |= generation
    return list(runs.values())


def _searches(folder: StudyFolder, study: Study) -> list[VariantSearch]:
    """Returns the searches of all variants; the caller holds the lock of the study."""
    storage = open_journal(folder.folder / JOURNAL)
    return [
        VariantSearch(folder, study, storage, name, values)
        for name, values in variants(study).items()
    ]


def _sample_generation(searches: list[VariantSearch]) -> range:
    """Samples the first generation with an unreported trial; returns the numbers of its trials."""
    search = searches[0].search
    first = min(search.reported_trials() for search in searches)
    if first >= search.count:
        return range(0)
    start = first // search.generation * search.generation
    trials = range(start, min(start + search.generation, search.count))
    for search_of_variant in searches:
        search_of_variant.sample(trials)
    return trials


class VariantSearch:
    """The search of one variant.

    Args:
      folder, study: as in `next_generation`.
      storage: Optuna's storage, as `open_journal` returns it.
      variant: the label of the variant.
      values: its values on the study's axes.
    """

    def __init__(
        self,
        folder: StudyFolder,
        study: Study,
        storage: JournalStorage,
        variant: str,
        values: Point,
    ) -> None:
        import optuna

        assert study.tuning is not None
        assert isinstance(study.tuning.trials, Search)
        self.folder, self.study, self.variant, self.values = folder, study, variant, values
        self.search, self.seeds = study.tuning.trials, study.tuning.seeds
        self.metric, direction = (folder.plan["study"][key] for key in ("metric", "direction"))
        self.optuna = optuna
        self.trials = optuna.create_study(
            storage=storage,
            study_name=variant,
            sampler=self._sampler(0),
            direction={"min": "minimize", "max": "maximize"}[direction],
            load_if_exists=True,
        )

    def _sampler(self, seed: int) -> TPESampler:
        return self.optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=self.search.generation,
            # The default draws all settings when a trial object is made, so they would depend on
            # the number of objects, and with that on kills.
            multivariate=False,
            # The trials of a generation are sampled without each other's results, and would
            # otherwise crowd around the same optimum.
            constant_liar=True,
        )

    def _trials_in(self, *states: str) -> list[FrozenTrial]:
        """Returns the trials in some states, or all trials, ordered by number."""
        selected = tuple(self.optuna.trial.TrialState[state] for state in states) or None
        return list(self.trials.get_trials(deepcopy=False, states=selected))

    def _open_trial(self, number: int) -> Trial:
        """Returns a trial that can still take values and reports.

        Optuna returns such an object only from `ask`, in the process that asked. After a restart it
        has to be rebuilt from the id in the journal.
        """
        return self.optuna.trial.Trial(self.trials, self._trials_in()[number]._trial_id)

    # ---- results to Optuna

    def report_finished(self, ended: Collection[str]) -> None:
        """Reports every trial whose runs have all ended."""
        for trial in self._trials_in("RUNNING"):
            runs = [run_id(run.spec) for run in self._runs(trial.number, {})]
            folders = [self.folder.run_folder(run) for run in runs]
            found = [read_result(folder) for folder in folders]
            results = [result for result in found if result]
            if len(results) == len(found):
                # Pruning compares with curves: half of one would change the points that follow.
                for folder, result in zip(folders, results, strict=True):
                    if problem := curve_problem(folder, result):
                        raise UserError(f"workdir: {problem}")
                curves = [valid_by_step(read_rows(folder), self.metric) for folder in folders]
                self._report(trial.number, results, curves)
            elif set(runs) <= set(ended):
                self.trials.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def _report(
        self, number: int, results: list[dict[str, JSON]], curves: list[dict[int, float]]
    ) -> None:
        """Reports the means over the seeds: of every evaluation, and of the best ones."""
        trial = self._open_trial(number)
        # A process that was killed here has reported some of them.
        reported = set(self._trials_in()[number].intermediate_values)
        for step in sorted(set.intersection(*map(set, curves)) - reported):
            trial.report(fmean(curve[step] for curve in curves), step)
        best = [result["best"]["valid"].get(self.metric) for result in results]
        scores = [score for score in best if score is not None]
        completed = all(result["status"] == "completed" for result in results)
        if completed and len(scores) == len(results):
            self.trials.tell(number, fmean(scores))
        else:
            # Diverged, pruned or without a score. The sampler learns to avoid a PRUNED point; a
            # FAILed trial would tell it nothing.
            self.trials.tell(number, state=self.optuna.trial.TrialState.PRUNED)

    # ---- points from Optuna

    def reported_trials(self) -> int:
        """Returns the number of trials before the first that is not reported yet."""
        running = [trial.number for trial in self._trials_in("RUNNING")]
        return min([len(self._trials_in()), *running])

    def sample(self, trials: range) -> None:
        """Samples what the trials of a generation lack: trials, or settings of a trial."""
        # In order, since each value depends on those before it.
        for number in trials:
            if number == len(self._trials_in()):
                self.trials.ask()
            self._point(number)

    def generation_runs(self, trials: range) -> list[PlannedRun]:
        """Returns the runs of the sampled trials of a generation."""
        thresholds = self._pruning_thresholds(trials.start)
        return [run for number in trials for run in self._runs(number, thresholds)]

    def _runs(self, number: int, pruning_thresholds: dict[int, float]) -> list[PlannedRun]:
        seeds = (number,) if self.seeds is None else self.seeds
        runs = trial_runs(self.study, self.variant, self.values, self._point(number), seeds)
        return [replace(run, pruning_thresholds=pruning_thresholds) for run in runs]

    def _pruning_thresholds(self, first: int) -> dict[int, float]:
        """Returns the median score of earlier generations at each step, after the grace period.

        Args:
          first: the number of the first trial of the present generation.

        The rule of Optuna's MedianPruner. Optuna's own object would have to run inside the compiled
        training loop; with thresholds fixed per generation, pruning is also reproducible.
        """
        if self.search.grace is None:
            return {}
        curves = [t.intermediate_values for t in self._trials_in("COMPLETE") if t.number < first]
        steps = sorted({step for curve in curves for step in curve})[self.search.grace :]
        return {step: median(curve[step] for curve in curves if step in curve) for step in steps}

    def _point(self, number: int) -> Point:
        """Returns the point of a trial; settings without a value are sampled now."""
        trial, point = self._open_trial(number), Point()
        for setting, values in self.search.ranges.items():
            if isinstance(values, Conditional):
                if not values.applies(point):
                    continue
                values = values.range
            # A seed per value: a kill between two settings of a trial leaves both unchanged.
            seed = zlib.crc32(f"{self.search.seed}/{self.variant}/{number}/{setting}".encode())
            self.trials.sampler = self._sampler(seed)
            point[setting] = _suggest(trial, setting, values)
        return point


def _suggest(trial: Trial, setting: str, values: Uniform | LogUniform | Choice) -> object:
    """Samples one value of a trial with Optuna."""
    match values:
        case LogUniform(integer=True):
            return trial.suggest_int(setting, round(values.low), round(values.high), log=True)
        case LogUniform(one_minus=True):
            return 1.0 - trial.suggest_float(f"1 - {setting}", values.low, values.high, log=True)
        case LogUniform():
            return trial.suggest_float(setting, values.low, values.high, log=True)
        case Choice():
            # By name: Optuna's journal stores only None, bool, int, float and str.
            by_name = {repr(value): value for value in values.values}
            return by_name[trial.suggest_categorical(setting, list(by_name))]
        case _:
            return trial.suggest_float(setting, values.low, values.high)

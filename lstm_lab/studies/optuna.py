"""Adaptive search with Optuna, one generation of trials at a time.

A generation is sampled, trained as ordinary cohorts, and reported to Optuna before the next one is
sampled. Every value is sampled with its own seed. So the points depend on the results alone: not on
the number of processes, their timing, or kills.

Optuna's storage is a journal in the study's folder, with one Optuna study per variant.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import replace
from statistics import fmean, median
from typing import TYPE_CHECKING

from lstm_lab.config.ids import run_id
from lstm_lab.results.run_files import read_result, read_rows
from lstm_lab.studies.axes import Choice, Conditional, LogUniform, Point, Uniform
from lstm_lab.studies.expand import PlannedRun, trial_runs, variants
from lstm_lab.studies.folder import StudyFolder
from lstm_lab.studies.study import Search, Study
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import valid_by_step
from lstm_lab.utils.types import JSON

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

JOURNAL = "search.journal"


def next_generation(
    folder: StudyFolder, study: Study, ended: Collection[str] = ()
) -> list[PlannedRun]:
    """Reports finished trials to Optuna, and samples new ones where a generation is complete.

    Args:
      folder: the study's folder.
      study: a study that is tuned by a search.
      ended: ids of runs that were worked on. A run among them without a result has failed.

    Returns:
      The runs of the current generation of all variants; empty once all trials are reported.

    Raises:
      UserError: without Optuna.
    """
    # Before the journal: a folder with a journal but no study.json would look like another
    # project's folder, and a second launch would refuse it.
    folder.declare()
    runs: dict[str, PlannedRun] = {}
    with folder.locked_plan():
        for name, values in variants(study).items():
            search = VariantSearch(folder, study, name, values)
            search.report_finished(ended)
            # Two trials at one point are one run: the dict keeps it once.
            runs |= {run_id(run.spec): run for run in search.current_runs()}
    return list(runs.values())


class VariantSearch:
    """The search of one variant.

    Args:
      folder, study: as in `next_generation`.
      variant: the label of the variant.
      values: its values on the study's axes.

    Raises:
      UserError: without Optuna.
    """

    def __init__(self, folder: StudyFolder, study: Study, variant: str, values: Point) -> None:
        try:
            import optuna
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise UserError('a search requires Optuna: pip install "lstm-lab[search]"') from None
        assert study.tuning is not None
        assert isinstance(study.tuning.trials, Search)
        self.folder, self.study, self.variant, self.values = folder, study, variant, values
        self.search, self.seeds = study.tuning.trials, study.tuning.seeds
        self.metric, direction = (folder.plan["study"][key] for key in ("metric", "direction"))
        self.optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = JournalFileBackend(str(folder.folder / JOURNAL))
        self.trials = optuna.create_study(
            storage=optuna.storages.JournalStorage(journal),
            study_name=variant,
            direction={"min": "minimize", "max": "maximize"}[direction],
            load_if_exists=True,
        )

    def _trials_in(self, *states: str) -> list[FrozenTrial]:
        """Returns the trials in some states, or all trials, ordered by number."""
        selected = tuple(self.optuna.trial.TrialState[state] for state in states) or None
        return list(self.trials.get_trials(deepcopy=False, states=selected))

    def _running_trial(self, number: int) -> Trial:
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
                curves = [valid_by_step(read_rows(folder), self.metric) for folder in folders]
                self._report(trial.number, results, curves)
            elif set(runs) <= set(ended):
                self.trials.tell(trial.number, state=self.optuna.trial.TrialState.FAIL)

    def _report(
        self, number: int, results: list[dict[str, JSON]], curves: list[dict[int, float]]
    ) -> None:
        """Reports the means over the seeds: of every evaluation, and of the best ones."""
        trial = self._running_trial(number)
        for step in sorted(set.intersection(*map(set, curves))):
            trial.report(fmean(curve[step] for curve in curves), step)
        best = [result["best"]["valid"].get(self.metric) for result in results]
        if all(result["status"] == "completed" for result in results):
            self.trials.tell(number, fmean(best))
        else:
            # Diverged or pruned. As PRUNED, the sampler learns to avoid the point; a FAILed trial
            # would tell it nothing.
            self.trials.tell(number, state=self.optuna.trial.TrialState.PRUNED)

    # ---- points from Optuna

    def current_runs(self) -> list[PlannedRun]:
        """Returns the runs of the unreported trials; samples a new generation if there are none."""
        sampled, size = len(self._trials_in()), self.search.generation
        # Rounded up: a kill may have come while a generation was sampled.
        generation_end = -(-sampled // size) * size
        target = generation_end if self._trials_in("RUNNING") else generation_end + size
        for _ in range(sampled, min(target, self.search.count)):
            self._point(self.trials.ask().number)
        running = [trial.number for trial in self._trials_in("RUNNING")]
        thresholds = self._pruning_thresholds(running[0]) if running else {}
        return [run for number in running for run in self._runs(number, thresholds)]

    def _runs(self, number: int, pruning_thresholds: dict[int, float]) -> list[PlannedRun]:
        seeds = (number,) if self.seeds is None else self.seeds
        runs = trial_runs(self.study, self.variant, self.values, self._point(number), seeds)
        return [replace(run, pruning_thresholds=pruning_thresholds) for run in runs]

    def _pruning_thresholds(self, number: int) -> dict[int, float]:
        """Returns the median score of earlier generations at each step, after the grace period.

        The rule of Optuna's MedianPruner. Optuna's own object would have to run inside the compiled
        training loop; with thresholds fixed per generation, pruning is also reproducible.
        """
        if self.search.grace is None:
            return {}
        first = number // self.search.generation * self.search.generation
        curves = [t.intermediate_values for t in self._trials_in("COMPLETE") if t.number < first]
        steps = sorted({step for curve in curves for step in curve})[self.search.grace :]
        return {step: median(curve[step] for curve in curves if step in curve) for step in steps}

    def _point(self, number: int) -> Point:
        """Returns the point of a trial; settings without a value are sampled now."""
        trial, point = self._running_trial(number), Point()
        for setting, values in self.search.ranges.items():
            if isinstance(values, Conditional):
                if not values.applies(point):
                    continue
                values = values.range
            # A seed per value: a kill between two settings of a trial leaves both unchanged.
            seed = zlib.crc32(f"{self.search.seed}/{self.variant}/{number}/{setting}".encode())
            # constant_liar: the trials of a generation are sampled without each other's results,
            # and would otherwise crowd around the same optimum.
            self.trials.sampler = self.optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.search.generation, constant_liar=True
            )
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

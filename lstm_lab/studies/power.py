"""What the final seeds of a study can find: power, seeds that are needed, smallest difference.

In: the number of seeds and the deviation of runs, which an earlier study may give. Out: a
`StudyPower`. `statistics/power.py` has the formulas; `Study.power` and `dry_run.py` call this file.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lstm_lab.results.run_files import read_result
from lstm_lab.results.study_file import read_plan, run_folder
from lstm_lab.statistics.estimates import mean_and_std
from lstm_lab.statistics.power import detectable_effect, runs_needed, welch_power
from lstm_lab.studies.archive import read_archive
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON


class StudyPower(NamedTuple):
    """What a number of seeds can find, by Welch's two-sided test against the baseline.

    Attributes:
      seeds: the declared number of final seeds.
      std: the standard deviation of the metric over seeds.
      difference: the difference that matters, or None.
      found: the probability that the declared seeds find it, or None.
      needed: the smallest number of seeds that find it with the probability `target`, or None.
      detectable: the smallest difference that the declared seeds find with the probability
        `target`; NaN for fewer than two seeds.
      alpha: the level of all comparisons together.
      comparisons: the number of variants that are compared with the baseline.
      target: the probability with which a difference is to be found.
    """

    seeds: int
    std: float
    difference: float | None
    found: float | None
    needed: int | None
    detectable: float
    alpha: float
    comparisons: int
    target: float

    def __repr__(self) -> str:
        level = f"{self.alpha:g}" + (f" / {self.comparisons}" if self.comparisons > 1 else "")
        method = f"(Standard deviation {self.std:.3g}, two-sided Welch's test at {level}.)"
        detectable = f"{self.detectable:.3g} with {self.target:g}."
        if self.difference is None:
            return f"{self.seeds} seeds find a difference of {detectable}\n{method}"
        return (
            f"{self.seeds} seeds find a difference of {self.difference:g} with probability "
            f"{self.found:.2g}, and one of {detectable}\n"
            f"{self.needed} seeds find {self.difference:g} with {self.target:g}. {method}"
        )


def power_of_seeds(
    seeds: int, std: float, difference: float | None, alpha: float, comparisons: int, target: float
) -> StudyPower:
    """Returns what a number of seeds can find; `Study.power` explains the arguments.

    Holm's correction tests the smallest p-value at alpha / comparisons and the others at higher
    levels, so this is its worst case.

    Raises:
      UserError: for a number that is out of range.
    """
    for name, value, valid, expected in (
        ("std", std, std > 0.0, "more than 0"),
        ("difference", difference, difference is None or difference > 0.0, "more than 0"),
        ("alpha", alpha, 0.0 < alpha < 1.0, "more than 0 and less than 1"),
        ("power", target, alpha < target < 1.0, "more than alpha and less than 1"),
    ):
        if not valid:
            raise UserError(f"power: {name}: got {value}, expected {expected}")
    level = alpha / comparisons
    found = needed = None
    if difference is not None:
        found = welch_power(difference / std, seeds, level)
        needed = runs_needed(difference / std, level, target)
    detectable = std * detectable_effect(seeds, level, target)
    return StudyPower(seeds, std, difference, found, needed, detectable, alpha, comparisons, target)


def deviation_of_runs(path: Path, metric: str) -> float:
    """Returns the standard deviation of test scores over seeds, pooled over variants.

    sqrt(sum over groups of (n - 1) s^2 / sum of (n - 1)), where a group is the runs of a variant at
    one point. Final runs, or all runs of a study without any.

    Args:
      path: the folder of an earlier study, or an archive of `lstm-lab pack`.
      metric: a test metric.

    Raises:
      UserError: for another path, or without two scores of one group.
    """
    rows = _finished_runs(path) if path.is_dir() else read_archive(path, "std")
    final = [row for row in rows if row["stage"] == "final"]
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in final or rows:
        score = row["result"].get("test", {}).get(metric)
        if row["result"]["status"] == "completed" and score is not None:
            groups[row["variant"], json.dumps(row["point"], sort_keys=True)].append(score)
    squares = sum(mean_and_std(scores)[1] ** 2 * (len(scores) - 1) for scores in groups.values())
    freedom = sum(len(scores) - 1 for scores in groups.values())
    if not freedom:
        raise UserError(f"std: {path} has no two runs of one variant with a test {metric}")
    return float(np.sqrt(squares / freedom))


def _finished_runs(folder: Path) -> list[dict[str, JSON]]:
    """Returns the finished runs of a study as rows of an archive."""
    results = {
        run: (row, read_result(run_folder(folder, run)))
        for run, row in read_plan(folder)["runs"].items()
    }
    return [{**row, "result": result} for row, result in results.values() if result is not None]

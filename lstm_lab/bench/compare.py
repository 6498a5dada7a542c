"""Ratios of times: lstm_lab with PyTorch and with the best of the other JAX libraries.

In: rows of a result. Out: `CaseRatios`, one per shape, and sentences that summarize them. Tables
(`table.py`) and the chart (`chart.py`) show them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lstm_lab.bench.contenders import library, numbers

OURS = ("lstm_lab", "lstm_lab tf32")  # the first one present is compared with all others
JAX_PEERS = ("flax", "keras", "haiku", "equinox")
PYTORCH, BEST_JAX = "PyTorch", "the best other JAX library"


class Ratio(NamedTuple):
    """Our time divided by theirs.

    Attributes:
      median, low, high: over the rounds.
      name: the other contender.
    """

    median: float
    low: float
    high: float
    name: str


@dataclass(frozen=True)
class CaseRatios:
    """The ratios of one case.

    Attributes:
      group: the kind of work; the shape, if cells are compared.
      label: the shape, or the cell.
      others: the ratio to each opponent: `PYTORCH`, `BEST_JAX`, or a backend.
    """

    group: str
    label: str
    others: dict[str, Ratio]


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """Returns the median, minimum and maximum over rounds of our time divided by theirs.

    Args:
      ours, theirs: times [rounds] of the same rounds.
    """
    # Round by round: both turns of a round meet about the same state of the machine, so its slow
    # phases cancel.
    by_round = np.array(ours) / np.array(theirs)
    return float(np.median(by_round)), float(by_round.min()), float(by_round.max())


def our_name(rows: Sequence[dict[str, Any]]) -> str | None:
    """Returns the contender of lstm_lab that is compared with others, or None without one.

    Args:
      rows: rows of a result.
    """
    names = {row["contender"] for row in rows}
    return next((name for name in OURS if name in names), None)


def case_ratios(rows: Sequence[dict[str, Any]], key: str = "ms") -> list[CaseRatios]:
    """Returns the ratios of lstm_lab to its opponents, for each case of the rows.

    Args:
      rows: rows with one memory setting.
      key: the times that are compared.
    """
    ours = our_name(rows)
    result = []
    for work, label, by_name in _cases(rows, key):
        if ours not in by_name:
            continue
        opponents = {
            PYTORCH: [n for n in by_name if library(n) == "torch" and numbers(n) == numbers(ours)],
            BEST_JAX: [n for n in by_name if n in JAX_PEERS],
        }
        others = {}
        for opponent, names in opponents.items():
            if names:
                # The fastest at this shape: one library is rarely the best everywhere.
                best = min(names, key=lambda name: float(np.median(by_name[name])))
                others[opponent] = Ratio(*ratios(by_name[ours], by_name[best]), best)
        result.append(CaseRatios(work, label, others))
    return result


def backend_ratios(rows: Sequence[dict[str, Any]]) -> list[CaseRatios]:
    """Returns the ratio of each backend to `scan`, for each case of the rows.

    Args:
      rows: rows of the suites `cells` and `backends`.
    """
    result = []
    cells = {row["label"]: row["case"]["cell"] for row in rows}
    for _, label, by_name in _cases(rows, "ms"):
        scan = by_name.pop("lstm_lab scan", None)
        if scan is not None:
            others = {
                name.removeprefix("lstm_lab "): Ratio(*ratios(times, scan), "scan")
                for name, times in by_name.items()
            }
            shape = label.removeprefix(f"{cells[label]}, ")
            result.append(CaseRatios(shape, cells[label], others))
    return result


def _cases(
    rows: Sequence[dict[str, Any]], key: str
) -> list[tuple[str, str, dict[str, list[float]]]]:
    """Returns work, label, and the times by contender of each case."""
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        times = found.setdefault((row["case"]["work"], row["label"]), {})
        times[row["contender"]] = row[key]
    return [(work, label, times) for (work, label), times in found.items()]


def geometric_mean(values: Sequence[float]) -> float:
    """Returns the geometric mean.

    Half the time at one shape and double at another is 1 in both directions. An arithmetic mean of
    ratios would favor whoever is in the denominator.

    Args:
      values: positive numbers.
    """
    return float(np.exp(np.mean(np.log(values))))


def summary(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a sentence per opponent: geometric mean, worst ratio, and where we are faster.

    Args:
      rows: rows with one memory setting, of one kind of work or of several.
    """
    found = case_ratios(rows)
    sentences = []
    for opponent in (PYTORCH, BEST_JAX):
        those = [(case, case.others[opponent]) for case in found if opponent in case.others]
        if not those:
            continue
        case, worst = max(those, key=lambda pair: pair[1].median)
        medians = [ratio.median for _, ratio in those]
        faster = sum(median < 1 for median in medians)
        count = f"{len(those)} shape{'' if len(those) == 1 else 's'}"
        sentences.append(
            f"Our time over that of {opponent}: geometric mean {geometric_mean(medians):.2f}, "
            f"worst {worst.median:.2f} ({worst.low:.2f}-{worst.high:.2f}; {worst.name}; "
            f"{case.label}), below 1 at {faster} of {count}."
        )
    return sentences

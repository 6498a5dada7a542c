"""The archived results of a variant: final runs of the studies in experiments/results."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs.generate.markdown import ROOT
from lstm_lab.cells import CATALOGUE


@dataclass(frozen=True)
class ArchivedScore:
    """Test scores of a variant in one setting of a study.

    Attributes:
      study: name of the study.
      setting: the rest of the variant's label, such as length=50; may be empty.
      metric: name of the metric.
      values: the test score of each seed.
    """

    study: str
    setting: str
    metric: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)


def archives() -> list[Path]:
    """Returns the archives of all studies."""
    return sorted((ROOT / "experiments" / "results").glob("*/runs.jsonl.gz"))


@cache
def scores() -> dict[str, tuple[ArchivedScore, ...]]:
    """Returns the archived scores by variant, without trials of a tuning stage."""
    grouped: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    for path in archives():
        for row in _rows(path):
            cell, setting = _split_label(row["variant"])
            metric, result = row["result"]["metric"], row["result"]
            if row["stage"] == "final" and cell in CATALOGUE and result.get("test"):
                grouped[cell, path.parent.name, setting, metric].append(result["test"][metric])
    by_variant: dict[str, list[ArchivedScore]] = defaultdict(list)
    for (cell, study, setting, metric), values in grouped.items():
        by_variant[cell].append(ArchivedScore(study, setting, metric, tuple(values)))
    return {cell: tuple(found) for cell, found in by_variant.items()}


@cache
def trials() -> dict[str, dict[str, int]]:
    """Returns the number of tuning trials by variant and study, for studies without final runs."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for path in archives():
        rows = _rows(path)
        if all(row["stage"] == "tuning" for row in rows):
            for row in rows:
                counted[_split_label(row["variant"])[0]][path.parent.name] += 1
    return {cell: dict(studies) for cell, studies in counted.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def _split_label(name: str) -> tuple[str, str]:
    """Splits the label of a study's variant into its cell and the rest: `cell=np length=50`."""
    first, _, rest = name.partition(" ")
    return first.removeprefix("cell="), rest

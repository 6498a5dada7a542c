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
from lstm_lab.config.load import read_config
from lstm_lab.studies import Study
from lstm_lab.studies.load import load_study


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
        study = load_study(path.parent.name)
        for row in _rows(path):
            cell, label = _cell(study, row["variant"]), row["variant"]
            result = row["result"]
            # The metric that chooses a checkpoint may say little about the result.
            metric = study.test_metric or result["metric"]
            if row["stage"] == "final" and cell in CATALOGUE and result.get("test"):
                key = cell, study.name, _setting(label, cell), metric
                grouped[key].append(result["test"][metric])
    by_variant: dict[str, list[ArchivedScore]] = defaultdict(list)
    for (cell, name, setting, metric), values in grouped.items():
        by_variant[cell].append(ArchivedScore(name, setting, metric, tuple(values)))
    return {cell: tuple(found) for cell, found in by_variant.items()}


@cache
def trials() -> dict[str, dict[str, int]]:
    """Returns the number of tuning trials by variant and study, for studies without final runs."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for path in archives():
        rows = _rows(path)
        if all(row["stage"] == "tuning" for row in rows):
            study = load_study(path.parent.name)
            for row in rows:
                counted[_cell(study, row["variant"])][study.name] += 1
    return {cell: dict(studies) for cell, studies in counted.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    text = gzip.decompress(path.read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def _cell(study: Study, label: str) -> str:
    """Returns the cell of a variant: the one that its label names, or that of the study's base.

    The study's points would say the same, but some need the data set, which a reader of the archive
    may not have.
    """
    named = (part.removeprefix("cell=") for part in label.split(" "))
    base = read_config(study.base)["model"]["cell"]
    return next((name for name in named if name in CATALOGUE), base)


def _setting(label: str, cell: str) -> str:
    """Returns what a label says besides the cell: `length=50` of `cell=np length=50`."""
    return " ".join(part for part in label.split(" ") if part not in (cell, f"cell={cell}"))

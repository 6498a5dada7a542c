"""What was read from a user's files: for people, and for the record of a run.

In: a `Dataset`. Out: the content of preprocessing.json, and lines that a run prints before it
trains.
"""

from __future__ import annotations

from typing import Any

from lstm_lab.tasks.base import Dataset
from lstm_lab.tasks.examples import Stream


def preprocessing_record(dataset: Dataset) -> dict[str, Any]:
    """Returns what preprocessing.json holds: the preprocessing, and what was read from files.

    Args:
      dataset: the data.
    """
    if not dataset.source:
        return dataset.preprocessing
    return {
        **dataset.preprocessing,
        "source": {**dataset.source, "examples": count_examples(dataset)},
    }


def describe_source(dataset: Dataset) -> list[str]:
    """Returns lines for people: which columns are read, which not and why, how many rows; notes.

    Args:
      dataset: the data; those of a task without columns have only notes.
    """
    source = dataset.source
    notes = [f"note: {note}" for note in source.get("notes", [])]
    if "reads" not in source:
        return notes
    left_out = [
        f"{name or 'a column'} ({reason})" for name, reason in source.get("left_out", {}).items()
    ]
    counts = ", ".join(f"{count} {split}" for split, count in count_examples(dataset).items())
    parts = [f"reads {', '.join(source['reads'])}", f"predicts {', '.join(source['predicts'])}"]
    parts += [f"left out: {', '.join(left_out)}"] if left_out else []
    parts += [f"{source['rows_read']} rows", f"examples: {counts}"]
    return [f"data: {'; '.join(parts)}", *notes]


def count_examples(dataset: Dataset) -> dict[str, int]:
    """Returns the number of examples of each split, or of symbols of a stream.

    Args:
      dataset: the data; a task that generates its training data has no training split.

    Example:
      count_examples(Adding().load(Path("data")))  # {"valid": 1000, "test": 1000}
    """
    order = [name for name in ("train", "valid", "test") if name in dataset.splits]
    parts = [(name, dataset.splits[name]) for name in order]
    return {name: len(p.tokens) if isinstance(p, Stream) else p.rows for name, p in parts}

"""The table of `lstm-lab reproduce --all --dry-run`: every study with its cost and its state.

In: the studies by name. Out: a row for each. Nothing is downloaded, trained or written. Read
`dry_run.py` for the estimate of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lstm_lab.config.find import list_files
from lstm_lab.studies.archive import archived_slots, read_archive
from lstm_lab.studies.dry_run import estimate_seconds
from lstm_lab.studies.expand import all_runs
from lstm_lab.studies.folder import without_results
from lstm_lab.studies.load import load_study
from lstm_lab.studies.sequential import decided_seeds
from lstm_lab.tasks.readers.download import without_downloads
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import Meter, duration
from lstm_lab.utils.tables import aligned
from lstm_lab.utils.types import JSON


class StudyState(NamedTuple):
    """What a study costs, and what there is of it.

    Attributes:
      name: its name.
      claims: number of its claims.
      runs: number of its runs, all stages; 0 if they are not known without the data. With looks:
        the most, unless the archive decides every comparison.
      archived: number of these whose results are in the study's archive.
      seconds: estimated time of all runs on this machine; None without the data.
      missing: why the archive or the data cannot be read; empty if they can.
    """

    name: str
    claims: int = 0
    runs: int = 0
    archived: int = 0
    seconds: float | None = None
    missing: str = ""


def study_states(data_dir: Path) -> Iterator[StudyState]:
    """Yields the state of every study of the package and of ./experiments.

    Args:
      data_dir: the folder of data sets.
    """
    files = list_files("experiments")
    # Data are read to count their steps, which takes seconds for large texts.
    with Meter(len(files), "studies") as meter:
        for name, path in files.items():
            with without_downloads():
                yield _state(name, path.parent / "results" / name / "runs.jsonl.gz", data_dir)
            meter.advance(1, name)


def overview(states: Iterable[StudyState]) -> str:
    """Returns the states as a table, with a line for all studies together."""
    states = list(states)
    rows = [["study", "claims", "runs", "archived", "time", "state"]]
    for state in states:
        known = state.runs > 0
        rows.append(
            [
                state.name,
                str(state.claims) if known else "",
                str(state.runs) if known else "",
                str(state.archived) if known else "",
                "" if state.seconds is None else duration(state.seconds),
                state.missing or _progress(state),
            ]
        )
    seconds = sum(state.seconds or 0.0 for state in states)
    complete = sum(state.runs > 0 and state.archived == state.runs for state in states)
    total = (
        f"{len(states)} studies, {complete} with an archive of all runs; those with their data "
        f"at hand take about {duration(seconds)} on this machine, less if runs stop early"
    )
    return f"{aligned(rows)}\n\n{total}"


def _progress(state: StudyState) -> str:
    if state.archived == state.runs:
        return "archived"
    return "not archived" if not state.archived else f"{state.archived / state.runs:.0%} archived"


def _state(name: str, archive: Path, data_dir: Path) -> StudyState:
    rows, fault = _archived(archive)
    try:
        study = load_study(name)
        due = decided_seeds(study, rows)
        runs = all_runs(study, due)
    except UserError as error:
        # The labels of some tasks come from their data, so a study may need them to be known.
        return StudyState(name, missing=fault or _reason(error))
    archived = len(runs) - len(without_results(runs, archived_slots(rows)))
    known = StudyState(name, len(study.claims), len(runs), archived, missing=fault)
    try:
        return known._replace(seconds=estimate_seconds(study, data_dir, due))
    except UserError as error:
        return known._replace(missing=fault or _reason(error))


def _archived(path: Path) -> tuple[list[dict[str, JSON]], str]:
    """Returns the rows of a study's archive, if there is one, and what is wrong with it."""
    try:
        return (read_archive(path, "archive") if path.is_file() else []), ""
    except UserError as error:
        return [], _reason(error)


def _reason(error: UserError) -> str:
    # Which file is missing; how to get it is too long for a table.
    return str(error).partition(", and ")[0].partition(";")[0]

"""The facts for a card, read from the folder of a run.

In: the folder of a run, alone or in a study. Out: `CardFacts`. Read `card.py` next, which writes
them as Markdown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lstm_lab.cards.data import RunData, run_data
from lstm_lab.report.single_run import RunRecord, read_run
from lstm_lab.results.run_files import read_result, read_settings
from lstm_lab.results.study_file import read_plan, run_folder
from lstm_lab.tasks import DIRECTIONS, TASKS
from lstm_lab.tasks.base import Direction
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.types import JSON

# Optional entries of run.json, and what a card can read there.
KINDS = {
    "command": "a list of texts",
    "started": "a number",
    "group": "a text",
    "backend": "a text",
    **dict.fromkeys(("git", "machine", "versions", "seeds"), "an object"),
    "examples": "an object of whole numbers",
}
# A run with one of these statuses was not interrupted, and has weights.
ENDED = ("completed", "diverged", "pruned")


@dataclass(frozen=True)
class SeedGroup:
    """The runs of a study that have the same settings and different seeds.

    Attributes:
      study: the name of the study.
      seeds: the seeds of the runs that completed, in increasing order.
      planned: number of runs, including those that did not complete.
      scores: test scores of the runs that completed, by metric; a metric without a value in some
        of them is left out.
      stage: "final", or "tuning" for a run that tests settings.
      trials: number of tuning runs of the same variant.
      tuned: the dotted names of the settings in which the tuning runs differ.
      best: whether the run has the best validation metric of the group.
      folds: number of parts of a cross-validation, or None.

    Example:
      read_facts(Path("runs/five/runs/0a1b2c3d4e5f")).group.seeds  # (0, 1, 2, 3, 4)
    """

    study: str
    seeds: tuple[int, ...]
    planned: int
    scores: dict[str, list[float]]
    stage: str
    trials: int
    tuned: tuple[str, ...]
    best: bool
    folds: int | None


@dataclass(frozen=True)
class CardFacts:
    """All facts of a card.

    Attributes:
      record: settings, status and scores of the run.
      head: the content of run.json.
      result: the content of result.json.
      data: what the run was trained and tested on.
      group: the same settings with other seeds; None for a run outside a study.

    Example:
      read_facts(Path("runs/adding")).record.test["mse"]
    """

    record: RunRecord
    head: dict[str, JSON]
    result: dict[str, JSON]
    data: RunData
    group: SeedGroup | None = field(default=None)

    @property
    def cell(self) -> str:
        """The name of the cell, without the path of a user's file."""
        return str(self.record.settings["model.cell"]).rpartition(":")[2]

    @property
    def parameters(self) -> str:
        """The number of parameters as text; results of earlier versions may lack it."""
        count = self.result.get("parameters")
        return f"{count:,}" if isinstance(count, int) else "an unknown number of"

    @property
    def own_code(self) -> list[str]:
        """The files of the user's own code in the folder of the run."""
        settings = self.record.settings
        names = {"cell.py": settings["model.cell"], "task.py": settings["task.name"]}
        return [file for file, name in names.items() if ":" in str(name)]

    @property
    def directions(self) -> dict[str, Direction]:
        """For each known metric whether larger or smaller values are better."""
        # A task of the user is not loaded: writing a card must not run code of other people.
        known = TASKS.get(self.data.task)
        return {**DIRECTIONS, **(known.final_metric_directions if known else {})}


def read_facts(folder: Path) -> CardFacts:
    """Reads all facts of a card.

    Args:
      folder: the folder of a run.

    Returns:
      The facts.

    Raises:
      UserError: for a folder without a run, a run without a result, or a run.json with an entry of
        another type.

    Example:
      read_facts(Path("runs/adding")).data.name  # "adding"
    """
    if (folder / "study.json").is_file():
        raise UserError(f"card: {folder} is a study; choose one of {folder / 'runs'}")
    record = read_run(folder)
    result = read_result(folder)
    if result is None or record.status not in ENDED or not record.test:
        raise UserError(
            f"card: {folder}: the run is {record.status}, expected one that has ended with scores"
        )
    head = read_settings(folder) or {}
    for name, kind in KINDS.items():
        if head.get(name) is not None and not _is_a(kind, head[name]):
            raise UserError(
                f"card: {folder / 'run.json'}: {name}: got {head[name]!r}, expected {kind}"
            )
    return CardFacts(record, head, result, run_data(folder, head), _read_group(folder, result))


def _is_a(kind: str, value: JSON) -> bool:
    """Returns whether an entry is of a kind of `KINDS`."""
    match kind:
        case "a text":
            return isinstance(value, str)
        case "a number":
            return isinstance(value, (int, float))
        case "a list of texts":
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case "an object of whole numbers":
            return isinstance(value, dict) and all(isinstance(n, int) for n in value.values())
        case _:
            return isinstance(value, dict)


def _read_group(folder: Path, result: dict[str, JSON]) -> SeedGroup | None:
    """Returns the runs of a study that differ from a run only in their seeds, or None."""
    # Resolved, because a user may write the folder as `.`.
    place = folder.resolve()
    workdir = place.parent.parent
    if place.parent.name != "runs" or not (workdir / "study.json").is_file():
        return None
    plan = read_plan(workdir)
    own = plan["runs"].get(place.name)
    if own is None:
        return None
    members = {
        run: row
        for run, row in plan["runs"].items()
        if all(row[name] == own[name] for name in ("variant", "stage", "point"))
    }
    ended = {run: read_result(run_folder(workdir, run)) for run in members}
    completed = {
        run: of_run
        for run, of_run in ended.items()
        if of_run is not None and of_run["status"] == "completed"
    }
    tuning = [
        row
        for row in plan["runs"].values()
        if row["stage"] == "tuning" and row["variant"] == own["variant"]
    ]
    return SeedGroup(
        study=str(plan["study"]["title"]),
        seeds=tuple(sorted(members[run]["seed"] for run in completed)),
        planned=len(members),
        scores=_scores(list(completed.values())),
        stage=own["stage"],
        trials=len(tuning),
        tuned=tuple(tuning[0]["point"]) if tuning else (),
        best=_is_best(place.name, completed, result),
        folds=plan["study"].get("folds"),
    )


def _scores(results: list[dict[str, JSON]]) -> dict[str, list[float]]:
    names = results[0]["test"] if results else ()
    by_name = {name: [result["test"].get(name) for result in results] for name in names}
    return {name: values for name, values in by_name.items() if None not in values}


def _is_best(run: str, completed: dict[str, dict[str, JSON]], result: dict[str, JSON]) -> bool:
    """Returns whether a run has the best validation metric of those that completed."""
    metric, sign = result.get("metric"), 1.0 if result.get("direction") == "max" else -1.0
    values = {name: of_run["best"]["valid"].get(metric) for name, of_run in completed.items()}
    known = {name: sign * value for name, value in values.items() if value is not None}
    return run in known and known[run] == max(known.values())

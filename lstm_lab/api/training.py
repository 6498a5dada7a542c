"""The calls that train: `train`, `sweep` and `compare`.

In: a config, a study or a cell. Out: results of `runs.py` and `studies.py`. An interrupted call
raises KeyboardInterrupt and leaves checkpoints; the same call resumes. The command line calls
`train_spec`, `sweep_study` and `compare_cells`, after it has read its flags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.api.cells import BoundCell, CellLike
from lstm_lab.api.runs import Run
from lstm_lab.api.seeds import Runs
from lstm_lab.cells import Spec
from lstm_lab.config.cell_source import cell_name
from lstm_lab.config.ids import run_id
from lstm_lab.config.load import ConfigLike, load_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.recurrence.check import check_cell
from lstm_lab.report.single_run import read_run
from lstm_lab.results.run_files import read_result, read_settings
from lstm_lab.studies.battery import battery_studies, trials_of_budget
from lstm_lab.studies.failures import last_reason
from lstm_lab.studies.load import load_study
from lstm_lab.studies.run import launch
from lstm_lab.studies.study import Study, study_of_seeds
from lstm_lab.tasks.readers.download import use_data_dir
from lstm_lab.training import multihost
from lstm_lab.training.devices import prepare_devices
from lstm_lab.training.loggers.choose import Log, logging_to
from lstm_lab.training.loop import stopping_on_signals, train_run
from lstm_lab.training.recorder import Status
from lstm_lab.utils.errors import AGAIN, Interrupted, TrainingError, UserError
from lstm_lab.utils.progress import say

if TYPE_CHECKING:
    from lstm_lab.api.studies import CellComparison, StudyResult


def train(
    config: ConfigLike,
    *,
    seeds: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    workdir: str | Path | None = None,
    data_dir: str | Path | None = None,
    devices: int | None = None,
    trust_code: bool = False,
    log: Log | None = None,
) -> Run | Runs:
    """Trains one run, or several seeds in one program; resumes what was interrupted.

    Args:
      config: the name of a config with its words, as "adding:peephole"; a file, as "my_config.py";
        the run.json of an earlier run; a ConfigDict or a dict.
      seeds: the number of seeds, from the config's `seed` on; None trains one run.
      overrides: settings to change, by dotted name, as `{"task.length": 100}`; `model.cell` may be
        a spec of your own.
      workdir: the folder of the run; None chooses runs/TASK-CELL-ID.
      data_dir: the folder of data sets; None takes $LSTM_LAB_DATA or the user's cache.
      devices: the number of CPU cores to use as devices, before JAX is first used; None takes all.
      trust_code: whether a run.json may name a cell or a task in a file of its own, which then
        runs with all your rights.
      log: where numbers go besides TensorBoard: "wandb", "mlflow", "aim", a class or an object of
        your own with the methods of `ll.Logger`, or several of them in a list.

    Returns:
      A `Run`, or `Runs` if `seeds` is given; its `status` says if training failed or diverged. A
      finished run is loaded, not trained again.

    Raises:
      UserError: for a wrong config, setting, folder or logger, for missing data, or if training
        failed before any run had a folder.
      KeyboardInterrupt: if it is interrupted; the same call resumes.

    Example:
      run = ll.train("adding:peephole", overrides={"task.length": 50})
      run.metrics["mse"]
    """
    prepare_devices(devices)
    folder = _data(data_dir)
    spec = load_spec(config, overrides, trust_code)
    recorded = {name: str(value) for name, value in (overrides or {}).items()}
    with logging_to(log, several=seeds is not None):
        return train_spec(spec, seeds, _path(workdir), folder, recorded)


def train_spec(
    spec: RunSpec,
    seeds: int | None,
    workdir: Path | None,
    data_dir: Path,
    overrides: dict[str, str],
) -> Run | Runs:
    """Trains a spec, or several seeds of it; `train` explains the arguments and errors.

    Args:
      spec: the run.
      seeds: the number of seeds, or None.
      workdir: the folder, or None.
      data_dir: the folder of data sets.
      overrides: the changed settings as text, for the record.
    """
    if seeds is None:
        folder = workdir or run_folder(spec)
        train_single(spec, folder, data_dir, overrides)
        # Its code has run in this process.
        return Run(folder, trust_code=True)
    if not isinstance(seeds, int) or seeds < 1:
        raise UserError(f"seeds: got {seeds!r}, expected a whole number of 1 or more")
    # Several seeds are a study without variants: the same lanes, report and resuming as in a sweep.
    name = f"{_words(spec)}-{seeds}seeds"
    # The id, as in the folder of a single run: other settings are another study.
    folder = workdir or Path(f"runs/{name}-{run_id(spec)}")
    study = study_of_seeds(name, spec, seeds)
    status = sweep_study(study, folder, data_dir, overrides=overrides)
    runs = Runs(folder, trust_code=True)
    if status == "failed" and not len(runs):
        raise TrainingError(f"train: none of {seeds} seeds was trained: {last_reason(folder)}")
    return runs


def run_folder(spec: RunSpec) -> Path:
    """Returns the default folder of a run.

    The name has the id: runs with other settings get other folders, and the same run resumes.

    Args:
      spec: the run.

    Example:
      run_folder(load_spec("adding:lstm"))  # runs/adding-lstm-37defc906214
    """
    return Path(f"runs/{_words(spec)}-{run_id(spec)}")


def _words(spec: RunSpec) -> str:
    names = (spec.task.name, spec.model.cell)
    return "-".join(Path(name.replace(":", "-")).name for name in names)


def train_single(spec: RunSpec, folder: Path, data_dir: Path, overrides: dict[str, str]) -> str:
    """Trains one run to its end, and writes its model card.

    Args:
      spec: the run.
      folder: its folder.
      data_dir: the folder of data sets, on every host.
      overrides: the changed settings as text, for the record.

    Returns:
      Its status, on every host: completed, diverged, failed or out_of_memory.

    Raises:
      Interrupted: after a signal and a checkpoint.
      TrainingError: on host 0, if it failed before the run had a folder.
    """
    trained_before = multihost.is_primary() and read_result(folder) is not None
    with stopping_on_signals() as stop:
        outcome = train_run(spec, folder, data_dir, stop=stop, overrides=overrides)
    if outcome.status == "interrupted":
        raise Interrupted(AGAIN)
    if outcome.status != "completed":
        # Not a broadcast: the other hosts may be gone, or still in a step.
        if multihost.is_primary() and read_settings(folder) is None:
            raise TrainingError(f"train: {outcome.status}: {outcome.reason}")
        return outcome.status
    # Only host 0 has the folder; the others need the status too.
    status: str = multihost.broadcast_from_host0(lambda: read_run(folder).status)
    # A finished run is only read: its user may have changed the card, or may not write there.
    if status == "completed" and multihost.is_primary() and not trained_before:
        _write_card(folder)
    return status


def _write_card(folder: Path) -> None:
    """Writes the model card of a run that has just ended; a failure costs the card alone."""
    from lstm_lab.cards.card import write_card

    try:
        write_card(folder)
    except (OSError, UserError) as error:
        say(f"note: there is no model card of {folder}: {error}")


def sweep(
    study: Study | str | Path,
    *,
    workdir: str | Path | None = None,
    data_dir: str | Path | None = None,
    devices: int | None = None,
    results: str | Path | None = None,
    log: Log | None = None,
) -> StudyResult:
    """Runs what is missing of a study in this process.

    Args:
      study: a `Study`, the name of one (`lstm-lab list studies`), or a file with `get_study()`.
      workdir: the folder of the study; None chooses runs/NAME.
      data_dir: the folder of data sets; None takes $LSTM_LAB_DATA or the user's cache.
      devices: as in `train`.
      results: an archive of `lstm-lab pack` whose results replace training, or None.
      log: as in `train`; but a class and no object, since every run needs its own.

    Returns:
      The results. Runs that failed are in its table, with the reason.

    Raises:
      UserError: for an impossible study, missing data, or a folder with other contents.
      KeyboardInterrupt: if it is interrupted; the same call resumes.

    Example:
      study = ll.Study("cells", "adding", (ll.grid("model.cell", ("lstm", "gru")),), (10, 11, 12))
      ll.sweep(study).ranking
    """
    prepare_devices(devices)
    data = _data(data_dir)
    loaded = study if isinstance(study, Study) else load_study(str(study))
    folder = _path(workdir) or Path(f"runs/{loaded.name}")
    with logging_to(log):
        status = sweep_study(loaded, folder, data, results=_path(results))
    if status == "failed":
        say(f"a run failed: lstm-lab status --workdir={folder} says why")
    # Late, here and below: reports need SciPy's statistics, and training does not.
    from lstm_lab.api.studies import StudyResult

    return StudyResult(folder, trust_code=True)


def sweep_study(
    study: Study,
    folder: Path,
    data_dir: Path,
    *,
    overrides: dict[str, str] | None = None,
    results: Path | None = None,
) -> Status:
    """Runs what is missing of a study; `sweep` explains the arguments.

    Returns:
      Completed, or failed if a run failed.

    Raises:
      Interrupted: after a signal and a checkpoint.
    """
    with stopping_on_signals() as stop:
        status = launch(study, folder, data_dir, stop, overrides, results)
    if status == "interrupted":
        raise Interrupted(AGAIN)
    return status


def compare(
    cell: CellLike,
    *,
    against: str = "lstm",
    tasks: str | Sequence[str] = (),
    budget: int | str = 8,
    workdir: str | Path | None = None,
    data_dir: str | Path | None = None,
    devices: int | None = None,
    log: Log | None = None,
) -> CellComparison:
    """Compares a cell with a baseline on a battery of tasks, with the same tuning for both.

    Args:
      cell: a variant, FILE.py:NAME, or a spec; a spec that is defined in the notebook is written
        to a file first.
      against: the variant to compare it with.
      tasks: names of the battery's tasks, or of a group of tasks, such as "state_tracking"; one
        name, or several in a list; empty takes all tasks without a group whose data are available.
      budget: the number of learning rates that each cell tries on each task; or hours for
        everything, as "2h".
      workdir: the folder of the comparison; None chooses runs/compare-CELL-AGAINST-BUDGET.
      data_dir: the folder of data sets; None takes $LSTM_LAB_DATA or the user's cache.
      devices: as in `train`.
      log: as in `sweep`.

    Returns:
      The comparison with its verdict.

    Raises:
      UserError: for an unknown cell, task or budget, or a cell that fails its checks.
      KeyboardInterrupt: if it is interrupted; the same call resumes.

    Example:
      ll.compare("my_cell.py:mine", tasks=["adding_50", "digits"], budget=4).verdict
    """
    prepare_devices(devices)
    spec: str | Spec = cell.spec if isinstance(cell, BoundCell) else cell
    name = cell_name(spec)
    folder = _path(workdir) or comparison_folder(name, against, str(budget))
    # As on the command line; `list` would make letters of a text.
    chosen = tasks.split(",") if isinstance(tasks, str) and tasks else list(tasks)
    with logging_to(log):
        comparison, status = compare_cells(
            name, against, chosen, str(budget), folder, _data(data_dir)
        )
    if status == "failed":
        say(f"a run failed: lstm-lab status --workdir={folder}/TASK says why")
    return comparison


def comparison_folder(cell: str, against: str, budget: str) -> Path:
    """Returns the default folder of a comparison; another baseline or budget has another one.

    Args:
      cell, against: the names of both cells.
      budget: the budget.
    """
    names = [Path(name.replace(":", "-")).name for name in (cell, against)]
    return Path(f"runs/compare-{'-'.join(names)}-{budget}")


def compare_cells(
    cell: str, against: str, tasks: list[str], budget: str, folder: Path, data_dir: Path
) -> tuple[CellComparison, Status]:
    """Compares a cell with a baseline; `compare` explains the arguments and errors.

    Returns:
      The comparison, and completed, or failed if a run failed.
    """
    studies = partial(battery_studies, cell, against, tasks)
    trials = trials_of_budget(budget, studies, data_dir)
    declared, left_out = studies(trials, data_dir)
    # Before training: hours of it say nothing about a cell whose gradients are wrong.
    for what, wrong in check_cell(resolve_cell(ModelSpec(cell=cell))):
        if wrong is not None:
            raise UserError(f"compare: {cell} fails a check: {what}: {wrong}")
        say(f"ok      {what}")
    # Before training, so that a user can still fetch the missing data.
    for line in left_out:
        say(f"left out: {line}")
    status: Status = "completed"
    for study in declared:
        tried = "1 trial" if trials == 1 else f"{trials} trials"
        say(f"{study.name}: {tried} and {len(study.seeds)} seeds for each of both")
        # The other tasks still count: a failed run does not end the comparison.
        if sweep_study(study, folder / study.name, data_dir) == "failed":
            status = "failed"
    from lstm_lab.api.studies import CellComparison, StudyResult

    results = {study.name: StudyResult(folder / study.name, trust_code=True) for study in declared}
    return CellComparison(folder, results), status


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _data(data_dir: str | Path | None) -> Path:
    return use_data_dir(_path(data_dir))

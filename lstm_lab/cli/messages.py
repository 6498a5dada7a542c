"""What the command line prints at the end of a verb: a table, and the next commands.

In: results of `api/`. Out: text.
"""

from __future__ import annotations

from lstm_lab.api.runs import Run
from lstm_lab.api.seeds import Runs
from lstm_lab.results.run_files import read_result
from lstm_lab.utils.escape import visible
from lstm_lab.utils.tables import aligned


def after_training(run: Run | Runs) -> str:
    """Returns the scores of a run, or the report of several seeds, and the next commands.

    Args:
      run: what was trained.
    """
    if isinstance(run, Runs):
        # Late: matplotlib and SciPy take a second, which the end of a single run need not wait for.
        from lstm_lab.report.render.files import build

        return f"{build(run.folder)}\n\n{_next(_commands(run))}"
    record = run.record
    parts = [visible(record.headline), aligned(record.scores_table()), f"folder: {run.folder}"]
    commands = _commands(run)
    if record.status == "diverged":
        divergence = (read_result(run.folder) or {}).get("divergence")
        if divergence:
            again = f"lstm-lab train {run.folder / 'run.json'} --workdir={run.folder}"
            replay = f"{again} --replay={divergence['step']}{_trust(run)}"
            commands.append((replay, "which outputs and gradients are not finite"))
    if record.status == "completed":
        # By its record: the same settings, however the user gave them.
        again = f"lstm-lab train {run.folder / 'run.json'} --seeds=5{_trust(run)}"
        commands.append((again, "the spread over seeds"))
    return "\n\n".join([*parts, _next(commands)])


def _commands(run: Run | Runs) -> list[tuple[str, str]]:
    """Returns commands that make sense after a run, each with what it is for."""
    folder = f"--workdir={run.folder}"
    trusting = folder + _trust(run)
    commands = [(f"lstm-lab report {folder}", "curves, scores and settings as a page")]
    if run.status == "completed":
        task = run.spec.task
        if task.name == "language":
            commands.append((f"lstm-lab generate {trusting}", "text from the model"))
        commands.append((f"lstm-lab predict {trusting} --input=FILE", "predictions for new data"))
    return commands


def _trust(run: Run | Runs) -> str:
    """Returns the flag that a run with a cell or a task of the user's own needs, or nothing."""
    if isinstance(run, Run):
        # Not `spec`, which needs the weights: a run that diverged at its start has none.
        settings = run.record.settings
        own_code = ":" in f"{settings['model.cell']}{settings['task.name']}"
    else:
        own_code = run.status == "completed" and ":" in run.spec.model.cell + run.spec.task.name
    return " --trust-code" if own_code else ""


def _next(commands: list[tuple[str, str]]) -> str:
    lines = aligned([[f"  {command}", purpose] for command, purpose in commands])
    return f"next:\n{lines}"

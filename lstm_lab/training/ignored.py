"""What a command asks of a run that has ended, and only its training could have done.

In: a run with a result, and the settings and loggers of the command. Out: a line that names those
without effect. Loading a finished run is no error, but its user may wait for files that never come.
"""

from __future__ import annotations

from dataclasses import asdict

from lstm_lab.config.sections import ComputeSpec
from lstm_lab.results.run_files import read_settings
from lstm_lab.training.lanes import CohortRun
from lstm_lab.training.loggers.choose import chosen_loggers


def ignored_note(run: CohortRun) -> str | None:
    """Returns a line on settings and loggers that a finished run was trained without, or None.

    Args:
      run: a run with a result, and the settings that are asked for now.

    Example:
      ignored_note(run)  # "note: runs/first is finished, so compute.gates has no effect; ..."
    """
    # Without its record, as in an archive, nobody knows what it was trained with.
    record = read_settings(run.folder)
    if record is None:
        return None
    before, default = record["spec"].get("compute", {}), asdict(ComputeSpec())
    names = [
        f"compute.{name}"
        for name, value in asdict(run.spec.compute).items()
        # A default asks for nothing.
        if value not in (before.get(name, default[name]), default[name])
    ]
    if set(chosen_loggers().makers) - set(record.get("loggers", {})):
        names.append("log")
    if not names:
        return None
    have = "has" if len(names) == 1 else "have"
    return (
        f"note: {run.folder} is finished, so {', '.join(names)} {have} no effect; another folder "
        "(workdir) trains it again"
    )

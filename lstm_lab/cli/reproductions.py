"""The verb reproduce: a study and the published results that it is compared with.

In: flags. Out: an exit code that says whether the study's claims hold. `studies.py` trains.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lstm_lab.cli.options import named_argument, switch
from lstm_lab.cli.studies import SweepFlags, run_sweep, sweep_flags
from lstm_lab.utils.errors import DONE, FAILED, INCONCLUSIVE, UserError

# What the table of all studies reads. The other flags are about one study.
READ_BY_ALL = ("dry_run", "data_dir", "devices")


@click.command(
    epilog="""\b
Examples:
  lstm-lab reproduce digits_ablation --dry-run
  lstm-lab reproduce sentiment --workdir=runs/sentiment
  lstm-lab reproduce --all --dry-run
\b
Exit codes: 1 a claim does not hold; 3 none fails, but at least one is inconclusive."""
)
@named_argument("name", "studies")
@switch("--all", "With --dry-run, lists every study with its cost and its state, e.g. --all.")
@sweep_flags
def reproduce(name: str | None, all: bool, **flags: Any) -> int:
    """Runs a study and compares it with published results.

    NAME is a name of `lstm-lab list studies`.
    """
    if all:
        return _list_reproductions(name, SweepFlags(**flags))
    if name is None:
        raise UserError("reproduce: NAME is required: one of `lstm-lab list studies`")
    # The folder is named here: the claims are judged in the one into which `run_sweep` writes.
    folder = flags["workdir"] or Path(f"runs/{Path(name).stem}")
    chosen = replace(SweepFlags(**flags), workdir=folder)
    code = run_sweep(name, chosen)
    if code != DONE or not chosen.trains_here:
        return code
    from lstm_lab.api.studies import load_study

    verdicts = {claim.verdict for claim in load_study(folder).claims}
    if verdicts <= {"holds"}:
        return DONE
    # An inconclusive claim does not hold, but nothing speaks against it: more seeds may decide.
    return INCONCLUSIVE if verdicts <= {"holds", "inconclusive"} else FAILED


def _list_reproductions(name: str | None, flags: SweepFlags) -> int:
    # Days of training, of which most have an archive: nobody wants to start them by one word.
    if name is not None or not flags.dry_run:
        raise UserError("reproduce: --all: expected --dry-run and no name")
    for flag, value in vars(flags).items():
        # The values are the defaults of all flags.
        if flag not in READ_BY_ALL and value not in (None, False, "", "local"):
            name = flag.replace("_", "-")
            raise UserError(f"reproduce: --{name}: got {value}, expected no --{name} with --all")
    from lstm_lab.studies.overview import overview, study_states
    from lstm_lab.tasks.readers.download import use_data_dir
    from lstm_lab.training.devices import prepare_devices

    prepare_devices(flags.devices)
    print(overview(study_states(use_data_dir(flags.data_dir))))
    return DONE

"""The command line: `lstm-lab VERB`.

In: arguments. Out: an exit code (`utils/errors.py`); results on standard output, progress and
errors on standard error. Read `runs` next (train), then `studies`. This is the only package that
reads flags; the verbs call the functions of `api/`, which notebooks use too.

Importing this package does not import JAX, so `--help` answers at once. A verb imports what it
needs when it is called.
"""

from __future__ import annotations

import sys

import click

from lstm_lab.cli.argv import accepts_settings, usage_error, with_dashes
from lstm_lab.cli.benchmarks import bench
from lstm_lab.cli.data import data
from lstm_lab.cli.inference import generate, predict
from lstm_lab.cli.installation import completion, doctor
from lstm_lab.cli.listing import config, list_, show
from lstm_lab.cli.runs import check, summary, train
from lstm_lab.cli.studies import compare, pack, report, reproduce, status, sweep
from lstm_lab.utils.errors import AGAIN, DONE, INTERRUPTED, WRONG_USAGE, Interrupted, UserError
from lstm_lab.utils.progress import say

VERBS = (
    *(train, summary, config, check),
    *(compare, sweep, reproduce, status, report, pack),
    *(predict, generate),
    *(list_, show, data, doctor, completion, bench),
)
EPILOG = """\b
First steps:
  lstm-lab train adding:lstm                     train a model
  lstm-lab list configs                          what else can be trained
  lstm-lab compare peephole --tasks=digits       is a cell better than the LSTM?
  lstm-lab VERB --help                           all flags of a verb

\b
Exit codes: 0 done; 1 a run failed, or a claim does not hold; 2 wrong usage, config or
data; 3 a claim of `reproduce` is inconclusive; 75 interrupted: run the same command again
to resume."""


class _InOrder(click.Group):
    """A group that lists its verbs in the order in which users need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(
    cls=_InOrder,
    name="lstm-lab",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="lstm-lab", message="%(prog)s %(version)s")
def app() -> None:
    """Trains LSTM variants, compares them, and uses them."""


for _verb in VERBS:
    app.add_command(_verb)


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit code.

    Args:
      argv: the verb and its flags; None takes those of the process.

    Returns:
      0 done, 1 a run failed or a claim does not hold, 2 wrong usage, config or data, 3 a claim is
      inconclusive, 75 interrupted.

    Example:
      main(["summary", "adding"])
    """
    arguments = with_dashes(sys.argv[1:] if argv is None else argv)
    if arguments == ["help"]:
        arguments = ["--help"]
    try:
        settings: dict[str, str | None] = {}
        if accepts_settings(arguments) and not {"--help", "-h"} & set(arguments):
            # Late: it imports the config layer, which `--help` does not need.
            from lstm_lab.config.overrides import take_overrides

            arguments, settings = take_overrides(arguments)
        code = app.main(arguments, prog_name="lstm-lab", standalone_mode=False, obj=settings)
        return DONE if code is None else int(code)
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message())
        return WRONG_USAGE
    # Only errors that the user can fix. A bug keeps its traceback.
    except (UserError, click.ClickException) as error:
        shown = error if isinstance(error, UserError) else usage_error(error)
        say(f"lstm-lab: {' '.join(str(shown).split())}")
        return WRONG_USAGE
    except (Interrupted, click.Abort):
        say(AGAIN)
        return INTERRUPTED

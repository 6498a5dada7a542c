"""All verbs of the command line, in the order in which users need them.

In: nothing. Out: `app`, the click group that `lstm_lab.cli.main` calls. Importing this module does
not import JAX, so `--help` answers at once. A verb imports what it needs when it is called. Read
`runs` next (train), then `studies`.
"""

from __future__ import annotations

import click

from lstm_lab.cli.benchmarks import bench
from lstm_lab.cli.compilation import compile_
from lstm_lab.cli.data import data
from lstm_lab.cli.inference import card, explain, generate, predict
from lstm_lab.cli.installation import completion, doctor
from lstm_lab.cli.interop import export, import_
from lstm_lab.cli.listing import config, list_, show
from lstm_lab.cli.reproductions import reproduce
from lstm_lab.cli.runs import check, summary, train
from lstm_lab.cli.studies import compare, pack, report, status, sweep

VERBS = (
    *(train, summary, config, check, compile_),
    *(compare, sweep, reproduce, status, report, pack),
    *(predict, generate, explain, card, export, import_),
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
to resume; 130 interrupted; 141 the reader of the output has ended."""


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

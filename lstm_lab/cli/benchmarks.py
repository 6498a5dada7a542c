"""The verb bench: timings compared with other libraries.

In: the name of a suite. Out: a JSON file of all times and a Markdown file of tables. Read
`bench/cases.py` next (what is timed), then `bench/run.py` (how).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import click

from lstm_lab.cli.options import COUNT, OneOf, data_dir, flag
from lstm_lab.utils.errors import DONE, UserError, unknown

SUITES = ("layer", "train", "population", "trials", "backends", "errors")


@dataclass(frozen=True)
class BenchFlags:
    """The flags of `bench`."""

    suite: str
    contenders: str | None
    out: Path | None
    table: Path | None
    data_dir: Path | None
    rounds: int
    milliseconds: int
    trials: int
    epochs: int

    @property
    def output_path(self) -> Path:
        """The JSON file of the timings; the tables go next to it, as Markdown."""
        return self.out or Path(f"bench_{self.suite}.json")


def _number(name: str, help_text: str, default: int) -> Callable[[Any], Any]:
    return flag(name, help_text, metavar="N", type=COUNT, default=default, show_default=True)


@click.command(
    epilog="""\b
Examples:
  lstm-lab bench --suite=layer --contenders=lstm_lab,flax
  lstm-lab bench --suite=backends --table=timings.json"""
)
@flag(
    "--suite",
    "What is timed, e.g. --suite=train.",
    type=OneOf(SUITES),
    default="layer",
    show_default=True,
)
@flag(
    "--contenders",
    "The libraries to time, e.g. --contenders=lstm_lab,torch. By default all that are installed.",
    metavar="A,B",
)
@flag(
    "--out",
    "The JSON file of the times, e.g. --out=layer.json; the tables go next to it.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
@flag(
    "--table",
    "The table of times from which `auto` chooses, to update, e.g. --table=timings.json.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
@data_dir
@_number("--rounds", "Rounds, whose medians count, e.g. --rounds=3.", 5)
@_number("--milliseconds", "Time of a turn in milliseconds, e.g. --milliseconds=200.", 500)
@_number("--trials", "Trials of the suite trials, e.g. --trials=8.", 16)
@_number("--epochs", "Epochs of the suite trials, e.g. --epochs=10.", 30)
def bench(**values: Any) -> int:
    """Times lstm_lab next to other libraries."""
    from lstm_lab.bench import errors, table, timings
    from lstm_lab.bench.cases import SUITES as CASE_SUITES
    from lstm_lab.utils.files import write_json, write_text

    flags = BenchFlags(**values)
    runs: dict[str, Callable[[BenchFlags], dict[str, Any]]] = {
        **dict.fromkeys(CASE_SUITES, _bench_cases),
        "errors": _bench_errors,
        "trials": _bench_trials,
    }
    # Before the suite runs, which takes many minutes.
    if flags.table and flags.suite != "backends":
        raise UserError(f"--table: got suite {flags.suite}, expected backends")
    out = flags.output_path
    result = runs[flags.suite](flags)
    text = (errors if flags.suite == "errors" else table).markdown(result)
    write_json(out, result)
    write_text(out.with_suffix(".md"), text + "\n")
    if flags.table:
        timings.update_timings(flags.table, result)
    print(text)
    print(f"\nwritten: {out}, {out.with_suffix('.md')}")
    return DONE


def _contenders(flags: BenchFlags, default: Sequence[str], allowed: Sequence[str]) -> list[str]:
    names = flags.contenders.split(",") if flags.contenders else list(default)
    for name in names:
        if name not in allowed:
            raise unknown("--contenders", name, allowed)
    return names


def _bench_cases(flags: BenchFlags) -> dict[str, Any]:
    from lstm_lab.bench.cases import Suite, cases
    from lstm_lab.bench.contenders import ALL, default_contenders
    from lstm_lab.bench.run import device, run_suite
    from lstm_lab.utils.files import write_json
    from lstm_lab.utils.progress import Meter

    suite = cast(Suite, flags.suite)  # `bench` has checked it
    platform = device()["platform"]
    names = _contenders(flags, default_contenders(suite, platform), ALL)
    with Meter(len(cases(suite, platform)), "cases") as meter:
        return run_suite(
            suite,
            names,
            rounds=flags.rounds,
            seconds=flags.milliseconds / 1e3,
            meter=meter,
            keep=partial(write_json, flags.output_path),
        )


def _bench_errors(flags: BenchFlags) -> dict[str, Any]:
    from lstm_lab.bench.errors import CONTENDERS, cases, run_errors
    from lstm_lab.utils.progress import Meter

    with Meter(len(cases()), "cases") as meter:
        return run_errors(_contenders(flags, CONTENDERS, CONTENDERS), meter)


def _bench_trials(flags: BenchFlags) -> dict[str, Any]:
    from lstm_lab.bench.trials import CONTENDERS, run_trials
    from lstm_lab.config.find import find_file
    from lstm_lab.studies.load import load_study
    from lstm_lab.tasks.readers.download import use_data_dir
    from lstm_lab.utils.progress import Meter

    path = find_file("experiments", "odyssey_jsb", "study")
    names = _contenders(flags, CONTENDERS, CONTENDERS)
    with Meter(flags.rounds * len(names), "turns") as meter:
        return run_trials(
            path,
            load_study(str(path)),
            use_data_dir(flags.data_dir),
            names,
            trials=flags.trials,
            epochs=flags.epochs,
            rounds=flags.rounds,
            meter=meter,
        )

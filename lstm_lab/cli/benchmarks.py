"""The verb bench: timings compared with other libraries.

In: the name of a suite, and shapes, cells and kinds of work of the user's own. Out: a JSON file of
all times, a Markdown file of tables, and a page with a chart. Read `bench/cases.py` next (what is
timed), then `bench/run.py` (how).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from click.core import ParameterSource

from lstm_lab.cli.options import COUNT, Folder, OneOf, data_dir, flag, switch
from lstm_lab.utils.errors import DONE, UserError, unknown

if TYPE_CHECKING:
    from lstm_lab.bench.choice import CaseChoice
    from lstm_lab.bench.plan import Plan

SUITES = (
    "layer",
    "train",
    "population",
    "cells",
    "costs",
    "trials",
    "backends",
    "errors",
    "streaming",
)
# Where results go, and where data come from: not what is timed.
PLACES = ("out", "page", "resume", "limit", "dry_run", "data_dir")
# The suites whose cases the user can change.
WITH_CASES = ("layer", "train", "population", "cells", "costs", "backends", "streaming")


@dataclass(frozen=True)
class CaseFlags:
    """The flags of `bench` that change the cases of a suite."""

    shapes: str | None
    work: str | None
    cell: str | None
    layers: int | None
    bidirectional: bool
    ragged: bool
    members: int | None
    vocabulary: int | None

    @property
    def first(self) -> str | None:
        """The first of these flags that the user set, or None."""
        names = [field.name for field in fields(self)]
        return next((f"--{name}" for name in names if getattr(self, name)), None)


@dataclass(frozen=True)
class BenchFlags:
    """The other flags of `bench`."""

    suite: str
    contenders: str | None
    out: Path | None
    page: Path | None
    table: Path | None
    data_dir: Path | None
    rounds: int
    milliseconds: int
    trials: int
    epochs: int
    default_memory: bool
    dry_run: bool
    resume: bool
    limit: int | None
    collect: Path | None

    @property
    def output_path(self) -> Path:
        """The JSON file of the timings; the tables go next to it, as Markdown."""
        return self.out or Path(f"bench_{self.suite}.json")


def _number(name: str, help_text: str, default: int | None = None) -> Callable[[Any], Any]:
    shown = default is not None
    return flag(name, help_text, metavar="N", type=COUNT, default=default, show_default=shown)


def _case_flags(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Declares the flags of `CaseFlags`."""
    for declare in reversed(
        (
            flag(
                "--shapes",
                "Shapes BxTxDxH (rows, steps, inputs, hidden units) in place of those of the "
                "suite, e.g. --shapes=32x64x64x128,20x35x650x650.",
                metavar="A,B",
            ),
            flag(
                "--work",
                "Kinds of work of the suite, e.g. --work=gradient or --work=language,tagger. By "
                "default all.",
                metavar="A,B",
            ),
            flag(
                "--cell",
                "Variants in place of lstm; `all` are those of the suite, e.g. "
                "--cell=gru,my_cell.py:CELL.",
                metavar="A,B",
            ),
            _number("--layers", "Layers of every case, e.g. --layers=3."),
            switch("--bidirectional", "Both directions in every case, e.g. --bidirectional."),
            switch("--ragged", "Rows of different length in every case, e.g. --ragged."),
            _number("--members", "Members of a population, e.g. --members=64."),
            _number("--vocabulary", "Words of a model, e.g. --vocabulary=50000."),
        )
    ):
        verb = declare(verb)
    return verb


@click.command(
    epilog="""\b
Examples:
  lstm-lab bench --suite=layer --contenders=lstm_lab,flax
  lstm-lab bench --shapes=48x90x200x384 --layers=2 --bidirectional --ragged
  lstm-lab bench --suite=train --work=language --shapes=20x35x400x650 --vocabulary=30000
  lstm-lab bench --suite=cells --cell=all,my_cell.py:CELL
  lstm-lab bench --suite=train --dry-run
  lstm-lab bench --suite=backends --table=timings.json
  lstm-lab bench --suite=errors --limit=60 --resume
  lstm-lab bench --collect=runs/gpu"""
)
@flag(
    "--suite",
    "What is timed: layers, training steps of whole models, populations, all cells on all "
    "backends, costs (start, compilation, memory), one step of a stream, whole trials, e.g. "
    "--suite=train.",
    type=OneOf(SUITES),
    default="layer",
    show_default=True,
)
@_case_flags
@flag(
    "--contenders",
    "The libraries to time, e.g. --contenders=lstm_lab,torch. By default all that are installed.",
    metavar="A,B",
)
@_number("--rounds", "Rounds, whose medians count, e.g. --rounds=3.", 5)
@_number("--milliseconds", "Time of a turn in milliseconds, e.g. --milliseconds=200.", 500)
@switch(
    "--default-memory",
    "Leaves out the second measurement with glibc's memory settings, e.g. --default-memory.",
)
@switch("--dry-run", "Shows cases, contenders and the time they need, e.g. --dry-run.")
@switch("--resume", "Continues at the missing cases of the file of --out, e.g. --resume.")
@_number("--limit", "Starts no case that would end after N seconds, e.g. --limit=120.")
@flag(
    "--out",
    "The JSON file of the times, e.g. --out=layer.json; the tables go next to it.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
@flag(
    "--page",
    "A folder for a Markdown page with tables and a chart, e.g. --page=measurements.",
    metavar="DIR",
    type=Folder(),
)
@flag(
    "--table",
    "The table of times from which `auto` chooses, to update, e.g. --table=timings.json.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
@flag(
    "--collect",
    "Prints the tables of all results in a folder, and measures nothing, e.g. --collect=runs/gpu. "
    "With --out=FILE.md they replace what is between the marks of that file.",
    metavar="DIR",
    type=Folder(),
)
@data_dir
@_number("--trials", "Trials of the suite trials, e.g. --trials=8.", 16)
@_number("--epochs", "Epochs of the suite trials, e.g. --epochs=10.", 30)
def bench(**values: Any) -> int:
    """Times lstm_lab next to other libraries."""
    from lstm_lab.bench import collect, page, timings
    from lstm_lab.utils.files import write_json, write_text

    case_flags = CaseFlags(**{field.name: values.pop(field.name) for field in fields(CaseFlags)})
    flags = BenchFlags(**values)
    if flags.collect:
        return _collect(flags.collect, flags.out)
    # Before the suite runs, which takes many minutes.
    _check(flags, case_flags)
    if flags.suite in WITH_CASES:
        plan = _plan(flags, case_flags)
        if flags.dry_run:
            return _show(plan)
        result = _bench_cases(flags, plan)
    else:
        result = _bench_errors(flags) if flags.suite == "errors" else _bench_trials(flags)
    out, text = flags.output_path, collect.tables(result)
    write_json(out, result)
    write_text(out.with_suffix(".md"), text + "\n")
    written = [out, out.with_suffix(".md")]
    if flags.table:
        timings.update_timings(flags.table, result)
    if flags.page:
        written += page.write_page(flags.page, result, text)
    print(text)
    print(f"\nwritten: {', '.join(map(str, written))}")
    return DONE


def _check(flags: BenchFlags, case_flags: CaseFlags) -> None:
    """Raises UserError for flags that exclude each other."""
    if flags.table and flags.suite != "backends":
        raise UserError(f"--table: got suite {flags.suite}, expected backends")
    # The table would lose the rows that are not timed.
    if flags.table and case_flags.first:
        raise UserError(f"--table: got {case_flags.first}, expected the suite's own cases")
    if flags.suite in WITH_CASES:
        return
    continued = (*WITH_CASES, "errors")
    for name, value, suites in (
        (case_flags.first, True, WITH_CASES),
        ("--dry-run", flags.dry_run, WITH_CASES),
        ("--resume", flags.resume, continued),
        ("--limit", flags.limit, continued),
    ):
        if name and value and flags.suite not in suites:
            expected = ", ".join(suites)
            raise UserError(f"{name}: got --suite={flags.suite}, expected one of {expected}")


def _collect(folder: Path, document: Path | None) -> int:
    """Prints the tables of a folder's results, or puts them into a document."""
    from lstm_lab.bench.collect import collected, replace_between_marks

    if others := [word for word in _given_flags() if not word.startswith(("--collect", "--out"))]:
        raise UserError(f"--collect: got {others[0]}, expected --out alone")
    text = collected(folder)
    if document is None:
        print(text)
        return DONE
    replace_between_marks(document, text)
    print(f"written: {document}")
    return DONE


def _show(plan: Plan) -> int:
    from lstm_lab.bench.plan import listing

    print(listing(plan))
    return DONE


def _contenders(flags: BenchFlags, default: Sequence[str], allowed: Sequence[str]) -> list[str]:
    names = flags.contenders.split(",") if flags.contenders else list(default)
    for name in names:
        if name not in allowed:
            raise unknown("--contenders", name, allowed)
    return names


def _choice(flags: CaseFlags) -> CaseChoice:
    from lstm_lab.bench.choice import CaseChoice, parse_shapes, parse_words

    return CaseChoice(
        shapes=() if flags.shapes is None else parse_shapes(flags.shapes),
        works=parse_words(flags.work),
        cells=parse_words(flags.cell),
        layers=flags.layers,
        members=flags.members,
        vocabulary=flags.vocabulary,
        bidirectional=flags.bidirectional,
        ragged=flags.ragged,
    )


def _plan(flags: BenchFlags, case_flags: CaseFlags) -> Plan:
    """Returns what a suite runs."""
    from lstm_lab.bench.cases import Suite
    from lstm_lab.bench.choice import chosen_cases
    from lstm_lab.bench.contenders import ALL, default_contenders
    from lstm_lab.bench.machine import device
    from lstm_lab.bench.plan import CPU, GPU, make_plan

    suite = cast(Suite, flags.suite)
    choice = _choice(case_flags)
    platform = device()["platform"]
    # What the suites `backends` and `cells` compare are backends, which a setting of glibc would
    # not change; a new process for each measurement of `costs` has the defaults.
    compared = suite in ("layer", "train", "population") and platform == "cpu"
    return make_plan(
        suite,
        chosen_cases(suite, platform, choice),
        _contenders(flags, default_contenders(suite, platform), ALL),
        memory_settings=compared and not flags.default_memory,
        rounds=flags.rounds,
        seconds=flags.milliseconds / 1e3,
        speed=GPU if platform == "gpu" else CPU,
    )


def _bench_cases(flags: BenchFlags, plan: Plan) -> dict[str, Any]:
    from lstm_lab.bench.costs import run_costs
    from lstm_lab.bench.run import new_result, resumed, run_suite
    from lstm_lab.utils.files import write_json
    from lstm_lab.utils.progress import Meter, say

    out = flags.output_path
    result = new_result(plan, _command())
    if flags.resume:
        result = resumed(out, result)
    run = run_costs if plan.suite == "costs" else run_suite
    try:
        with Meter(len(plan.cases), "cases") as meter:
            return run(
                plan,
                result,
                meter=meter,
                keep=lambda partial: write_json(out, partial),
                limit=math.inf if flags.limit is None else flags.limit,
            )
    except KeyboardInterrupt:
        if result["done"]:
            say(f"{len(result['done'])} cases are in {out}; --resume continues")
        raise


def _command() -> str:
    """Returns the command of this process, without the places of its results."""
    return " ".join(["lstm-lab", "bench", *map(shlex.quote, _given_flags(PLACES))])


def _given_flags(without: Sequence[str] = ()) -> list[str]:
    """Returns the flags of this process as on the command line, except some names."""
    context = click.get_current_context()
    words = []
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and name not in without:
            value = context.params[name]
            words.append(parameter.opts[0] if value is True else f"{parameter.opts[0]}={value}")
    return words


def _bench_errors(flags: BenchFlags) -> dict[str, Any]:
    from lstm_lab.bench.errors import CONTENDERS, cases, new_errors, run_errors
    from lstm_lab.bench.run import resumed
    from lstm_lab.utils.files import write_json
    from lstm_lab.utils.progress import Meter

    out = flags.output_path
    result = new_errors(_contenders(flags, CONTENDERS, CONTENDERS), _command())
    if flags.resume:
        result = resumed(out, result)
    limit = math.inf if flags.limit is None else flags.limit
    with Meter(len(cases()), "cases") as meter:
        return run_errors(result, meter, lambda partial: write_json(out, partial), limit)


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

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

from lstm_lab.cli.flags import data_folder, parse
from lstm_lab.utils.errors import DONE, UserError, unknown


@dataclass(frozen=True)
class BenchFlags:
    """Flags of `bench`; `lstm-lab help` explains the common ones."""

    suite: str = "layer"
    contenders: str | None = None
    out: str | None = None
    table: str | None = None
    data_dir: str | None = None
    rounds: int = 5
    milliseconds: int = 500
    trials: int = 16
    epochs: int = 30

    @property
    def output_path(self) -> Path:
        """The JSON file of the timings; the tables go next to it, as Markdown."""
        return Path(self.out or f"bench_{self.suite}.json")


def bench(argv: list[str]) -> int:
    """Times a suite, writes the results, and prints their tables.

    Args:
      argv: the arguments after the verb, see `BenchFlags`.

    Raises:
      UserError: for a wrong flag, suite or contender.
    """
    from lstm_lab.bench import errors, table, timings
    from lstm_lab.bench.cases import SUITES
    from lstm_lab.utils.files import write_json, write_text

    flags = parse(argv, BenchFlags)
    runs: dict[str, Callable[[BenchFlags], dict[str, Any]]] = {
        **dict.fromkeys(SUITES, _bench_cases),
        "errors": _bench_errors,
        "trials": _bench_trials,
    }
    if flags.suite not in runs:
        raise unknown("--suite", flags.suite, runs)
    # Before the suite runs, which takes many minutes.
    if flags.table and flags.suite != "backends":
        raise UserError(f"--table: got suite {flags.suite}, expected backends")
    out = flags.output_path
    result = runs[flags.suite](flags)
    text = (errors if flags.suite == "errors" else table).markdown(result)
    write_json(out, result)
    write_text(out.with_suffix(".md"), text + "\n")
    if flags.table:
        timings.update_timings(Path(flags.table), result)
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
    from lstm_lab.sweep.load import find_study, load_study
    from lstm_lab.utils.progress import Meter

    path, names = find_study("odyssey_jsb"), _contenders(flags, CONTENDERS, CONTENDERS)
    with Meter(flags.rounds * len(names), "turns") as meter:
        return run_trials(
            path,
            load_study(path),
            data_folder(flags.data_dir),
            names,
            trials=flags.trials,
            epochs=flags.epochs,
            rounds=flags.rounds,
            meter=meter,
        )

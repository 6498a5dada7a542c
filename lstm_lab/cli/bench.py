"""The verb bench: timings beside peers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lstm_lab.cli.flags import data_folder, parse
from lstm_lab.utils.errors import DONE, UserError, unknown


def bench(argv: list[str]) -> int:
    """Timings beside peers."""
    from lstm_lab.bench import errors, table, timings
    from lstm_lab.bench.cases import SUITES
    from lstm_lab.utils.files import write_json, write_text

    strings = {"suite": "layer", "contenders": None, "out": None, "table": None, "data_dir": None}
    given = parse(argv, strings, rounds=5, milliseconds=500, trials=16, epochs=30)
    runs: dict[str, Callable[[Any], dict[str, Any]]] = {
        **dict.fromkeys(SUITES, _bench_cases),
        "errors": _bench_errors,
        "trials": _bench_trials,
    }
    if given.suite not in runs:
        raise unknown("--suite", given.suite, runs)
    if given.table and given.suite != "backends":
        raise UserError(f"--table: got suite {given.suite}, expected backends")
    given.out = given.out or f"bench_{given.suite}.json"
    out = Path(given.out)
    result = runs[given.suite](given)
    text = (errors if given.suite == "errors" else table).markdown(result)
    write_json(out, result)
    write_text(out.with_suffix(".md"), text + "\n")
    if given.table:
        timings.update_timings(Path(given.table), result)
    print(text)
    print(f"\nwritten: {out}, {out.with_suffix('.md')}")
    return DONE


def _contenders(given: Any, default: Sequence[str], allowed: Sequence[str]) -> list[str]:
    names = given.contenders.split(",") if given.contenders else list(default)
    for name in names:
        if name not in allowed:
            raise unknown("--contenders", name, allowed)
    return names


def _bench_cases(given: Any) -> dict[str, Any]:
    from lstm_lab.bench.cases import cases
    from lstm_lab.bench.contenders import ALL, default_contenders
    from lstm_lab.bench.run import device, run_suite
    from lstm_lab.utils.files import write_json
    from lstm_lab.utils.progress import Meter

    platform = device()["platform"]
    names = _contenders(given, default_contenders(given.suite, platform), ALL)
    with Meter(len(cases(given.suite, platform)), "cases") as meter:
        return run_suite(
            given.suite,
            names,
            rounds=given.rounds,
            seconds=given.milliseconds / 1e3,
            meter=meter,
            keep=partial(write_json, Path(given.out)),
        )


def _bench_errors(given: Any) -> dict[str, Any]:
    from lstm_lab.bench.errors import CONTENDERS, cases, run_errors
    from lstm_lab.utils.progress import Meter

    with Meter(len(cases()), "cases") as meter:
        return run_errors(_contenders(given, CONTENDERS, CONTENDERS), meter)


def _bench_trials(given: Any) -> dict[str, Any]:
    from lstm_lab.bench.trials import CONTENDERS, run_trials
    from lstm_lab.sweep.load import find_study, load_study
    from lstm_lab.utils.progress import Meter

    path, names = find_study("odyssey_jsb"), _contenders(given, CONTENDERS, CONTENDERS)
    with Meter(given.rounds * len(names), "turns") as meter:
        return run_trials(
            path,
            load_study(path),
            data_folder(given.data_dir),
            names,
            trials=given.trials,
            epochs=given.epochs,
            rounds=given.rounds,
            meter=meter,
        )

"""The verb bench: timings beside peers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstm_lab.cli.flags import data_folder, parse
from lstm_lab.errors import DONE, unknown


def bench(argv: list[str]) -> int:
    """Timings beside peers."""
    from lstm_lab.bench.cases import SUITES
    from lstm_lab.bench.table import markdown
    from lstm_lab.files import write_json, write_text

    strings = {"suite": "layer", "contenders": None, "out": None, "data_dir": None}
    given = parse(argv, strings, rounds=5, milliseconds=500, trials=16, epochs=30)
    if given.suite not in (*SUITES, "trials"):
        raise unknown("--suite", given.suite, (*SUITES, "trials"))
    out = Path(given.out or f"bench_{given.suite}.json")
    result = _bench_trials(given) if given.suite == "trials" else _bench_cases(given)
    write_json(out, result)
    write_text(out.with_suffix(".md"), markdown(result) + "\n")
    print(markdown(result))
    print(f"\nwritten: {out}, {out.with_suffix('.md')}")
    return DONE


def _bench_trials(given: Any) -> dict[str, Any]:
    from lstm_lab import studies
    from lstm_lab.bench.trials import CONTENDERS, run_trials
    from lstm_lab.progress import Meter

    path, names = studies.find("odyssey_jsb"), _contenders(given, CONTENDERS)
    with Meter(given.rounds * len(names), "turns") as meter:
        return run_trials(
            path,
            studies.load(path),
            data_folder(given.data_dir),
            names,
            trials=given.trials,
            epochs=given.epochs,
            rounds=given.rounds,
            meter=meter,
        )


def _contenders(given: Any, allowed: Sequence[str]) -> list[str]:
    names = given.contenders.split(",") if given.contenders else list(allowed)
    for name in names:
        if name not in allowed:
            raise unknown("--contenders", name, allowed)
    return names


def _bench_cases(given: Any) -> dict[str, Any]:
    from lstm_lab.bench.cases import cases
    from lstm_lab.bench.contenders import NEEDS
    from lstm_lab.bench.run import run_suite
    from lstm_lab.progress import Meter

    names = _contenders(given, tuple(NEEDS))
    with Meter(len(cases(given.suite))) as meter:
        return run_suite(
            given.suite, names, rounds=given.rounds, seconds=given.milliseconds / 1e3, meter=meter
        )

"""The command line: `lstm-lab VERB`. The only file that reads flags."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from lstm_lab.errors import AGAIN, DONE, FAILED, INTERRUPTED, WRONG_USAGE, UserError, unknown
from lstm_lab.progress import say

USAGE = """lstm-lab VERB [flags]

  train    --config=FILE.py[:WORDS] [--config.PATH=VALUE ...] [--seeds=N] [--workdir=DIR]
           one run, or N seeds as one program; goes on by itself where it was stopped;
           --hosts=K/N@ADDRESS:PORT on each of N hosts, or --hosts=auto: one run over all
  sweep    --study=FILE.py [--workdir=DIR] [--jobs=N] [--results=FILE] [--rerun=failed] [--dry_run]
           a study; runs only what is missing, by N processes that share the cores;
           --launcher=slurm --slurm=timeout_min=60,... as a job array of N; --emit=commands
           prints N command lines for another scheduler
  reproduce NAME [--trials=N] [and what sweep takes]
           a study of experiments/ that carries published figures; 1 if a claim does not hold
  pack     --workdir=DIR --out=FILE.jsonl.gz   a study's results as one file, for --results
  status   --workdir=DIR     what is done, running, failed and why; what is left
  report   --workdir=DIR     table, statistics and pictures of a study
  summary  --config=FILE.py  layers, shapes, parameters and arithmetic of a model
  check    --cell=NAME or FILE.py:NAME   gradients, lengths, chunks and backends of a cell
  bench    --suite=layer|train|population [--contenders=A,B] [--rounds=N] [--out=FILE.json]
           timings beside the libraries that are installed; FILE.md holds the tables;
           --suite=trials [--trials=N] [--epochs=N]: the Odyssey's trials, end to end

  --data_dir=DIR  where data sets are (default: $LSTM_LAB_DATA, or the user's cache)
  --devices=N     CPU cores to use as devices (default: all)

A config may also be the run.json of an earlier run. Exit codes: 0 done, 1 a run failed,
2 wrong usage, config or data, 75 interrupted: run it again to go on."""


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns the exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("help", "--help", "-h"):
        print(USAGE)
        return DONE if arguments else WRONG_USAGE
    verb, *rest = arguments
    try:
        if verb not in VERBS:
            raise unknown("verb", verb, VERBS)
        return VERBS[verb](rest)
    except (UserError, flags.Error) as error:
        say(f"lstm-lab: {' '.join(str(error).split())}")
        return WRONG_USAGE


# ---- flags


def _parse(argv: list[str], strings: Mapping[str, str | None], **integers: int | None) -> Any:
    """Parses a verb's flags; nothing may be left over."""
    values = flags.FlagValues()
    for name, default in strings.items():
        flags.DEFINE_string(name, default, "", flag_values=values)
    for name, number in integers.items():
        flags.DEFINE_integer(name, number, "", lower_bound=1, flag_values=values)
    for name in ("dry_run", "worker"):
        flags.DEFINE_bool(name, False, "", flag_values=values)
    left = values(["lstm-lab", *argv])[1:]
    if left:
        raise UserError(f"arguments: found {left[0]!r}, allowed flags only, as --name=value")
    return values


def _spec(config: str | None, overrides: dict[str, str | None]) -> Any:
    """Loads a config file or a run.json, applies overrides, and builds the spec."""
    from lstm_lab.config import build_spec, from_json
    from lstm_lab.files import read_json
    from lstm_lab.overrides import apply_overrides

    if config is None:
        raise UserError("--config: missing, allowed FILE.py[:WORDS] or a run.json")
    path = Path(config)
    if path.suffix == ".json":
        data = read_json(path)
        if not isinstance(data, dict) or "spec" not in data:
            raise UserError(f"--config: {path} is no run.json")
        # A changed cell is refused unless another one is chosen.
        spec = data["spec"]
        return from_json(apply_overrides(spec, overrides) if overrides else spec)
    return build_spec(apply_overrides(_load_config(config), overrides))


def _load_config(argument: str) -> Any:
    """Runs a config file's get_config, with the words after the colon where there are any."""
    from lstm_lab.config import load_module

    file, _, words = argument.partition(":")
    get_config = getattr(load_module(Path(file), "--config"), "get_config", None)
    if not callable(get_config):
        raise UserError(f"--config: {file} has no get_config()")
    try:
        return get_config(words) if words else get_config()
    except TypeError as error:
        raise UserError(f"--config: {file}: get_config does not run: {error}") from error


def _data_dir(given: str | None) -> Path:
    from lstm_lab.tasks.download import default_data_dir

    return Path(given) if given else default_data_dir()


def _request_devices(count: int | None) -> None:
    """Makes CPU cores devices, before JAX is used."""
    from lstm_lab.train.parallel import keep_compiled_programs, request_cpu_devices

    keep_compiled_programs()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    request_cpu_devices(count or cores or 1)


# ---- verbs


def train(argv: list[str]) -> int:
    """One run, or several seeds as one program."""
    from lstm_lab.overrides import take_overrides
    from lstm_lab.train import hosts

    argv, overrides = take_overrides(argv)
    strings = dict.fromkeys(("config", "workdir", "data_dir", "hosts"))
    given = _parse(argv, strings, seeds=None, devices=None)
    _request_devices(given.devices)
    if given.hosts is not None:
        if given.seeds is not None:
            raise UserError("--seeds: several hosts train one run; sweep gives each its own")
        hosts.join(given.hosts)
    spec = _spec(given.config, overrides)
    data_dir = _data_dir(given.data_dir)
    shown = {path: "true" if text is None else text for path, text in overrides.items()}
    if given.seeds is None:
        return _train_one(spec, given.workdir, data_dir, shown)
    from lstm_lab import studies
    from lstm_lab.config import to_json
    from lstm_lab.sweep.study import Study

    seeds = tuple(range(spec.seed, spec.seed + given.seeds))
    name = f"{spec.task.name}-{Path(spec.model.cell.replace(':', '-')).name}-{given.seeds}seeds"
    folder = Path(given.workdir or f"runs/{name}")
    return studies.run(Study(name, to_json(spec), (), seeds), folder, data_dir, overrides=shown)


def _train_one(spec: Any, workdir: str | None, data_dir: Path, overrides: dict[str, str]) -> int:
    from lstm_lab.files import read_json
    from lstm_lab.identity import run_id
    from lstm_lab.train import hosts
    from lstm_lab.train.loop import stopping_on_signals, train_run

    cell = Path(spec.model.cell.replace(":", "-")).name
    folder = Path(workdir or f"runs/{spec.task.name}-{cell}-{run_id(spec)}")
    with stopping_on_signals() as stop:
        outcome = train_run(spec, folder, data_dir, stop=stop, overrides=overrides)
    if outcome.status == "interrupted":
        say(AGAIN)
        return INTERRUPTED
    if outcome.status != "completed":
        return FAILED
    result = hosts.told(lambda: read_json(folder / "result.json"))
    if hosts.first():
        _show(folder, result)
    return DONE if result["status"] == "completed" else FAILED


def _show(folder: Path, result: dict[str, Any]) -> None:
    """Prints how a run ended."""
    print(f"workdir     {folder}")
    print(
        f"status      {result['status']} after {result['steps']} steps in {result['wall_s']:.1f} s"
    )
    for split, values in (("valid", result["best"]["valid"]), ("test", result["test"])):
        shown = "  ".join(f"{name} {value:.5f}" for name, value in values.items())
        print(f"{split:<11} {shown}  (best checkpoint, step {result['best']['step']})")


def sweep(argv: list[str]) -> int:
    """A study."""
    from lstm_lab import studies

    strings = dict.fromkeys(
        ("study", "workdir", "data_dir", "rerun", "results", "launcher", "emit")
    )
    given = _parse(argv, {**strings, "slurm": ""}, devices=None, jobs=None, trials=None)
    if given.study is None:
        raise UserError("--study: missing, allowed a Python file with get_study()")
    for name, allowed in (
        ("rerun", (None, "failed")),
        ("launcher", (None, "local", "slurm")),
        ("emit", (None, "commands")),
    ):
        if given[name].value not in allowed:
            found = given[name].value
            raise unknown(f"--{name}", found, [one for one in allowed if one])
    spread = given.jobs or given.launcher == "slurm" or given.emit
    if not spread:
        _request_devices(given.devices)
    study = studies.load(Path(given.study), given.trials)
    folder, data_dir = Path(given.workdir or f"runs/{study.name}"), _data_dir(given.data_dir)
    if given.dry_run:
        from lstm_lab.sweep.preview import preview

        print(preview(study, data_dir))
        return DONE
    if given.rerun:
        studies.forget_failures(folder)
    if not spread:
        results = Path(given.results) if given.results else None
        return studies.run(study, folder, data_dir, worker=given.worker, results=results)
    shared = [f"--study={given.study}", f"--workdir={folder}", f"--data_dir={data_dir}"]
    for name in ("trials", "results"):
        if given[name].value is not None:
            shared.append(f"--{name}={given[name].value}")
    if given.launcher == "slurm" or given.emit:
        options = None if given.emit else given.slurm
        return studies.hand_out(study, folder, given.jobs or 1, shared, options)
    return studies.run_jobs(study, folder, given.jobs, shared)


def reproduce(argv: list[str]) -> int:
    """A study of experiments/, by its name."""
    from lstm_lab import studies

    if not argv or argv[0].startswith("-"):
        raise UserError("reproduce: missing the study's name, such as odyssey_jsb")
    name, *rest = argv
    given = [a.partition("=")[2] for a in rest if a.startswith("--workdir=")]
    folder = Path(given[-1]) if given else Path(f"runs/{name}")
    code = sweep([f"--study={studies.find(name)}", *rest, f"--workdir={folder}"])
    if code != DONE or not (folder / "study.json").is_file():
        return code  # a preview or commands, which leave nothing
    return DONE if studies.claims_hold(folder) else FAILED


def pack(argv: list[str]) -> int:
    """A study's results as one file."""
    from lstm_lab.sweep import archive

    given = _parse(argv, {"workdir": None, "out": None})
    if given.workdir is None or given.out is None:
        raise UserError("pack: --workdir and --out are needed, a study and FILE.jsonl.gz")
    print(f"{archive.pack(Path(given.workdir), Path(given.out))} runs: {given.out}")
    return DONE


def status(argv: list[str]) -> int:
    """How far a study or a run is."""
    from lstm_lab.sweep.status import describe

    print("\n".join(describe(_workdir(argv))))
    return DONE


def report(argv: list[str]) -> int:
    """A study's report."""
    from lstm_lab.report.build import build

    folder = _workdir(argv)
    print(f"{build(folder)}\n\nreport: {folder / 'report' / 'report.html'}")
    return DONE


def _workdir(argv: list[str]) -> Path:
    given = _parse(argv, {"workdir": None})
    if given.workdir is None:
        raise UserError("--workdir: missing, allowed the folder of a study")
    return Path(given.workdir)


def summary(argv: list[str]) -> int:
    """A model's parts."""
    from lstm_lab.overrides import take_overrides
    from lstm_lab.summary import layers
    from lstm_lab.tables import aligned

    argv, overrides = take_overrides(argv)
    given = _parse(argv, {"config": None})
    found = layers(_spec(given.config, overrides))
    lines = [["layer", "output", "parameters", "FLOP a step", ""]]
    for layer in found:
        flops = f"{layer.flops_per_token:,.0f}"
        lines.append([layer.name, layer.output, f"{layer.total:,}", flops, ""])
        for name, shape, count, purpose in layer.arrays:
            lines.append([f"  {name}", shape.replace(" ", ""), f"{count:,}", "", purpose])
    total, flops = (sum(getattr(layer, n) for layer in found) for n in ("total", "flops_per_token"))
    print(aligned([*lines, ["total", "", f"{total:,}", f"{flops:,.0f}", ""]]))
    print("\nFLOP of the matrix products of a forward pass, a time step of a sequence")
    return DONE


def check(argv: list[str]) -> int:
    """A cell's gradients, and what has to hold of it over time."""
    from lstm_lab.config import resolve_cell
    from lstm_lab.model import ModelSpec
    from lstm_lab.recurrence.check import check_cell

    given = _parse(argv, {"cell": None})
    if given.cell is None:
        raise UserError("--cell: missing, allowed a variant's name or FILE.py:NAME")
    failed = 0
    for name, wrong in check_cell(resolve_cell(ModelSpec(cell=given.cell))):
        failed += wrong is not None
        print(
            f"{'ok    ' if wrong is None else 'FAILED'}  {name}" + (f": {wrong}" if wrong else "")
        )
    return FAILED if failed else DONE


def bench(argv: list[str]) -> int:
    """Timings beside peers."""
    from lstm_lab.bench.cases import SUITES
    from lstm_lab.bench.table import markdown
    from lstm_lab.files import write_json, write_text

    strings = {"suite": "layer", "contenders": None, "out": None, "data_dir": None}
    given = _parse(argv, strings, rounds=5, milliseconds=500, trials=16, epochs=30)
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
            _data_dir(given.data_dir),
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


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": train,
    "sweep": sweep,
    "reproduce": reproduce,
    "pack": pack,
    "status": status,
    "report": report,
    "summary": summary,
    "check": check,
    "bench": bench,
}

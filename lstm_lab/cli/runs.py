"""Verbs of one run: train, summary, check.

In: arguments. Out: an exit code, and a run's folder or a printed table. docs/life_of_a_run.md
follows `train` through the package; read `train/loop.py` next.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lab.cli.flags import data_folder, load_spec, parse, request_devices
from lstm_lab.utils.errors import AGAIN, DONE, FAILED, INTERRUPTED, UserError
from lstm_lab.utils.progress import say

if TYPE_CHECKING:
    from lstm_lab.config.run_spec import RunSpec


@dataclass(frozen=True)
class TrainFlags:
    """Flags of `train`; `lstm-lab help` explains the common ones."""

    config: str | None = None
    workdir: str | None = None
    data_dir: str | None = None
    hosts: str | None = None
    seeds: int | None = None
    devices: int | None = None
    find_lr: bool = False


@dataclass(frozen=True)
class SummaryFlags:
    """Flags of `summary`; `lstm-lab help` explains the common ones."""

    config: str | None = None


@dataclass(frozen=True)
class CheckFlags:
    """Flags of `check`; `lstm-lab help` explains the common ones."""

    cell: str | None = None


def train(argv: list[str]) -> int:
    """Trains one run, or several seeds as one program; resumes what was interrupted.

    Args:
      argv: the arguments after the verb, see `TrainFlags`, and `--config.PATH=VALUE`.

    Returns:
      An exit code; 1 also for a single run that diverges.

    Raises:
      UserError: for a wrong flag, config or data.
    """
    from lstm_lab.config.overrides import take_overrides
    from lstm_lab.train import multihost

    argv, overrides = take_overrides(argv)
    flags = parse(argv, TrainFlags)
    # Devices, then hosts, then the config: the first array fixes the devices of JAX, and a config
    # file of the user may make one.
    request_devices(flags.devices)
    if flags.hosts is not None:
        if flags.seeds is not None:
            raise UserError("--seeds: several hosts train one run; sweep gives each its own")
        multihost.initialize_distributed(flags.hosts)
    spec = load_spec(flags.config, overrides)
    data_dir = data_folder(flags.data_dir)
    # For the record in run.json: what the user typed, where a flag alone means true.
    shown = {path: "true" if text is None else text for path, text in overrides.items()}
    if flags.find_lr:
        return _find_lr(spec, Path(flags.workdir or f"runs/{spec.task.name}-lr"), data_dir)
    if flags.seeds is None:
        return _train_one(spec, flags.workdir, data_dir, shown)
    from lstm_lab.cli import orchestrate
    from lstm_lab.config.serialization import to_json
    from lstm_lab.sweep.study import Study

    # Several seeds are a study without variants: the same lanes, report and resuming as in a sweep.
    seeds = tuple(range(spec.seed, spec.seed + flags.seeds))
    name = f"{spec.task.name}-{Path(spec.model.cell.replace(':', '-')).name}-{flags.seeds}seeds"
    folder = Path(flags.workdir or f"runs/{name}")
    return orchestrate.run(Study(name, to_json(spec), (), seeds), folder, data_dir, overrides=shown)


def _train_one(
    spec: RunSpec, workdir: str | None, data_dir: Path, overrides: dict[str, str]
) -> int:
    from lstm_lab.config.ids import run_id
    from lstm_lab.train import multihost
    from lstm_lab.train.loop import stopping_on_signals, train_run
    from lstm_lab.utils.files import read_json

    # The name has the id: runs with other settings get other folders, and the same run resumes.
    cell = Path(spec.model.cell.replace(":", "-")).name
    folder = Path(workdir or f"runs/{spec.task.name}-{cell}-{run_id(spec)}")
    with stopping_on_signals() as stop:
        outcome = train_run(spec, folder, data_dir, stop=stop, overrides=overrides)
    if outcome.status == "interrupted":
        say(AGAIN)
        return INTERRUPTED
    if outcome.status != "completed":
        return FAILED
    # Only host 0 has the folder; all hosts need the status for their exit codes.
    result = multihost.broadcast_from_host0(lambda: read_json(folder / "result.json"))
    if multihost.is_primary():
        _show(folder, result)
    return DONE if result["status"] == "completed" else FAILED


def _find_lr(spec: RunSpec, folder: Path, data_dir: Path) -> int:
    from lstm_lab.report.render.lr_range import write_figure
    from lstm_lab.train.lr_range_test import find_lr
    from lstm_lab.utils.files import write_json

    result = find_lr(spec, spec.task.load(data_dir))
    write_json(folder / "lr_range.json", {**vars(result)})
    write_figure(**vars(result), path=folder / "lr_range.png")
    suggested, highest = f"{result.suggested:.2g}", f"{result.highest:.2g}"
    print(f"the loss falls fastest at {suggested}; above {highest} it is at risk")
    print(folder / "lr_range.png")
    return DONE


def _show(folder: Path, result: dict[str, Any]) -> None:
    """Prints how a run ended."""
    print(f"workdir     {folder}")
    print(
        f"status      {result['status']} after {result['steps']} steps in {result['wall_s']:.1f} s"
    )
    for split, values in (("valid", result["best"]["valid"]), ("test", result["test"])):
        shown = "  ".join(f"{name} {value:.5f}" for name, value in values.items())
        print(f"{split:<11} {shown}  (best checkpoint, step {result['best']['step']})")
    for name, values in result["trivial"].items():
        shown = "  ".join(f"{metric} {value:.5f}" for metric, value in values.items())
        print(f"{'trivial':<11} {shown}  ({name}; test)")


def summary(argv: list[str]) -> int:
    """Prints the layers, shapes, parameters and operations of a model; trains nothing.

    Args:
      argv: the arguments after the verb: `--config` and `--config.PATH=VALUE`.

    Raises:
      UserError: for a wrong flag or config.
    """
    from lstm_lab.config.overrides import take_overrides
    from lstm_lab.models.summary import summarize_layers
    from lstm_lab.utils.tables import aligned

    argv, overrides = take_overrides(argv)
    flags = parse(argv, SummaryFlags)
    spec = load_spec(flags.config, overrides)
    layers = summarize_layers(spec)
    lines = [["layer", "output", "parameters", "FLOP a step", ""]]
    for layer in layers:
        flops = f"{layer.flops_per_token:,.0f}"
        lines.append([layer.name, layer.output, f"{layer.total:,}", flops, ""])
        for name, shape, count, purpose in layer.arrays:
            lines.append([f"  {name}", shape.replace(" ", ""), f"{count:,}", "", purpose])
    total, flops = (
        sum(getattr(layer, n) for layer in layers) for n in ("total", "flops_per_token")
    )
    lines.append(["total", "", f"{total:,}", f"{flops:,.0f}", ""])
    if spec.optim.freeze:
        frozen = sum(layer.frozen for layer in layers)
        lines += [["  trained", "", f"{total - frozen:,}"], ["  frozen", "", f"{frozen:,}"]]
    # Lines have three to five cells, and a table needs rows of equal length.
    print(aligned([[*line, "", ""][:5] for line in lines]))
    print("\nFLOP of the matrix products of a forward pass, a time step of a sequence")
    return DONE


def check(argv: list[str]) -> int:
    """Checks a cell: its gradients, padding, chunks, resets and backends.

    Args:
      argv: the arguments after the verb: `--cell=NAME` or `--cell=FILE.py:NAME`.

    Returns:
      An exit code; 1 if a check fails.

    Raises:
      UserError: without a cell, or for one that cannot be loaded.
    """
    from lstm_lab.config.sections import ModelSpec
    from lstm_lab.config.variant import resolve_cell
    from lstm_lab.recurrence.check import check_cell

    flags = parse(argv, CheckFlags)
    if flags.cell is None:
        raise UserError("--cell is required: a variant's name or FILE.py:NAME")
    failed = 0
    # All checks, not only up to the first failure: together they show where the error is.
    for name, wrong in check_cell(resolve_cell(ModelSpec(cell=flags.cell))):
        failed += wrong is not None
        print(
            f"{'ok    ' if wrong is None else 'FAILED'}  {name}" + (f": {wrong}" if wrong else "")
        )
    return FAILED if failed else DONE

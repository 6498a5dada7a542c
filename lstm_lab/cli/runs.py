"""Verbs of one run: train, summary, check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lstm_lab.cli.flags import data_folder, load_spec, parse, request_devices
from lstm_lab.utils.errors import AGAIN, DONE, FAILED, INTERRUPTED, UserError
from lstm_lab.utils.progress import say


def train(argv: list[str]) -> int:
    """One run, or several seeds as one program."""
    from lstm_lab.config.overrides import take_overrides
    from lstm_lab.train import multihost

    argv, overrides = take_overrides(argv)
    strings = dict.fromkeys(("config", "workdir", "data_dir", "hosts"))
    given = parse(argv, strings, seeds=None, devices=None)
    request_devices(given.devices)
    if given.hosts is not None:
        if given.seeds is not None:
            raise UserError("--seeds: several hosts train one run; sweep gives each its own")
        multihost.initialize_distributed(given.hosts)
    spec = load_spec(given.config, overrides)
    data_dir = data_folder(given.data_dir)
    shown = {path: "true" if text is None else text for path, text in overrides.items()}
    if given.find_lr:
        return _find_lr(spec, Path(given.workdir or f"runs/{spec.task.name}-lr"), data_dir)
    if given.seeds is None:
        return _train_one(spec, given.workdir, data_dir, shown)
    from lstm_lab.cli import orchestrate
    from lstm_lab.config.serialization import to_json
    from lstm_lab.sweep.study import Study

    seeds = tuple(range(spec.seed, spec.seed + given.seeds))
    name = f"{spec.task.name}-{Path(spec.model.cell.replace(':', '-')).name}-{given.seeds}seeds"
    folder = Path(given.workdir or f"runs/{name}")
    return orchestrate.run(Study(name, to_json(spec), (), seeds), folder, data_dir, overrides=shown)


def _train_one(spec: Any, workdir: str | None, data_dir: Path, overrides: dict[str, str]) -> int:
    from lstm_lab.config.ids import run_id
    from lstm_lab.train import multihost
    from lstm_lab.train.loop import stopping_on_signals, train_run
    from lstm_lab.utils.files import read_json

    cell = Path(spec.model.cell.replace(":", "-")).name
    folder = Path(workdir or f"runs/{spec.task.name}-{cell}-{run_id(spec)}")
    with stopping_on_signals() as stop:
        outcome = train_run(spec, folder, data_dir, stop=stop, overrides=overrides)
    if outcome.status == "interrupted":
        say(AGAIN)
        return INTERRUPTED
    if outcome.status != "completed":
        return FAILED
    result = multihost.broadcast_from_host0(lambda: read_json(folder / "result.json"))
    if multihost.is_primary():
        _show(folder, result)
    return DONE if result["status"] == "completed" else FAILED


def _find_lr(spec: Any, folder: Path, data_dir: Path) -> int:
    from lstm_lab.report.render.lr_range import write_figure
    from lstm_lab.train.lr_range_test import find_lr
    from lstm_lab.utils.files import write_json

    found = find_lr(spec, spec.task.load(data_dir))
    write_json(folder / "lr_range.json", {**vars(found)})
    write_figure(**vars(found), path=folder / "lr_range.png")
    print(
        f"the loss falls fastest at {found.suggested:.2g}; above {found.highest:.2g} it is at risk"
    )
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
    """A model's parts."""
    from lstm_lab.config.overrides import take_overrides
    from lstm_lab.models.summary import summarize_layers
    from lstm_lab.utils.tables import aligned

    argv, overrides = take_overrides(argv)
    given = parse(argv, {"config": None})
    spec = load_spec(given.config, overrides)
    found = summarize_layers(spec)
    lines = [["layer", "output", "parameters", "FLOP a step", ""]]
    for layer in found:
        flops = f"{layer.flops_per_token:,.0f}"
        lines.append([layer.name, layer.output, f"{layer.total:,}", flops, ""])
        for name, shape, count, purpose in layer.arrays:
            lines.append([f"  {name}", shape.replace(" ", ""), f"{count:,}", "", purpose])
    total, flops = (sum(getattr(layer, n) for layer in found) for n in ("total", "flops_per_token"))
    lines.append(["total", "", f"{total:,}", f"{flops:,.0f}", ""])
    if spec.optim.freeze:
        frozen = sum(layer.frozen for layer in found)
        lines += [["  trained", "", f"{total - frozen:,}"], ["  frozen", "", f"{frozen:,}"]]
    print(aligned([[*line, "", ""][:5] for line in lines]))
    print("\nFLOP of the matrix products of a forward pass, a time step of a sequence")
    return DONE


def check(argv: list[str]) -> int:
    """A cell's gradients, and what has to hold of it over time."""
    from lstm_lab.config.sections import ModelSpec
    from lstm_lab.config.variant import resolve_cell
    from lstm_lab.recurrence.check import check_cell

    given = parse(argv, {"cell": None})
    if given.cell is None:
        raise UserError("--cell is required: a variant's name or FILE.py:NAME")
    failed = 0
    for name, wrong in check_cell(resolve_cell(ModelSpec(cell=given.cell))):
        failed += wrong is not None
        print(
            f"{'ok    ' if wrong is None else 'FAILED'}  {name}" + (f": {wrong}" if wrong else "")
        )
    return FAILED if failed else DONE

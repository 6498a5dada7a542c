"""Verbs of one run: train, summary, check.

In: flags. Out: an exit code, and a run's folder or a printed table. docs/life_of_a_run.md follows
`train` through the package; read `api/training.py` next.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lstm_lab.cli.options import (
    COUNT,
    OneOf,
    config_argument,
    data_dir,
    devices,
    flag,
    kubernetes,
    log,
    named_argument,
    one_of,
    switch,
    trust_code,
    workdir,
)
from lstm_lab.utils.errors import DONE, FAILED, UserError

if TYPE_CHECKING:
    from lstm_lab.cli.settings import Settings
    from lstm_lab.config.run_spec import RunSpec

CONFIG_EXPECTED = "the name of a config (lstm-lab list configs), FILE.py or a run.json"


@click.command(
    epilog="""\b
Examples:
  lstm-lab train adding:lstm
  lstm-lab train digits:bidirectional,gru --config.train.epochs=10
  lstm-lab train my_config.py --seeds=5 --workdir=runs/mine
  lstm-lab train runs/mine/run.json --workdir=runs/again
  lstm-lab train runs/mine/run.json --workdir=runs/mine --replay=812"""
)
@config_argument
@flag("--seeds", "Trains N seeds in one program, e.g. --seeds=5.", metavar="N", type=COUNT)
@workdir
@data_dir
@devices
@switch("--find-lr", "Plots the loss over increasing learning rates instead, e.g. --find-lr.")
@flag(
    "--replay",
    "Does one step of a run again and names the outputs and gradients that are not finite, e.g. "
    "--replay=812.",
    metavar="STEP",
    type=COUNT,
)
@flag(
    "--hosts",
    "This host's number, the number of hosts, and host 0's address, e.g. --hosts=0/2@10.0.0.1:9876;"
    " or --hosts=auto.",
    metavar="K/N@ADDRESS:PORT",
)
@log
@trust_code
@flag(
    "--emit",
    "Prints a manifest for Kubernetes, and starts nothing, e.g. --emit=kubernetes.",
    type=OneOf(["kubernetes"]),
)
@kubernetes
@click.pass_obj
def train(
    settings: Settings,
    config: str | None,
    config_flag: str | None,
    seeds: int | None,
    workdir: Path | None,
    data_dir: Path | None,
    devices: int | None,
    find_lr: bool,
    replay: int | None,
    hosts: str | None,
    log: str | None,
    trust_code: bool,
    emit: str | None,
    kubernetes: str | None,
) -> int:
    """Trains a model, or resumes an interrupted run.

    CONFIG is the name of a config with its words (adding:peephole,stacked), a file with
    get_config(), or the run.json of an earlier run.
    """
    from lstm_lab.api.training import train_spec
    from lstm_lab.cli.settings import recorded, spec_of
    from lstm_lab.tasks.readers.download import use_data_dir
    from lstm_lab.training import multihost
    from lstm_lab.training.devices import prepare_devices
    from lstm_lab.training.loggers.choose import logging_to

    name = one_of(config, config_flag, "config", CONFIG_EXPECTED)
    if emit or kubernetes:
        return _print_manifest(name, settings, click.get_current_context().params)
    # Devices, then hosts, then the config: the first array fixes the devices of JAX, and a config
    # file of the user may make one.
    prepare_devices(devices)
    if hosts is not None:
        if seeds is not None:
            raise UserError(
                f"--seeds: got {seeds}, expected none with --hosts: several hosts train one run; "
                "`sweep` gives each host its own runs"
            )
        multihost.initialize_distributed(hosts)
    folder = use_data_dir(data_dir)
    spec = spec_of(name, settings, trust_code)
    if replay is not None:
        if seeds is not None or hosts is not None:
            raise UserError("--replay: repeats a step of one run on one host")
        return _replay(spec, workdir, folder, replay)
    if find_lr:
        return _find_lr(spec, workdir, folder)
    with logging_to(log, several=seeds is not None):
        run = train_spec(spec, seeds, workdir, folder, recorded(settings))
    # Only host 0 has the folder; all hosts need the status for their exit codes.
    status = multihost.broadcast_from_host0(lambda: run.status)
    if multihost.is_primary():
        from lstm_lab.cli.messages import after_training

        print(after_training(run))
    return DONE if status == "completed" else FAILED


def _print_manifest(name: str, settings: Settings, values: dict[str, Any]) -> int:
    """Prints the manifest of a run; its pods get the same config, settings and flags."""
    from lstm_lab.api.training import run_folder
    from lstm_lab.cli.manifests import print_run
    from lstm_lab.cli.settings import recorded, spec_of

    kubernetes = values["kubernetes"]
    if not values["emit"]:
        raise UserError(f"--kubernetes: got {kubernetes}, expected --emit=kubernetes as well")
    for flag_name in ("find_lr", "replay", "hosts"):
        if values[flag_name]:
            shown = f"--{flag_name.replace('_', '-')}"
            raise UserError(f"{shown}: expected no {shown} with --emit=kubernetes")
    # A wrong setting is then one error here, and not one in the log of each pod.
    spec = spec_of(name, settings, values["trust_code"])
    folder = values["workdir"] or run_folder(spec)
    words = [name, *(f"--config.{path}={text}" for path, text in recorded(settings).items())]
    flags = {
        "workdir": folder,
        # The default of this machine is in its user's cache, which pods do not have.
        "data-dir": values["data_dir"] or "data",
        "trust-code": values["trust_code"],
        **{name: values[name] for name in ("seeds", "devices", "log")},
    }
    return print_run(words, flags, folder.name, kubernetes)


def _replay(spec: RunSpec, workdir: Path | None, data_dir: Path, step: int) -> int:
    from lstm_lab.api.training import run_folder
    from lstm_lab.training.replay import replay

    for line in replay(spec, workdir or run_folder(spec), data_dir, step).lines():
        print(line)
    return DONE


def _find_lr(spec: RunSpec, workdir: Path | None, data_dir: Path) -> int:
    from lstm_lab.report.render.lr_range import write_figure
    from lstm_lab.training.lr_range_test import find_lr
    from lstm_lab.utils.files import write_json

    folder = workdir or Path(f"runs/{Path(spec.task.name.replace(':', '-')).name}-lr")
    result = find_lr(spec, spec.task.load(data_dir))
    write_json(folder / "lr_range.json", {**vars(result)})
    write_figure(**vars(result), path=folder / "lr_range.png")
    suggested, highest = f"{result.suggested:.2g}", f"{result.highest:.2g}"
    print(f"the loss falls fastest at {suggested}; above {highest} it is at risk")
    print(folder / "lr_range.png")
    return DONE


@click.command(
    epilog="""\b
Examples:
  lstm-lab summary digits:gru
  lstm-lab summary ptb:medium --config.model.tied"""
)
@config_argument
@trust_code
@click.pass_obj
def summary(
    settings: Settings, config: str | None, config_flag: str | None, trust_code: bool
) -> int:
    """Prints the layers and sizes of a model."""
    from lstm_lab.cli.settings import spec_of
    from lstm_lab.models.summary import summary_table

    name = one_of(config, config_flag, "config", CONFIG_EXPECTED)
    print(summary_table(spec_of(name, settings, trust_code)))
    print("\nFLOP of the matrix products of a forward pass, a time step of a sequence")
    return DONE


@click.command(
    epilog="""\b
Examples:
  lstm-lab check layernorm
  lstm-lab check my_cell.py:mine"""
)
@named_argument("cell", "variants")
@click.option("--cell", "cell_flag", metavar="CELL", help="The same as CELL, e.g. --cell=gru.")
def check(cell: str | None, cell_flag: str | None) -> int:
    """Checks the gradients and backends of a cell.

    Also that padding is never read, that chunks of time compose, and that resets work.

    CELL is the name of a variant, or FILE.py:NAME.
    """
    from lstm_lab.config.cell_source import cell_name
    from lstm_lab.config.sections import ModelSpec
    from lstm_lab.config.variant import resolve_cell
    from lstm_lab.recurrence.check import check_cell

    name = cell_name(one_of(cell, cell_flag, "cell", "a variant's name or FILE.py:NAME"))
    failed = 0
    # All checks, not only up to the first failure: together they show where the error is.
    for what, wrong in check_cell(resolve_cell(ModelSpec(cell=name))):
        failed += wrong is not None
        line = f"{'ok    ' if wrong is None else 'FAILED'}  {what}"
        print(line + (f": {wrong}" if wrong else ""))
    return FAILED if failed else DONE

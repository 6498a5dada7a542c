"""Verbs that take models out of the package and weights into it: export, import.

In: the folder of a run and a target, or a file of weights and a config. Out: a folder for another
framework, or a safetensors file with our names. Read `interop/export.py` and `interop/sources.py`
next.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lstm_lab.cli.finished_runs import one_folder, run_argument, run_folder
from lstm_lab.cli.options import COUNT, Folder, OneOf, flag, run_flag, trust_code
from lstm_lab.cli.runs import CONFIG_EXPECTED
from lstm_lab.interop.sources import OWN_FILES, SOURCES
from lstm_lab.interop.targets import TARGETS
from lstm_lab.utils.errors import DONE, UserError
from lstm_lab.utils.escape import visible
from lstm_lab.utils.tables import aligned

if TYPE_CHECKING:
    from lstm_lab.cli.settings import Settings


@click.command(
    epilog="""\b
Examples:
  lstm-lab export runs/shakespeare --to=torch
  lstm-lab export runs/study --to=onnx --run=1f0c2a9b7d3e --opset=17 --out=model_onnx"""
)
@run_argument
@flag(
    "--to",
    f"The target, required, e.g. --to=torch. One of {', '.join(TARGETS)}.",
    metavar="TARGET",
    type=OneOf(TARGETS),
)
@flag(
    "--out",
    "The folder to write, e.g. --out=model_torch. By default `export/TARGET` in that of the run. "
    "An earlier export there is replaced, if no file was added or changed.",
    metavar="DIR",
    type=Folder(),
)
@run_flag
@flag("--opset", "The version of ONNX' operators, e.g. --opset=17.", metavar="N", type=COUNT)
@flag(
    "--runtime",
    "The folder of onnxruntime-web's files, for --to=web, e.g. --runtime=ort/dist.",
    metavar="DIR",
    type=Folder(),
)
@trust_code
def export(
    folder: Path | None,
    workdir: Path | None,
    to: str | None,
    out: Path | None,
    run: str | None,
    opset: int | None,
    runtime: Path | None,
    trust_code: bool,
) -> int:
    """Writes a trained model for another framework.

    RUN is the folder of a run or a study; of a study, the best run is written, or the one that
    --run names.
    """
    # Before the run is read: a missing flag costs no waiting.
    named = one_folder(folder, workdir)
    if to is None:
        raise UserError(f"--to is required: one of {', '.join(TARGETS)}")
    from lstm_lab.api.runs import Run
    from lstm_lab.interop.export import read_usage
    from lstm_lab.training.devices import prepare_devices

    prepare_devices(default=1)
    place = run_folder(named, run)
    written = Run(place, trust_code).export(to, out, opset=opset, runtime=runtime)
    files = sorted(path for path in written.rglob("*") if path.is_file())
    rows = [[str(path.relative_to(written)), _size(path.stat().st_size)] for path in files]
    print(f"{aligned([[visible(str(written)), ''], *rows])}\n\n{visible(read_usage(written))}")
    return DONE


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


class _Framework(OneOf):
    """A framework whose weights can be read; files with our own names need no import."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Returns the message for a word that is not among the choices."""
        return (
            OWN_FILES if value == "safetensors" else super().get_invalid_choice_message(value, ctx)
        )


@click.command(
    name="import",
    epilog="""\b
Examples:
  lstm-lab import lstm.safetensors --from=torch --config=adding:lstm --out=mine.safetensors
  lstm-lab import model.keras --from=keras --config=digits:gru --map=head=layers/dense_1 \\
      --out=mine.safetensors
  lstm-lab train adding:lstm --config.model.init_from=mine.safetensors""",
)
@click.argument("file", required=False, metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "framework",
    metavar="FRAMEWORK",
    type=_Framework(SOURCES),
    help=f"The framework of the weights, required, e.g. --from=torch. One of {', '.join(SOURCES)}.",
)
@click.option(
    "--config",
    metavar="CONFIG",
    help="The config of the model that takes the weights, required, e.g. --config=adding:lstm. "
    "--config.PATH=VALUE changes a setting, e.g. --config.model.hidden=64.",
)
@click.option(
    "--map",
    "names",
    metavar="OURS=THEIRS,...",
    multiple=True,
    help="Tells lstm_lab where a part is, if it cannot find it, e.g. --map=head=classifier. Commas "
    "join several pairs; the flag may also be repeated. An empty name leaves a part out, and "
    "--map=ignore=NAMES leaves out what the model has no place for.",
)
@flag(
    "--out",
    "The file to write, required, e.g. --out=mine.safetensors.",
    metavar="FILE",
    type=click.Path(path_type=Path),
)
@trust_code
@click.pass_obj
def import_(
    settings: Settings,
    file: Path | None,
    framework: str | None,
    config: str | None,
    names: tuple[str, ...],
    out: Path | None,
    trust_code: bool,
) -> int:
    """Reads weights of another framework for the model of a config.

    FILE holds the weights. They are written under our own names; --config.model.init_from=FILE
    then begins a training with them.
    """
    if file is None:
        raise UserError("FILE is required: a file of weights, e.g. lstm.safetensors")
    if framework is None:
        raise UserError(f"--from is required: one of {', '.join(SOURCES)}")
    if config is None:
        raise UserError(f"--config is required: {CONFIG_EXPECTED}")
    mapping, out = _mapping(names), _checked_out(out, file)
    from lstm_lab.cli.settings import recorded, spec_of
    from lstm_lab.interop.safetensors_file import write_weights
    from lstm_lab.interop.sources import import_weights, missing_weights

    spec = spec_of(config, settings, trust_code)
    weights = import_weights(file, framework, spec, mapping)
    write_weights(out, weights, spec)
    rows = [[name, " x ".join(map(str, array.shape))] for name, array in weights.items()]
    print(aligned([["read", "shape"], *rows]))
    if missing := missing_weights(weights, spec):
        print(f"\nnot read, so drawn at random: {', '.join(missing)}")
    changed = recorded(settings) | {"model.init_from": str(out)}
    command = [config, *(f"--config.{path}={value}" for path, value in changed.items())]
    print(f"\n{visible(str(out))}\nnext: lstm-lab train {visible(shlex.join(command))}")
    return DONE


def _checked_out(out: Path | None, file: Path) -> Path:
    if out is None:
        raise UserError("--out is required: the file to write, e.g. --out=mine.safetensors")
    if out.suffix != ".safetensors":
        raise UserError(f"--out: got {str(out)!r}, expected a name that ends in .safetensors")
    if out.exists() and (out.is_dir() or out.samefile(file)):
        raise UserError(f"--out: {out} is a folder or FILE itself; choose another name")
    return out


def _mapping(flags: tuple[str, ...]) -> dict[str, str]:
    """Returns the names of all --map: theirs by ours."""
    mapping: dict[str, str] = {}
    pairs = [pair.partition("=") for pair in ",".join(flags).split(",") if pair.strip()]
    for ours, equals, theirs in pairs:
        if not ours.strip() or not equals:
            got = f"{ours}{equals}{theirs}"
            raise UserError(f"--map: got {got!r}, expected OURS=THEIRS, e.g. --map=head=classifier")
        ours, theirs = ours.strip(), theirs.strip()
        if ours == "ignore" and ours in mapping:
            theirs = mapping[ours] = f"{mapping[ours]}:{theirs}"
        if mapping.setdefault(ours, theirs) != theirs:
            raise UserError(
                f"--map: {ours} is both {mapping[ours]!r} and {theirs!r}, expected one name"
            )
    return mapping

"""Verbs about the installation: doctor and completion.

Out: a table of devices, compiler, extras, data and caches, with how to get what is missing; or the
script that makes a shell complete verbs, flags and names, which click generates.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import numpy as np
from click.shell_completion import get_completion_class

from lstm_lab.cli.options import OneOf, data_dir
from lstm_lab.utils.cache import cache_root
from lstm_lab.utils.errors import DONE
from lstm_lab.utils.tables import aligned

SHELLS = ("bash", "zsh", "fish")
# The package that tells whether an extra is installed.
EXTRAS = {
    "notebook": "ipykernel",
    "tensorboard": "tensorboard",
    "search": "optuna",
    "slurm": "submitit",
    "parquet": "pyarrow",
    "nlp": "sentencepiece",
    "music": "mido",
    "loggers": "mlflow",
    "interop": "onnx",
    "peers": "keras",
    "tpu-check": "libtpu",
    "cuda-check": "jax_cuda12_plugin",
}


@click.command(
    epilog="""\b
Example:
  lstm-lab doctor"""
)
@data_dir
def doctor(data_dir: Path | None) -> int:
    """Shows what this installation can do.

    Devices, compiler, extras, data and caches, and how to get what is missing.
    """
    rows = [["part", "state", "how to get it"]]
    rows += _versions()
    rows += _devices()
    rows += _extras()
    rows += _data(data_dir)
    rows += _caches()
    print(aligned(rows))
    return DONE


def _versions() -> list[list[str]]:
    rows = [["lstm_lab", version("lstm-lab"), ""], ["Python", platform.python_version(), ""]]
    for name in ("jax", "flax", "optax"):
        rows.append([name, version(name), ""])
    return rows


def _devices() -> list[list[str]]:
    import jax

    from lstm_lab.cells import CellSpec
    from lstm_lab.recurrence.backends import kernel_library, native

    devices = jax.devices()
    kind = f"{len(devices)} {devices[0].platform} ({devices[0].device_kind})"
    hint = ""
    if devices[0].platform == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        kind = f"{cores} CPU cores"
        hint = 'GPU: pip install "lstm-lab[cuda12]"; TPU: pip install "lstm-lab[tpu]"'
    rows = [["devices", kind, hint]]
    if devices[0].platform == "cpu":
        path, missing = kernel_library.compiler()
        with warnings.catch_warnings(action="ignore"):  # the table says it
            reason = native.unsupported_reason(CellSpec(), np.float32, "cpu")
        state = f"{path}: the CPU backend `native` is available"
        hint = "install g++ or clang++" if missing else "XDG_CACHE_HOME and CXX choose others"
        if reason is not None:
            state = f"`auto` uses a slower backend than `native` ({reason})"
        rows.append(["compiler", state, hint if reason else ""])
    return rows


def _extras() -> list[list[str]]:
    rows = []
    for extra, module in EXTRAS.items():
        installed = importlib.util.find_spec(module) is not None
        state = f"{module} {_version(module)}" if installed else f"{module} is missing"
        rows.append(
            [f"extra {extra}", state, "" if installed else f'pip install "lstm-lab[{extra}]"']
        )
    return rows


def _version(module: str) -> str:
    try:
        return version(module)
    except PackageNotFoundError:
        return ""


def _data(data_dir: Path | None) -> list[list[str]]:
    from lstm_lab.tasks.readers.download import describe, use_data_dir

    folder = use_data_dir(data_dir)
    _, *rows = describe(folder)
    names = [name for name, _, state, _, _ in rows if state != "missing"]
    state = f"{folder}: {len(names)} of {len(rows)} data sets ({', '.join(names) or 'none'})"
    return [["data", state, "lstm-lab data list; lstm-lab data get NAME"]]


def _caches() -> list[list[str]]:
    folder = cache_root()
    megabytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    return [["compiled programs", f"{folder}: {megabytes:.0f} MB", "delete the folder to free it"]]


@click.command(
    epilog="""\b
Examples:
  lstm-lab completion bash >> ~/.bashrc
  lstm-lab completion zsh >> ~/.zshrc
  lstm-lab completion fish > ~/.config/fish/completions/lstm-lab.fish"""
)
@click.argument("shell", type=OneOf(SHELLS))
def completion(shell: str) -> int:
    """Prints the script for completion in a shell."""
    # The group that this verb belongs to; importing it here would be a circle.
    app = click.get_current_context().find_root().command
    script = get_completion_class(shell)
    assert script is not None
    print(script(app, {}, "lstm-lab", "_LSTM_LAB_COMPLETE").source())
    return DONE

"""The verb doctor: what this installation can do, and how to get what is missing.

In: nothing. Out: a table of devices, compiler, extras, data and caches.
"""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import click

from lstm_lab.cli.options import data_dir
from lstm_lab.utils.errors import DONE
from lstm_lab.utils.tables import aligned

# The package that tells whether an extra is installed.
EXTRAS = {
    "notebook": "pandas",
    "tensorboard": "tensorboard",
    "search": "optuna",
    "slurm": "submitit",
    "parquet": "pyarrow",
    "nlp": "sacrebleu",
    "music": "mido",
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

    from lstm_lab.recurrence.backends.native import compiler

    devices = jax.devices()
    kind = f"{len(devices)} {devices[0].platform} ({devices[0].device_kind})"
    hint = ""
    if devices[0].platform == "cpu":
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        kind = f"{cores} CPU cores"
        hint = 'GPU: pip install "lstm-lab[cuda12]"; TPU: pip install "lstm-lab[tpu]"'
    path, reason = compiler()
    native = f"{path}: the CPU backend `native` is available"
    missing = f"not found: `auto` uses a slower backend ({reason})"
    return [
        ["devices", kind, hint],
        ["compiler", missing if reason else native, "install g++ or clang++" if reason else ""],
    ]


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
    from lstm_lab.tasks.readers.download import default_data_dir

    folder = data_dir or default_data_dir()
    names = sorted(path.name for path in folder.glob("*/")) if folder.is_dir() else []
    state = f"{folder}: {', '.join(names) or 'empty'}"
    return [["data", state, "lstm-lab data list; lstm-lab data get NAME"]]


def _caches() -> list[list[str]]:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lstm_lab"
    megabytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
    return [["compiled programs", f"{folder}: {megabytes:.0f} MB", "delete the folder to free it"]]


def declared_extras() -> set[str]:
    """Returns the extras that the installed package declares."""
    names = set()
    for requirement in requires("lstm-lab") or []:
        _, _, marker = requirement.partition("extra ==")
        if marker:
            names.add(marker.strip().strip("\"'"))
    return names

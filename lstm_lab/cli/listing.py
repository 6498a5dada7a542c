"""Verbs that tell what there is: list, show, config show.

In: a kind of thing, the name of a variant, or a config. Out: a table on standard output.
"""

from __future__ import annotations

import difflib
import itertools
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

import click

from lstm_lab.cli.names import described_files, first_line
from lstm_lab.cli.options import (
    OneOf,
    config_argument,
    flag,
    named_argument,
    one_of,
    trust_code,
)
from lstm_lab.utils.docstrings import attribute_docs
from lstm_lab.utils.errors import DONE, UserError, unknown
from lstm_lab.utils.escape import visible
from lstm_lab.utils.tables import aligned

if TYPE_CHECKING:
    from lstm_lab.cli.settings import Settings
    from lstm_lab.tasks import Task

KINDS = ("variants", "configs", "tasks", "studies", "runs")


@click.command(
    name="list",
    epilog="""\b
Examples:
  lstm-lab list variants
  lstm-lab list runs --folder=runs""",
)
@click.argument("kind", type=OneOf(KINDS))
@flag(
    "--folder",
    "Where to look for runs and studies, e.g. --folder=runs.",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
)
def list_(kind: str, folder: Path) -> int:
    """Lists variants, configs, tasks, studies or runs."""
    rows = _list_runs(folder) if kind == "runs" else _list_names(kind)
    print(aligned(rows) if len(rows) > 1 else f"no {kind} in {folder}")
    return DONE


def _list_names(kind: str) -> list[list[str]]:
    if kind == "variants":
        from lstm_lab.cells import CATALOGUE

        rows = [[name, row.change, row.source] for name, row in CATALOGUE.items()]
        return [["variant", "what distinguishes it", "source"], *rows]
    if kind == "tasks":
        from lstm_lab.tasks import TASKS

        return [["task", "what it is"], *([n, first_line(t.__doc__)] for n, t in TASKS.items())]
    return [[kind.rstrip("s").replace("studie", "study"), "what it is"], *described_files(kind)]


def _list_runs(folder: Path) -> list[list[str]]:
    """Returns the runs and studies of a folder with their status and score."""
    from lstm_lab.report.single_run import read_run
    from lstm_lab.results.run_files import read_result
    from lstm_lab.results.study_file import count_expected_runs, read_plan, run_folder

    rows = [["folder", "what", "status", "score"]]
    for path in sorted(folder.glob("*/")):
        try:
            if (path / "run.json").is_file():
                run = read_run(path)
                score = run.test.get(run.metric or "")
                shown = "" if score is None else f"test {run.metric} {score:.4g}"
                rows.append([str(path), run.title, run.status, shown])
            elif (path / "study.json").is_file():
                plan = read_plan(path)
                done = [run for run in plan["runs"] if read_result(run_folder(path, run))]
                status = f"{len(done)} of {count_expected_runs(plan)} runs"
                rows.append([str(path), f"study: {plan['study']['title']}", status, ""])
        # One damaged folder does not hide the others.
        except UserError:
            rows.append([str(path), "", "damaged", ""])
    return rows


@click.command(
    epilog="""\b
Examples:
  lstm-lab show peephole
  lstm-lab show my_cell.py:mine --kernel"""
)
@named_argument("variant", "variants", required=True)
@click.option(
    "--kernel",
    is_flag=True,
    help="Shows the C++ that is generated from the equations for the CPU backend `native`, e.g. "
    "lstm-lab show gru --kernel. VARIANT may be FILE.py:NAME then.",
)
def show(variant: str, kernel: bool) -> int:
    """Shows the equations and parameters of a variant."""
    from lstm_lab.cells import CATALOGUE
    from lstm_lab.cells.describe import show_text

    if kernel:
        print(_kernel_text(variant), end="")
        return DONE
    # Not a file: the equations of a user's function cannot be written down.
    if ":" in variant:
        raise UserError(f"show: got {variant!r}; of a cell in a file, --kernel shows the code")
    if variant not in CATALOGUE:
        raise unknown("show", variant, CATALOGUE)
    print(show_text(variant))
    return DONE


def _kernel_text(cell: str) -> str:
    """Returns the generated C++ of a variant or of a user's cell."""
    from lstm_lab.config.cell_source import cell_name
    from lstm_lab.config.sections import ModelSpec
    from lstm_lab.config.variant import resolve_cell
    from lstm_lab.recurrence.backends.codegen.emit import Key, generate
    from lstm_lab.recurrence.backends.codegen.graph import UnsupportedError

    try:
        return generate(Key(resolve_cell(ModelSpec(cell=cell_name(cell))))).text
    except UnsupportedError as reason:
        raise UserError(f"--kernel: {cell} has no kernel; {reason}") from reason


@click.group()
def config() -> None:
    """Shows the settings of a config."""


@config.command(
    name="show",
    epilog="""\b
Examples:
  lstm-lab config show adding:peephole
  lstm-lab config show digits --config.optim.lr=0.01
  lstm-lab config show digits optim
  lstm-lab config show digits train.patience""",
)
@config_argument
@click.argument("setting", required=False)
@trust_code
@click.pass_obj
def config_show(
    settings: Settings,
    config: str | None,
    config_flag: str | None,
    setting: str | None,
    trust_code: bool,
) -> int:
    """Shows all settings of a config, and where each value comes from.

    SETTING is a section (task, model, optim, train, compute) or a setting, which is explained.
    """
    from lstm_lab.cli.runs import CONFIG_EXPECTED
    from lstm_lab.cli.settings import spec_of
    from lstm_lab.config.load import read_config
    from lstm_lab.config.serialization import to_json
    from lstm_lab.utils.files import flatten

    name = one_of(config, config_flag, "config", CONFIG_EXPECTED)
    spec = spec_of(name, settings, trust_code)
    written = flatten(_plain(read_config(name, trust_code, settings)))
    # Options of a task that nobody set and that are no defaults: its files determine them.
    of_files = {
        f"task.{name}"
        for name, value in vars(spec.task).items()
        if value != getattr(type(spec.task), name, None)
    }
    rows = []
    for path, value in flatten(to_json(spec)).items():
        unset = "files" if path in of_files else "default"
        origin = "config" if path in written else unset
        rows.append([path, str(value), "command line" if path in settings else origin])
    if setting is None:
        print(aligned([["setting", "value", "from"], *rows]))
    else:
        print(_explained(_chosen(rows, setting), _meanings(type(spec.task))))
    return DONE


def _chosen(rows: list[list[str]], name: str) -> list[list[str]]:
    """Returns the rows of a section or a setting; its last name, or another library's, will do."""
    from lstm_lab.config.parsing import find_setting
    from lstm_lab.config.run_spec import SECTIONS

    path = find_setting(name) or name
    chosen = [row for row in rows if row[0] == path or row[0].startswith(f"{path}.")]
    # An option of the task by its last name.
    chosen = chosen or [row for row in rows if row[0] == f"task.{path}"]
    if not chosen:
        paths = [row[0] for row in rows]
        similar = difflib.get_close_matches(name, paths, 1)
        hint = f"; did you mean {similar[0]!r}? expected" if similar else ", expected"
        # Not all of them, as `unknown` lists its names: there are about ninety.
        raise UserError(
            f"config show: got {name!r}{hint} a section (task, {', '.join(SECTIONS)}) or a setting"
        )
    return chosen


def _meanings(task: type[Task]) -> dict[str, str]:
    """Returns what the docstrings of the sections say about each setting, and its choices."""
    from lstm_lab.config.parsing import field_types
    from lstm_lab.config.run_spec import SECTIONS, RunSpec

    sections: dict[str, type] = {"": RunSpec, "task.": task}
    sections |= {f"{name}.": section for name, section in SECTIONS.items()}
    meanings: dict[str, str] = {}
    for prefix, section in sections.items():
        types = field_types(section)
        for name, text in attribute_docs(section).items():
            choices = get_args(types.get(name)) if get_origin(types.get(name)) is Literal else ()
            listed = f" One of {', '.join(map(str, choices))}." if choices else ""
            meanings[f"{prefix}{name}"] = text + listed
    return meanings | {"task.name": first_line(task.__doc__)}


def _explained(rows: list[list[str]], docs: Mapping[str, str]) -> str:
    """Returns each row with what its setting means; neighbors of the same meaning share it."""
    blocks = []
    for meaning, group in itertools.groupby(rows, lambda row: docs.get(row[0], "")):
        lines = [f"{path} = {visible(value)}  ({origin})" for path, value, origin in group]
        if meaning:
            lines.append(textwrap.fill(meaning, 96, initial_indent="  ", subsequent_indent="  "))
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _plain(config: object) -> dict[str, object]:
    """Returns a config and its sections as dicts."""
    items = config.items() if hasattr(config, "items") else ()
    return {k: _plain(v) if hasattr(v, "items") else v for k, v in items}

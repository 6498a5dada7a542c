"""The reference of the command line, from the tree of click's commands."""

from __future__ import annotations

import inspect

import click

from docs.generate.markdown import code, escape, page, paragraphs, section, table
from lstm_lab.cli.verbs import app


def pages() -> dict[str, str]:
    """Returns reference/cli.md."""
    return {"reference/cli.md": describe_group("lstm-lab", app)}


def describe_group(name: str, group: click.Group) -> str:
    """Returns the page of a command with its subcommands.

    Args:
      name: how the command is called.
      group: its tree.
    """
    listed = list(_walk(name, group))
    rows = [[f"[{path}](#{_anchor(path)})", escape(_first_line(c))] for path, c in listed]
    return page(
        "Command line",
        _help(group),
        table(["command", "what it does"], rows),
        *(_command(path, command) for path, command in listed),
    )


def _walk(path: str, group: click.Group) -> list[tuple[str, click.Command]]:
    """Returns all commands below a group with their full names."""
    found: list[tuple[str, click.Command]] = []
    for name, command in group.commands.items():
        if command.hidden:
            continue
        full = f"{path} {name}"
        found.append((full, command))
        if isinstance(command, click.Group):
            found += _walk(full, command)
    return found


def _anchor(path: str) -> str:
    return path.lower().replace(" ", "-")


def _first_line(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").partition("\n")[0]


def _help(command: click.Command) -> str:
    # \b marks a block that click does not rewrap; \f ends the text that click shows.
    text = inspect.cleandoc(command.help or "").partition("\f")[0].replace("\b\n", "")
    return paragraphs(text)


def _command(path: str, command: click.Command) -> str:
    words = [
        f"{parameter.human_readable_name.upper()}"
        for parameter in command.params
        if isinstance(parameter, click.Argument)
    ]
    usage = " ".join([path, *words, "[OPTIONS]"])
    epilog = inspect.cleandoc(command.epilog or "").replace("\b\n", "")
    examples = f"```text\n{epilog}\n```" if epilog else ""
    return section(path, f"```text\n{usage}\n```", _help(command), _options(command), examples)


def _options(command: click.Command) -> str:
    rows = []
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        # The two spellings of a flag, --dry-run and --dry_run, are one flag.
        flags = [flag for flag in parameter.opts if flag.startswith("--") and "_" not in flag]
        shown = ", ".join(code(flag) for flag in flags or parameter.opts)
        kind = "" if parameter.is_flag else parameter.metavar or parameter.type.name.upper()
        rows.append([shown, code(kind) if kind else "", escape(parameter.help or "")])
    return table(["option", "value", "meaning"], rows)

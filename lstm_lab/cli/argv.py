"""Prepares the arguments before click parses them, and turns click's errors into one line.

In: the arguments of the process. Out: arguments with dashes in the names of flags, and the settings
`--config.PATH=VALUE`, which click cannot declare because their names depend on the task.
"""

from __future__ import annotations

import click

from lstm_lab.utils.errors import UserError, unknown

# Verbs that read a config, and so accept --config.PATH=VALUE.
WITH_SETTINGS = (("train",), ("summary",), ("compile",), ("config", "show"), ("import",))


def with_dashes(arguments: list[str]) -> list[str]:
    """Returns the arguments with `--dry_run` as `--dry-run`; values and settings stay.

    Args:
      arguments: the arguments of the process.
    """
    result = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("--") and not name.startswith("--config."):
            argument = name.replace("_", "-") + equals + value
        result.append(argument)
    return result


def accepts_settings(arguments: list[str]) -> bool:
    """Returns whether the verb of the arguments reads a config.

    Args:
      arguments: the arguments, verb first.
    """
    return any(tuple(arguments[: len(verb)]) == verb for verb in WITH_SETTINGS)


def usage_error(error: click.ClickException) -> UserError:
    """Returns an error of click as one line: the flag, its value, what is expected.

    Args:
      error: what click raised.
    """
    context = getattr(error, "ctx", None)
    verb = context.command_path.removeprefix("lstm-lab").strip() if context else ""
    help_hint = f"lstm-lab {verb} --help" if verb else "lstm-lab --help"
    if isinstance(error, click.NoSuchOption):
        allowed = _flags(context)
        if setting := _setting(error.option_name) if (*verb.split(),) in WITH_SETTINGS else None:
            return UserError(
                f"{verb}: flag: got {error.option_name!r}; did you mean --config.{setting}=VALUE?"
            )
        return unknown(f"{verb}: flag", error.option_name, allowed)
    if isinstance(error, click.NoSuchCommand):
        group = context.command if context else None
        verbs = sorted(group.commands) if isinstance(group, click.Group) else []
        return unknown(f"{verb} verb".strip(), error.command_name, verbs)
    where = f"{verb}: " if verb else ""
    if isinstance(error, click.MissingParameter):
        name = error.param.make_metavar(context) if error.param and context else "an argument"
        return UserError(f"{where}{name} is required; {help_hint} explains")
    if isinstance(error, click.BadParameter) and error.param is not None:
        return UserError(f"{where}{error.param.opts[0]}: {error.message}")
    message = " ".join(error.format_message().split()).rstrip(".")
    return UserError(f"{where}{message}; {help_hint} explains")


def _setting(flag: str) -> str | None:
    """Returns the setting that a flag without `--config.` names, as `--epochs` or `--optim.lr`."""
    from lstm_lab.config.parsing import field_types
    from lstm_lab.config.run_spec import SECTIONS

    section, _, name = flag.lstrip("-").replace("-", "_").rpartition(".")
    for known, kind in SECTIONS.items():
        if section in ("", known) and name in field_types(kind):
            return f"{known}.{name}"
    return f"task.{name}" if section == "task" else None


def _flags(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    options = [p for p in context.command.params if isinstance(p, click.Option) and not p.hidden]
    return [option.opts[0] for option in options]

"""Prepares the arguments before click parses them, and turns click's errors into one line.

In: the arguments of the process. Out: arguments with dashes in the names of flags, and the settings
`--config.PATH=VALUE`, which click cannot declare because their names depend on the task.
"""

from __future__ import annotations

import difflib
import re

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
        allowed, name = _flags(context), error.option_name
        if name.startswith("--config.") and verb in ("sweep", "reproduce"):
            expected = "the settings of a study stand in its file (base, axes, tuning)"
            return UserError(f"{verb}: flag: got {name!r}; {expected}")
        reads_settings = (*verb.split(),) in WITH_SETTINGS
        first, dot, path = name.partition(".")
        if dot and reads_settings and difflib.get_close_matches(first, ["--config"]):
            return UserError(f"{verb}: flag: got {name!r}; did you mean --config.{path}=VALUE?")
        if setting := _setting(name) if reads_settings else None:
            # `--seed` may be a slip for `--seeds`, which is something else.
            similar = difflib.get_close_matches(name, allowed, 1)
            meant = " or ".join([f"--config.{setting}=VALUE", *similar])
            return UserError(f"{verb}: flag: got {name!r}; did you mean {meant}?")
        return unknown(f"{verb}: flag", name, allowed)
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
    # click keeps the arguments in its text alone.
    if extra := re.fullmatch(r"Got unexpected extra arguments? \((\S+).*\)", message):
        hint = _hint_for_extra(verb, extra[1], _flags(context))
        return UserError(f"{where}got {extra[1]!r}, which is one argument too many; {hint}")
    return UserError(f"{where}{message}; {help_hint} explains")


def _hint_for_extra(verb: str, argument: str, flags: list[str]) -> str:
    """Returns what a user may have meant by an argument that the verb does not take."""
    if (*verb.split(),) in WITH_SETTINGS:
        if "=" in argument:
            return f"did you mean {meant_setting(argument)}?"
        return "words of a config follow a colon, as in adding:lstm"
    if "--against" in flags:
        return f"did you mean --against={argument}?"
    if "--workdir" in flags and "/" in argument:
        return f"did you mean --workdir={argument}?"
    return f"lstm-lab {verb} --help explains"


def meant_setting(text: str) -> str:
    """Returns the flag that `NAME=VALUE` without its beginning means.

    Args:
      text: what the user wrote.

    Example:
      meant_setting("lr=0.1")  # "--config.optim.lr=0.1"
    """
    name, _, value = text.partition("=")
    return f"--config.{_setting(name) or name.removeprefix('config.')}={value}"


def _setting(flag: str) -> str | None:
    """Returns the setting that a flag without `--config.` names, as `--epochs` or `--optim.lr`."""
    from lstm_lab.config.parsing import find_setting

    section, _, name = flag.lstrip("-").replace("-", "_").rpartition(".")
    meant = find_setting(name, section)
    if section == "task":
        return f"task.{name}"
    return meant if meant and section in ("", "config", meant.partition(".")[0]) else None


def _flags(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    options = [p for p in context.command.params if isinstance(p, click.Option) and not p.hidden]
    return [option.opts[0] for option in options]

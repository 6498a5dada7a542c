"""What all verbs share: how flags are declared, and the flags that several verbs have.

In: nothing. Out: decorators of click. Every flag has a help text with an example; a test checks it.
`argv.py` prepares the arguments before click parses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from lstm_lab.utils.errors import UserError, unknown
from lstm_lab.utils.files import name_problem

Verb = TypeVar("Verb", bound=Callable[..., Any])


class Whole(click.ParamType[int]):
    """A whole number of at least `least`; errors have the form of all errors of the project.

    Args:
      least: the smallest allowed number.
    """

    name = "whole number"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Returns the number, or fails with the value and what is expected."""
        try:
            number = int(value)
        except ValueError:
            self.fail(f"got {value!r}, expected a whole number", param, ctx)
        if number < self.least:
            self.fail(f"got {number}, expected {self.least} or more", param, ctx)
        return number


class Folder(click.Path):
    """A folder for results. Python takes an empty path for the current folder; this is an error."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path, or fails with the reason."""
        if problem := name_problem(str(value)):
            self.fail(f"got {str(value)!r}, {problem}", param, ctx)
        return super().convert(value, param, ctx)


class OneOf(click.Choice[str]):
    """One of several words; an unknown word gets the nearest one as a hint."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Returns the message for a word that is not among the choices."""
        del ctx
        return str(unknown("", value, self.choices)).removeprefix(": ")


COUNT = Whole(1)
# The flags of other processes whose values may be paths.
PATH_FLAGS = ("--study", "--workdir", "--data-dir", "--results")


def flag(name: str, help_text: str, **options: Any) -> Callable[[Verb], Verb]:
    """Declares a flag of a verb.

    Args:
      name: the flag, as "--seeds".
      help_text: what it does, and an example of the form `e.g. --seeds=5`.
      **options: of `click.option`.
    """
    return click.option(name, help=help_text, **options)


def switch(name: str, help_text: str) -> Callable[[Verb], Verb]:
    """Declares a flag without a value.

    Args:
      name: the flag, as "--dry-run".
      help_text: what it does.
    """
    return click.option(name, is_flag=True, help=help_text)


def _complete_names(kind: str) -> Callable[..., list[CompletionItem]]:
    """Returns a function that completes the names of configs, studies, variants or data."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del context, parameter
        from lstm_lab.cli.names import names_of

        # Files stay possible: the shell completes them if no name fits.
        names = [name for name in names_of(kind) if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]

    return complete


def named_argument(name: str, kind: str, required: bool = False) -> Callable[[Verb], Verb]:
    """Declares an argument that is the name of something, with completion.

    Args:
      name: the argument, as it appears in the usage line.
      kind: what is completed: configs, studies, variants or data.
      required: whether a verb without it is wrong usage.
    """
    return click.argument(
        name, required=required, metavar=name.upper(), shell_complete=_complete_names(kind)
    )


def config_argument(verb: Verb) -> Verb:
    """Declares CONFIG, also as `--config`, for a verb that reads a config."""
    verb = named_argument("config", "configs")(verb)
    return click.option(
        "--config",
        "config_flag",
        metavar="CONFIG",
        help="The same as CONFIG, e.g. --config=adding:lstm. --config.PATH=VALUE changes a "
        "setting, e.g. --config.optim.lr=0.01.",
    )(verb)


def one_of(argument: str | None, option: str | None, name: str, expected: str) -> str:
    """Returns the value of an argument that is also a flag.

    Args:
      argument: the value of the argument, or None.
      option: the value of the flag, or None.
      name: the name of both.
      expected: what the value is, for errors.

    Raises:
      UserError: if both are given, or none.
    """
    if name == "config" and option is not None and "=" in option and ".py" not in option:
        from lstm_lab.cli.argv import meant_setting

        raise UserError(f"config: got --config {option}; did you mean {meant_setting(option)}?")
    if argument is not None and option is not None:
        raise UserError(f"{name}: got {argument!r} and --{name}={option}, expected one of both")
    value = argument if option is None else option
    if value is None:
        raise UserError(f"--{name} is required: {expected}")
    return value


workdir = flag(
    "--workdir",
    "The folder of the results, e.g. --workdir=runs/first. By default a folder in runs/.",
    metavar="DIR",
    type=Folder(),
)
data_dir = flag(
    "--data-dir",
    "The folder of data sets, e.g. --data-dir=data. By default $LSTM_LAB_DATA or the user's cache.",
    metavar="DIR",
    type=Folder(),
)
devices = flag(
    "--devices",
    "CPU cores to use as devices, e.g. --devices=2. By default all; accelerators are always used.",
    metavar="N",
    type=COUNT,
)
log = flag(
    "--log",
    "Also sends numbers to wandb, mlflow or aim, e.g. --log=wandb,mlflow; or to FILE.py:NAME, a "
    "class of your own.",
    metavar="A,B",
)
kubernetes = flag(
    "--kubernetes",
    "With --emit=kubernetes: image and claim (the volume that all pods share); also name, "
    "namespace, mount, cpu, memory, gpus, tpu, topology, secret, and hosts of `train`, e.g. "
    "--kubernetes=image=registry.example/lab:1,claim=lab,gpus=1.",
    metavar="NAME=VALUE,...",
)
run_flag = flag(
    "--run",
    "The run of a study, e.g. --run=1f0c2a9b7d3e. By default its best run on validation.",
    metavar="ID",
)


trust_code = switch(
    "--trust-code",
    "Lets a run.json or a run's folder run the cell or the task in it, e.g. --trust-code.",
)


def as_arguments(flags: Mapping[str, object]) -> list[str]:
    """Returns flags as arguments: `--NAME=VALUE`, `--NAME` for True, nothing for None and False.

    Args:
      flags: the value of each flag, by its name without dashes.

    Example:
      as_arguments({"jobs": 2, "rerun": None})  # ["--jobs=2"]
    """
    return [
        f"--{name}" if value is True else f"--{name}={value}"
        for name, value in flags.items()
        if value is not None and value is not False
    ]

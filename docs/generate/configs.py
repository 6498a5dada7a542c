"""The pages of the configs: what each one trains, and its resolved settings."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docs.generate.markdown import (
    ROOT,
    code,
    escape,
    page,
    paragraphs,
    section,
    source_link,
    table,
    toctree,
)
from lstm_lab.config.parsing import build_spec
from lstm_lab.config.serialization import to_json
from lstm_lab.utils.docstrings import description, summary
from lstm_lab.utils.errors import UserError


@dataclass(frozen=True)
class ShownConfig:
    """A config of the package as its page shows it.

    Attributes:
      name: the name of its file.
      path: the file.
      title: the first line of its docstring.
      text: its docstring without the first line.
      task: the name of its task, or "" if the settings need data that are not here.
      chosen: the settings that the config sets, by path.
      resolved: all settings of the run, by path.
    """

    name: str
    path: Path
    title: str
    text: str
    task: str
    chosen: dict[str, Any]
    resolved: dict[str, Any]


@cache
def load_all() -> tuple[ShownConfig, ...]:
    """Returns all configs of the package, in the order of their names."""
    folder = ROOT / "configs"
    return tuple(_load(path) for path in sorted(folder.glob("[!_]*.py")))


def _load(path: Path) -> ShownConfig:
    module_spec = importlib.util.spec_from_file_location(f"_shown_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    text = description(module).partition("\n")[2].strip("\n")
    try:
        values = module.get_config().to_dict()
        resolved = to_json(build_spec(values))
    except UserError:  # the options of some tasks depend on files that must be downloaded first
        return ShownConfig(path.stem, path, summary(module), text, "", {}, {})
    task = resolved["task"]["name"]
    return ShownConfig(
        path.stem, path, summary(module), text, task, flatten(values), flatten(resolved)
    )


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested settings by path, such as optim.lr."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def pages() -> dict[str, str]:
    """Returns the page of each config, and configs/index.md."""
    configs = load_all()
    written = {f"configs/{config.name}.md": _page(config) for config in configs}
    rows = [[f"[{config.name}]({config.name}.md)", escape(config.title)] for config in configs]
    written["configs/index.md"] = page(
        "Configs",
        "A config is a complete run: task, model, optimizer and length of training. Change any of "
        "its settings on the command line: `--config.PATH=VALUE`.",
        table(["name", "what it trains"], rows),
        toctree([config.name for config in configs]).replace(":maxdepth: 1", ":hidden:"),
    )
    return written


def _page(config: ShownConfig) -> str:
    chosen = [[code(path), code(value)] for path, value in config.chosen.items()]
    others = [
        [code(path), code(value)]
        for path, value in config.resolved.items()
        if path not in config.chosen and not path.endswith("sha256")
    ]
    task = f"The task is [{config.task}](../tasks/{config.task}.md)." if config.task else ""
    unknown = (
        ""
        if config.task
        else "The settings depend on the data. With the data in place, this command shows them:"
    )
    command = f"```sh\nlstm-lab config show {config.name}\n```"
    return page(
        config.name,
        f"{escape(config.title)}. {task}".strip(),
        paragraphs(config.text),
        section("Settings of the config", unknown, table(["setting", "value"], chosen), command),
        section(
            "Settings with their defaults",
            "[Settings](../reference/settings.md) explains each of them." if others else "",
            table(["setting", "value"], others),
        ),
        section("Source", source_link(config.path)),
    )

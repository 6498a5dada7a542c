"""The pages of the tasks: what each one is, and its options."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

from docs.generate import configs
from docs.generate.markdown import code, escape, page, paragraphs, section, source_link, table
from docs.generate.markdown import toctree as toctree_of
from lstm_lab.tasks import TASKS, Task
from lstm_lab.utils.docstrings import attribute_docs, description, summary


def pages() -> dict[str, str]:
    """Returns the page of each task, and tasks/index.md."""
    written = {f"tasks/{name}.md": _page(name, task) for name, task in TASKS.items()}
    rows = [[f"[{name}]({name}.md)", escape(summary(task))] for name, task in TASKS.items()]
    written["tasks/index.md"] = page(
        "Tasks",
        "A task gives the data, the loss and the metrics of a run. Its options are settings of the "
        "run: `--config.task.NAME=VALUE`.",
        table(["name", "what it is"], rows),
        toctree_of(list(TASKS)).replace(":maxdepth: 1", ":hidden:"),
    )
    return written


def _page(name: str, task: type[Task]) -> str:
    users = [
        f"[{config.name}](../configs/{config.name}.md)"
        for config in configs.load_all()
        if config.task == name
    ]
    return page(
        name,
        paragraphs(_without_source(description(task))),
        section("Options", fields_table(task, "task")),
        section("Configs", ", ".join(users)),
        section("Source", *_sources(task), source_link(Path(inspect.getfile(task)))),
    )


def _without_source(doc: str) -> str:
    return "\n\n".join(part for part in doc.split("\n\n") if not part.startswith("Source: "))


def _sources(task: type[Task]) -> list[str]:
    """Returns the papers that the docstring of a task names, at its end."""
    parts = inspect.cleandoc(task.__doc__ or "").split("\n\n")
    found = [part.removeprefix("Source: ") for part in parts if part.startswith("Source: ")]
    return [escape(" ".join(text.split())) for text in found]


def fields_table(cls: type, prefix: str) -> str:
    """Returns the fields of a dataclass as a table: setting, type, default, meaning."""
    docs = attribute_docs(cls)
    rows = []
    assert dataclasses.is_dataclass(cls)
    for field in dataclasses.fields(cls):
        path = f"{prefix}.{field.name}" if prefix else field.name
        text = escape(docs.get(field.name, ""))
        rows.append([code(path), code(field.type), code(default(field)), text])
    return table(["setting", "type", "default", "meaning"], rows)


def default(field: dataclasses.Field[object]) -> str:
    """Returns the default of a field as it is written, or `required`."""
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return "required" if field.default_factory is dataclasses.MISSING else "see its section"

"""Tables of a user, and the tasks that read them."""

from pathlib import Path

from lstm_lab.config.parsing import build_spec


def write(folder, name, *lines):
    """Writes a file of lines; returns its path as text."""
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def task_of(name, **options):
    """Returns a task, with the options that its files determine."""
    return build_spec({"task": {"name": name, **options}, "train": {"steps": 1}}).task


def load(name, **options):
    """Returns a task and its data."""
    task = task_of(name, **options)
    return task, task.load(Path())

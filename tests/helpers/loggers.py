"""Loggers for tests: one that keeps what it gets, and the values that metrics.jsonl promises."""

from lstm_lab.results.run_files import read_rows


def new_keeper():
    """Returns a class of loggers that keep what they get; `Keeper.made` lists its objects."""

    made = []

    class Keeper:
        def start(self, run):
            self.run, self.logged, self.figures, self.ended = run, [], [], None
            made.append(self)
            return f"outside-{run.folder.name}"

        def log(self, step, values):
            self.logged.append((step, dict(values)))

        def figure(self, step, name, image):
            self.figures.append((step, name, image))

        def end(self, status, metrics):
            self.ended = (status, dict(metrics))

        @property
        def rows(self):
            """What it got of metrics.jsonl; the groups perf, gates and state are not there."""
            groups = ("train", "valid", "optim")
            return [
                (step, values)
                for step, values in self.logged
                if all(name.split("/")[0] in groups for name in values)
            ]

    Keeper.made = made
    return Keeper


def expected_rows(folder, metrics=("mse", "mae")):
    """Returns what a logger has to get of the rows of a run: (step, values) of each."""
    expected = []
    for row in read_rows(folder):
        if row["split"] == "train":
            names = {name: f"optim/{name}" for name in ("lr", "grad_norm", "update_ratio")}
            names["loss"] = "train/loss"
        else:
            names = {}
        names |= {name: f"{row['split']}/{name}" for name in metrics}
        values = {named: row[k] for k, named in names.items() if row[k] is not None}
        expected.append((row["step"], values))
    return expected


# A logger in a file: it appends what it gets to a file per run, and kills its process once.
KILLER = """
import json
import os
import signal
import sys
import time
from pathlib import Path


class Killer:
    def start(self, run):
        self.out = Path(__file__).with_name(f"{run.label.title}.jsonl")
        self.write("start", run.external_id)
        return run.label.title

    def write(self, *entry):
        with self.out.open("a") as file:
            print(json.dumps(entry), file=file)

    def log(self, step, values):
        if "train/loss" in values or "valid/mse" in values:
            self.write(step, values)
        killed = Path(__file__).with_name("killed")
        if step == 25 and not killed.exists():
            killed.touch()
            # W&B writes once a second, in a process of its own.
            time.sleep(3 if "wandb" in sys.modules else 0)
            os.kill(os.getpid(), signal.SIGKILL)

    def figure(self, step, name, image):
        pass

    def end(self, status, metrics):
        self.write(status, metrics)
"""

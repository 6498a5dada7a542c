"""Adaptive searches with written results instead of training."""

from math import log10

import optuna

from lstm_lab.studies import LogUniform, Search, Tuning, Uniform
from lstm_lab.studies.optuna import JOURNAL, next_generation
from lstm_lab.utils.files import read_json, write_json, write_lines
from tests.helpers.sweep import pool, tiny_study

RANGES = {"optim.lr": LogUniform(1e-4, 1.0), "optim.momentum": Uniform(0.0, 0.9)}


def search_study(count, *, seeds=(0, 1), final=(), **options):
    """Returns a study of two variants that searches with `count` trials of each."""
    search = Search(count, RANGES, **{"generation": 4, **options})
    return tiny_study(tuning=Tuning(seeds=seeds, trials=search), seeds=final)


def journal(folder, name):
    """Returns a variant's trials, read by Optuna itself."""
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=name, storage=storage).trials


def points(folder):
    """Returns the variant, the point and the seed of each run."""
    plan = read_json(folder / "study.json")
    return {run: (row["variant"], row["point"], row["seed"]) for run, row in plan["runs"].items()}


def write_results(folder, value, runs=None):
    """Writes a result for each planned run without training: `value` of its point and seed."""
    for run, row in folder.plan["runs"].items():
        path = folder.run_folder(run) / "result.json"
        if row["stage"] == "tuning" and not path.exists() and (runs is None or run in runs):
            score = value(row["point"]) + 1e-3 * row["seed"]
            rows = [{"step": k, "split": "valid", "mse": score + 1 / k} for k in (1, 2, 3)]
            write_lines(path.with_name("metrics.jsonl"), rows)
            best = {"step": 3, "valid": {"mse": score}}
            write_json(path, {"id": run, "status": "completed", "best": best, "test": {}})


def run_search(folder, declared, value):
    """Runs a search with written results; returns the number of runs of each generation."""
    sizes, runs = [], next_generation(folder, declared)
    while runs:
        folder.plan_runs(runs, pool(1), lambda spec: 0.0)
        write_results(folder, value)
        sizes.append(len(runs))
        runs = next_generation(folder, declared)
    return sizes


def parabola(point):
    """Has its minimum at a learning rate of 0.01."""
    return (log10(point["optim.lr"]) + 2) ** 2 + 0.1 * point["optim.momentum"]

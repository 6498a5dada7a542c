"""Folders of runs for the tests of model cards: a single run, a table of a user, a study."""

import shutil

import pytest

from lstm_lab.config.parsing import build_spec
from lstm_lab.utils.files import read_json, write_json
from tests.helpers.training import small_spec, train

# Names with a meaning in Markdown, HTML and YAML.
COLUMN = "load|<b>: *x*"


@pytest.fixture(scope="package")
def trained(tmp_path_factory):
    """The folders of four seeds of one config, and the folder of a run on a user's series."""
    folder = tmp_path_factory.mktemp("trained")
    seeds = (3, 4, 5, 6)
    train([small_spec(seed=seed) for seed in seeds], folder)
    rows = [f"d{k},{k % 5},{k % 7}" for k in range(60)]
    path = folder / "po'we*r*.csv"
    path.write_text("\n".join([f"when,temp,{COLUMN}", *rows]) + "\n")
    task = {"name": "series", "file": str(path), "context": 4, "targets": (COLUMN,)}
    settings = {"train": {"steps": 1, "batch_size": 4, "eval_every": 1}, "model": {"hidden": 2}}
    train([build_spec({"task": task, **settings})], folder / "series")
    return [*(folder / str(k) for k in range(len(seeds))), folder / "series" / "0"]


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the folder of one run, which a test may change."""
    return shutil.copytree(trained[0], tmp_path / "adding")


@pytest.fixture
def series(trained, tmp_path):
    """A copy of the folder of a run on a user's series."""
    return shutil.copytree(trained[-1], tmp_path / "series")


@pytest.fixture
def study(trained, tmp_path):
    """The folder of a study of three final seeds, and of a tuning run of the same variant."""
    folder, rows = tmp_path / "study", {}
    for k, source in enumerate(trained[:4]):
        head = read_json(source / "run.json")
        stage, point = ("final", {}) if k < 3 else ("tuning", {"optim.lr": 0.1})
        rows[head["id"]] = {
            "variant": "base",
            "stage": stage,
            "point": point,
            "seed": head["spec"]["seed"],
        }
        shutil.copytree(source, folder / "runs" / head["id"])
    declared = {
        "name": "five",
        "title": "five",
        "base": small_spec_json(trained[0]),
        "variants": {"base": {}},
        "seeds": [3, 4, 5],
        "baseline": None,
        "metric": "mse",
        "direction": "min",
        "tuning": {"seeds": None, "points": {"base": 1}, "ranges": None},
        "top": 0.1,
        "claims": [],
    }
    plan = {"study": declared, "runs": rows, "cohorts": {}, "chosen": {"base": {"optim.lr": 0.1}}}
    write_json(folder / "study.json", plan)
    return folder


def small_spec_json(folder):
    """Returns the settings of a run."""
    return read_json(folder / "run.json")["spec"]

"""Weights & Biases, MLflow and Aim themselves: what they hold of a study whose process was killed.

The study trains two members at once, is killed in the middle and then resumed. Each library is read
with its own reader, and compared with metrics.jsonl.
"""

import json
import os
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lstm_lab.config.serialization import to_json
from lstm_lab.results.run_files import read_head, read_result
from lstm_lab.training.loggers.base import RunInfo, RunLabel
from lstm_lab.training.loggers.to_mlflow import MLflow
from lstm_lab.training.loggers.to_wandb import project_name
from tests.helpers.loggers import KILLER, expected_rows
from tests.helpers.paths import ROOT
from tests.helpers.training import small_spec

# MLflow and Aim use functions of SQLAlchemy that it will remove.
pytestmark = pytest.mark.filterwarnings("ignore")

CODE = """
import json, sys
import lstm_lab as ll
study = ll.Study("two", json.loads(sys.argv[1]), (ll.grid("optim.lr", (0.1, 0.05)),), (0,))
log = ["wandb", "mlflow", "aim", *sys.argv[3:]]
ll.sweep(study, workdir=sys.argv[2], log=log)
"""
OFFLINE = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
OWN = ("WANDB_DIR", "WANDB_PROJECT", "WANDB_RUN_GROUP", "MLFLOW_TRACKING_URI", "AIM_REPO")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Trains the study in two processes; the first one kills itself at step 25."""
    folder = tmp_path_factory.mktemp("loggers")
    (folder / "killer.py").write_text(KILLER)
    often = {"checkpoint_seconds": 0.0, "log_every": 5, "gates": True}
    config = to_json(small_spec(train={"steps": 40, "eval_every": 20}, compute=often))
    environment = {k: v for k, v in os.environ.items() if k not in OWN} | OFFLINE
    arguments = [json.dumps(config), f"{folder / 'study'}", f"{folder / 'killer.py'}:Killer"]
    command = [sys.executable, "-c", CODE, *arguments]
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    killed, ended = (subprocess.run(command, **options) for _ in range(2))
    assert killed.returncode == -9, killed.stderr
    assert ended.returncode == 0, ended.stderr
    assert "receives no more" not in killed.stderr + ended.stderr
    runs = sorted((folder / "study" / "runs").iterdir())
    assert [read_head(run)["resumed_at"] for run in runs] == [[20], [20]]
    return SimpleNamespace(folder=folder / "study", runs=runs, environment=environment)


def test_wandb_holds_each_step_once(study):
    from tests.helpers.wandb import history, last_run, read_records, summary

    for folder in study.runs:
        head, result = read_head(folder), read_result(folder)
        name = head["loggers"]["wandb"]["id"]
        assert name.startswith(head["id"])
        files = sorted(study.folder.glob(f"wandb/offline-run-*/run-{name}.wandb"))
        assert len(files) == 2  # one for each process
        parts = [read_records(path) for path in files]
        run = last_run(parts[1])
        rate = head["spec"]["optim"]["lr"]
        assert (run.run_id, run.project, run.run_group) == (name, "two", f"{rate:g}")
        assert run.display_name == f"{rate:g}, seed 0"
        config = {item.key or item.nested_key[0]: item.value_json for item in run.config.update}
        assert json.loads(config["optim.lr"]) == rate
        assert json.loads(config["model.hidden"]) == 5
        before, after = map(history, parts)
        assert max(before) < min(after)
        logged = before | after
        for step, values in expected_rows(folder):
            assert logged[step].items() >= values.items()
        assert logged[40]["gates/layer_0/f/values/_type"] == "histogram"
        final = summary(parts[1])
        assert final["test/mse"] == result["test"]["mse"]
        assert final["status"] == "completed"
        image = list(files[1].parent.glob("files/media/images/gates/layer_0/f_*.png"))
        assert len(image) == 1


def test_mlflow_holds_each_step_once(study):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{study.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("two")
    runs = {
        run.data.tags["lstm_lab.id"]: run for run in client.search_runs([experiment.experiment_id])
    }
    assert set(runs) == {folder.name for folder in study.runs}
    for folder in study.runs:
        run, head = runs[folder.name], read_head(folder)
        rate = head["spec"]["optim"]["lr"]
        assert run.info.run_id == head["loggers"]["mlflow"]["id"]
        assert (run.info.status, run.info.run_name) == ("FINISHED", f"{rate:g}, seed 0")
        assert run.data.tags["lstm_lab.variant"] == f"{rate:g}"
        assert float(run.data.params["optim.lr"]) == rate
        expected = {}
        for step, values in expected_rows(folder):
            for name, value in values.items():
                expected.setdefault(name, []).append((step, value))
        assert len(expected["train/loss"]) == 8
        for name, points in expected.items():
            stored = client.get_metric_history(run.info.run_id, name)
            assert [(m.step, m.value) for m in stored] == points, name
        assert run.data.metrics["test/mse"] == read_result(folder)["test"]["mse"]
        images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
        assert any("layer_0~f" in path for path in images)


@pytest.mark.parametrize("name", ["a b%20", "q?x#y"])
def test_mlflow_writes_into_a_folder_of_any_name(tmp_path, monkeypatch, name):
    for variable in OWN:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in OFFLINE.items():
        monkeypatch.setenv(variable, value)
    folder = tmp_path / name
    folder.mkdir()
    label = RunLabel("lstm, seed 0", "adding", "lstm", folder)
    logger = MLflow()
    run = logger.start(RunInfo("5f", label, folder, {"seed": 0}, [], (), None, None))
    logger.log(5, {"train/loss": 0.5})
    logger.end("completed", {})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    connection = sqlite3.connect(folder / "mlflow.db")
    stored = connection.execute("SELECT run_uuid, key, value, step FROM metrics").fetchall()
    connection.close()
    assert stored == [(run, "train/loss", 0.5, 5)]


def test_aim_holds_each_step_once(study):
    import aim
    from aim.sdk.index_manager import RepoIndexManager

    repository = aim.Repo.from_path(str(study.folder))
    # As `aim up` does, which shows only runs that are in the index.
    manager = RepoIndexManager.get_index_manager(repository)
    for folder in study.runs:
        manager.index(read_head(folder)["loggers"]["aim"]["id"])
    for folder in study.runs:
        head = read_head(folder)
        rate = head["spec"]["optim"]["lr"]
        run = repository.get_run(head["loggers"]["aim"]["id"])
        assert (run.name, run.experiment, run.tags) == (
            f"{rate:g}, seed 0",
            "two",
            [f"{rate:g}"],
        )
        assert run["settings"]["optim.lr"] == rate
        assert run["lstm_lab"]["id"] == folder.name
        assert run["scores"]["test/mse"] == read_result(folder)["test"]["mse"]
        assert run["status"] == "completed"
        items = {metric.name: metric.data.items_list() for metric in run.metrics()}
        tracked = {name: (steps, columns[0]) for name, (steps, columns) in items.items()}
        expected = {}
        for step, values in expected_rows(folder):
            for name, value in values.items():
                expected.setdefault(name, {})[step] = value
        for name, points in expected.items():
            assert dict(zip(*tracked[name], strict=True)) == points, name
            assert len(tracked[name][0]) == len(points), name
        others = run.collect_sequence_info(("distributions", "images"), skip_last_value=True)
        names = {kind: {entry["name"] for entry in entries} for kind, entries in others.items()}
        assert "gates/layer_0/f/values" in names["distributions"]
        assert "gates/layer_0/f" in names["images"]
    repository.close()


@pytest.mark.parametrize("character", "/\\#?%:")
def test_wandb_accepts_the_names_of_projects(character):
    import wandb

    name = f"my_task.py{character}Majority"
    with pytest.raises(wandb.errors.UsageError):
        wandb.Settings(project=name)
    assert wandb.Settings(project=project_name(name)).project == "my_task.py-Majority"
    assert wandb.Settings(project=project_name(200 * "a")).project

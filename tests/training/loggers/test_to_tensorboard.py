"""TensorBoard itself, started on a study: its scalars, images, and the HParams tab's columns."""

import json
import re
import subprocess
import sys
import time
import urllib.request

import pytest

from lstm_lab.studies import Study, grid
from lstm_lab.studies.run import launch
from lstm_lab.training.loop import StopRequest
from tests.helpers.sweep import BASE


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """Starts TensorBoard on a small study with a diverged variant; yields a query function."""
    folder = tmp_path_factory.mktemp("study")
    base = {**BASE, "compute": {**BASE["compute"], "gates": True}}
    study = Study("board", base, (grid("optim.lr", (0.1, 1e30)),), (0, 1))
    assert launch(study, folder, folder, StopRequest()) == "completed"
    process = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", f"--logdir={folder / 'runs'}", "--port=0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    address = None
    for line in process.stderr:
        match = re.search(r"http://\S+?:(\d+)/", line)
        if match:
            address = f"http://127.0.0.1:{match[1]}"
            break

    def query(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{address}/data/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    for _ in range(100):
        if len(query("runs")) == 4:
            break
        time.sleep(0.2)
    yield query
    process.kill()
    process.communicate()


def test_tensorboard_shows_the_scalars_and_images_of_runs(board):
    scalars, images = board("plugin/scalars/tags"), board("plugin/images/tags")
    assert len(scalars) == 4
    curves = {"train/loss", "valid/mse", "optim/grad_norm"}
    # Those that diverge in their first interval have no finite number to show.
    assert sum(curves <= set(tags) for tags in scalars.values()) == 2
    assert all("perf/steps_per_s" in tags for tags in scalars.values())
    complete = [tags for tags in scalars.values() if curves <= set(tags)]
    assert all({"gates/layer_0/f/mean", "state/layer_0/c_norm"} <= set(tags) for tags in complete)
    assert sum("gates/layer_0/f" in tags for tags in images.values()) >= 2
    run = next(run for run, tags in scalars.items() if curves <= set(tags))
    points = board(f"plugin/scalars/scalars?run={run}&tag=valid/mse")
    assert next(step for _, step, _ in points) == 5


def test_the_hparams_tab_shows_settings_and_final_status(board):
    columns = {row["name"] for row in board("plugin/hparams/experiment", {})["hparamInfos"]}
    assert {"optim.lr", "model.cell", "seed"} <= columns
    request = {
        "startIndex": 0,
        "sliceSize": 10,
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_UNKNOWN"],
        "colParams": [],
    }
    groups = board("plugin/hparams/session_groups", request)["sessionGroups"]
    statuses = sorted(
        (group["hparams"]["optim.lr"], group["sessions"][0]["status"]) for group in groups
    )
    assert statuses == [(0.1, "STATUS_SUCCESS")] * 2 + [(1e30, "STATUS_FAILURE")] * 2

"""One run on several hosts, here processes of one machine: the same losses as one process."""

import os
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from lstm_lab.training import multihost
from lstm_lab.training.checkpoint import Checkpoints
from lstm_lab.training.layout import Layout, choose_layout, fit_layout
from lstm_lab.training.multihost import initialize_distributed
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, read_lines
from tests.helpers.hosts import (
    VARIABLES,
    found_by_two_hosts,
    metadata_server,
    named,
    open_mpi_4,
    slurm,
)
from tests.helpers.paths import ROOT
from tests.helpers.training import (
    StopAfter,
    assert_same_record,
    run_record,
    small_spec,
    train,
    wait_for_step,
)

FLAGS = ("--config=configs/adding.py:vanilla", "--config.task.length=12")
# Ten steps of plain SGD, each evaluated: too few for rounding errors to grow.
PLAIN = (
    "--config.optim.name=sgd",
    "--config.optim.lr=0.1",
    "--config.optim.clip=none",
    "--config.train.steps=10",
    "--config.train.eval_every=1",
)
LONG = (
    "--config.train.steps=600",
    "--config.train.eval_every=20",
    "--config.model.hidden=8",
    "--config.compute.checkpoint_seconds=0",
    "--config.compute.log_every=20",
)


def start(folder, *flags, devices):
    command = [sys.executable, "-m", "lstm_lab", "train", *FLAGS, *flags]
    return subprocess.Popen(
        [*command, f"--workdir={folder}", f"--devices={devices}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start_two_hosts(folder, *flags):
    """Starts two hosts with one device each; each host gets its own folder."""
    address = f"127.0.0.1:{free_port()}"
    return [
        start(folder / f"host{k}", *flags, f"--hosts={k}/2@{address}", devices=1) for k in range(2)
    ]


def wait_for_all(processes):
    """Waits for processes; returns their exit codes and their (stdout, stderr)."""
    texts = [process.communicate(timeout=180) for process in processes]
    return [process.returncode for process in processes], texts


@pytest.mark.parametrize(
    ("address", "bound"),
    [
        ("127.0.0.1:9876", "127.0.0.1:9876"),
        ("localhost:9876", "localhost:9876"),
        ("[::1]:9876", "[::1]:9876"),
        ("10.0.0.1:9876", None),
        ("node127.example:9876", None),
    ],
)
def test_two_processes_of_a_machine_listen_on_loopback_alone(monkeypatch, address, bound):
    given = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **options: given.update(options))
    initialize_distributed(f"0/2@{address}")
    assert given["coordinator_bind_address"] == bound
    # What the user says is all: no cluster is asked which devices this process may see.
    assert given["cluster_detection_method"] == "deactivate"


def test_two_hosts_give_the_losses_of_one_host(tmp_path):
    codes, texts = wait_for_all(start_two_hosts(tmp_path, *PLAIN))
    assert codes == [0, 0], texts
    codes, one = wait_for_all([start(tmp_path / "one", *PLAIN, devices=1)])
    assert codes == [0], one
    two_hosts, expected = run_record(tmp_path / "host0"), run_record(tmp_path / "one")
    for a, b in zip(two_hosts[1], expected[1], strict=True):
        for name in ("loss", "mse", "grad_norm"):
            if name in b:
                np.testing.assert_allclose(a[name], b[name], rtol=1e-5)
    for a, b in zip(jax.tree.leaves(two_hosts[2]), jax.tree.leaves(expected[2]), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())
    assert read_json(tmp_path / "host0" / "run.json")["layout"]["hosts"] == 2
    assert not (tmp_path / "host1").exists()
    assert "completed after" in texts[0][0]
    assert "test        mse" not in texts[1][0]


@pytest.mark.slow
def test_hosts_stop_together_and_resume_bit_for_bit(tmp_path):
    codes, texts = wait_for_all(start_two_hosts(tmp_path / "a", *LONG))
    assert codes == [0, 0], texts
    processes = start_two_hosts(tmp_path / "b", *LONG)
    wait_for_step(tmp_path / "b" / "host0", 100, processes[0])
    processes[1].send_signal(signal.SIGTERM)  # host 1, which writes no files
    codes, texts = wait_for_all(processes)
    assert codes == [75, 75], texts
    assert read_lines(tmp_path / "b" / "host0" / "metrics.jsonl")[-1]["step"] < 600
    codes, texts = wait_for_all(start_two_hosts(tmp_path / "b", *LONG))
    assert codes == [0, 0], texts
    assert len(read_json(tmp_path / "b" / "host0" / "run.json")["resumed_at"]) == 1
    assert_same_record(run_record(tmp_path / "a" / "host0"), run_record(tmp_path / "b" / "host0"))


def test_an_error_on_one_host_stops_all_hosts(tmp_path):
    """First only host 0 sees a folder with other files; then the hosts get different seeds."""
    (tmp_path / "host0").mkdir()
    (tmp_path / "host0" / "letter.txt").write_text("dear")
    codes, texts = wait_for_all(start_two_hosts(tmp_path, *PLAIN))
    assert codes == [2, 2]
    assert all("is not empty and holds no run.json" in text for _, text in texts)
    address = f"127.0.0.1:{free_port()}"
    processes = [
        start(
            tmp_path / f"{k}", *PLAIN, f"--config.seed={k}", f"--hosts={k}/2@{address}", devices=1
        )
        for k in range(2)
    ]
    codes, texts = wait_for_all(processes)
    assert codes == [2, 2]
    assert all("runs differ between hosts" in text for _, text in texts)


class FakeHosts:
    """Two hosts in this process, one after the other: host 0 sends, then host 1 receives."""

    def __init__(self, monkeypatch):
        self.index, self.message = 0, b""
        monkeypatch.setattr(multihost, "count", lambda: 2)
        monkeypatch.setattr(multihost, "is_primary", lambda: self.index == 0)
        monkeypatch.setattr(multihost, "_send_from_host0", self.send)

    def send(self, message):
        self.message = self.message if self.index else message
        return self.message


@pytest.mark.parametrize(
    ("error", "elsewhere", "message"),
    [
        (UserError("workdir: is a file"), UserError, "^workdir: is a file$"),
        (OSError(5, "Input/output error"), RuntimeError, "^host 0: OSError: .*output error$"),
    ],
)
def test_any_error_of_host_0_ends_the_broadcast_on_every_host(
    monkeypatch, error, elsewhere, message
):
    hosts = FakeHosts(monkeypatch)

    def read():
        raise error

    with pytest.raises(type(error)) as raised:
        multihost.broadcast_from_host0(read)
    assert raised.value is error
    hosts.index = 1
    with pytest.raises(elsewhere, match=message):
        multihost.broadcast_from_host0(read)


def test_a_checkpoint_that_cannot_be_read_ends_on_every_host(tmp_path, monkeypatch):
    spec = small_spec()
    train([spec], tmp_path, stop=StopAfter(1))
    hosts = FakeHosts(monkeypatch)
    monkeypatch.setattr(Checkpoints, "restore", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train([spec], tmp_path)
    assert b"ZeroDivisionError" in hosts.message


def test_a_batch_is_split_over_the_devices_of_all_hosts(capsys):
    assert choose_layout(1, 32, 4, hosts=2) == Layout("batch", 4, 1, hosts=2)
    with pytest.raises(UserError, match="expected a multiple of 4, the number of devices"):
        choose_layout(1, 30, 4, hosts=2)
    recorded = Layout("batch", 4, 1, hosts=2)
    assert fit_layout(recorded, 32, 4, hosts=2) == recorded
    assert capsys.readouterr().err == ""
    assert fit_layout(recorded, 32, 2, hosts=2) == Layout("batch", 2, 1, hosts=2)
    assert fit_layout(recorded, 32, 1) == Layout("single", 1, 1)
    assert capsys.readouterr().err.count("results will differ") == 2


@pytest.mark.parametrize("hosts", ["2/2@here:1", "0@here:1", "0/2@here", "somewhere"])
def test_an_invalid_hosts_flag_is_an_error(hosts):
    with pytest.raises(UserError, match="expected auto, or K/N@ADDRESS:PORT"):
        multihost.initialize_distributed(hosts)


@pytest.mark.parametrize("variables", [slurm, open_mpi_4, named], ids=lambda v: v.__name__)
def test_hosts_find_each_other_by_the_variables_of_the_cluster(variables):
    assert found_by_two_hosts(variables) == [[0, 2, "host0"], [1, 2, "host0"]]


@pytest.mark.parametrize("kind", ["a TPU VM", "GKE"])
def test_the_hosts_of_a_tpu_pod_find_each_other(kind):
    def attributes(number):
        known = {"tpu-env": "ACCELERATOR_TYPE: 'v5litepod-8'\n"}
        workers = {"worker-network-endpoints": "127.0.0.1,127.0.0.2"}
        own = {"agent-worker-number": str(number)}
        return {**known, **workers, **own} if kind == "a TPU VM" else known

    with metadata_server(attributes(0)) as first, metadata_server(attributes(1)) as second:

        def variables(number, port):
            on_gke = {"TPU_WORKER_HOSTNAMES": "127.0.0.1,127.0.0.2", "TPU_WORKER_ID": str(number)}
            return {
                "GCE_METADATA_IP": (first, second)[number],
                "JAX_COORDINATOR_PORT": str(port),
                # The test's machine has no TPU.
                "JAX_FORCE_TPU_INIT": "1",
                **(on_gke if kind == "GKE" else {}),
            }

        assert found_by_two_hosts(variables) == [[0, 2, "host0"], [1, 2, "host0"]]


@pytest.fixture
def no_cluster(monkeypatch):
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_auto_without_a_cluster_is_an_error_of_one_line(no_cluster):
    # In Kubernetes, JAX would warn in several lines that a package is missing.
    no_cluster.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    command = [sys.executable, "-m", "lstm_lab", "train", "adding", "--hosts=auto"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("lstm-lab: --hosts=auto: ")
    assert "JAX_NUM_PROCESSES and JAX_PROCESS_ID name the hosts" in done.stderr


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_PROCESS_ID": "0"}, "JAX_COORDINATOR_ADDRESS is missing"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2"},
            "JAX_PROCESS_ID is missing",
        ),
        (
            {
                "JAX_COORDINATOR_ADDRESS": "a",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": "1",
            },
            "got '1/2@a', expected auto, or K/N@ADDRESS:PORT",
        ),
    ],
)
def test_variables_that_do_not_name_the_hosts_are_an_error(no_cluster, variables, message):
    for name, value in variables.items():
        no_cluster.setenv(name, value)
    with pytest.raises(UserError, match=message):
        initialize_distributed("auto")

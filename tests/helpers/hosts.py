"""Hosts of a cluster as processes of this machine, with the variables that the cluster would set.

The variables are those that JAX reads (jax/_src/clusters). A TPU VM asks a metadata server of its
cloud, which is here a server of the test.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.helpers.cluster import free_ports
from tests.helpers.paths import ROOT

# What a host prints: its number, the number of hosts, and what host 0 told it. A TPU VM has chips,
# which JAX counts at its import; without any, it does not ask the metadata server.
HOST = """
import json, os, jax
os.environ.pop("TPU_SKIP_MDS_QUERY", None)
from lstm_lab.training import multihost
multihost.initialize_distributed("auto")
told = multihost.broadcast_from_host0(lambda: os.environ["HOST_NAME"])
print(json.dumps([jax.process_index(), multihost.count(), told]))
"""
VARIABLES = ("SLURM_", "OMPI_", "TPU_", "JAX_COORDINATOR", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start_host(number, port, variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(VARIABLES)}
    address = f"127.0.0.1:{port}"
    # No cluster sets the second one: a test should listen to this machine alone.
    own = {"HOST_NAME": f"host{number}", "JAX_COORDINATOR_BIND_ADDRESS": address}
    return subprocess.Popen(
        [sys.executable, "-c", HOST],
        cwd=ROOT,
        env={**clean, "JAX_PLATFORMS": "cpu", **own, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def found_by_two_hosts(variables):
    """Starts two hosts with the variables that `variables(number, port)` returns; both answers."""
    (port,) = free_ports(1)
    hosts = [start_host(k, port, variables(k, port)) for k in range(2)]
    outputs = [host.communicate(timeout=120) for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], outputs
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def slurm(number, port):
    """What `srun --ntasks=2` sets; the list of nodes is in SLURM's short form."""
    return {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_NODELIST": "127.0.0.[1-2]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": "0",
        "JAX_COORDINATOR_PORT": str(port),
    }


def open_mpi_4(number, port):
    """What `mpirun -n 2` of Open MPI 4 sets."""
    return {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.96.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(number),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
        "JAX_COORDINATOR_PORT": str(port),
    }


def named(number, port):
    """What a JobSet of `--emit=kubernetes` sets, and Kubeflow's Trainer; also within Kubernetes."""
    return {
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(number),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
    }


@contextmanager
def metadata_server(attributes):
    """A metadata server of Google's cloud with some attributes of its machine."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            value = attributes.get(self.path.rpartition("/")[2])
            self.send_response(404 if value is None else 200)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, *_):
            """Prints nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

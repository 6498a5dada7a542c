"""A SLURM cluster of one node on the loopback interface, whose files all lie in one folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel")
SECONDS = 60

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobRequeue=1
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SlurmctldParameters=preempt_send_user_signal
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs():
    """Returns the programs that a cluster needs and this machine lacks."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def free_ports(count):
    """Returns ports on which no process listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@contextmanager
def cluster(folder: Path):
    """Runs a cluster; yields the environment in which its commands work."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().split(".")[0]
    config = folder / "slurm.conf"
    config.write_text(
        CONFIG.format(host=host, folder=folder, ports=free_ports(2), cores=os.cpu_count())
    )
    environment = {
        **os.environ,
        "SLURM_CONF": str(config),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    try:
        start(environment, "munged", "--force", f"--key-file={key}", *munge_flags(folder))
        start(environment, "slurmctld", "-c")
        start(environment, "slurmd", "-N", host)
        wait_for(lambda: "idle" in command(environment, "sinfo", "-h", "-o", "%T"), folder)
        yield environment
    finally:
        for name in ("slurmd", "slurmctld", "munged"):
            stop(folder / f"{name}.pid")


def munge_flags(folder):
    """Returns the flags that keep the files of munged in the folder."""
    names = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    return [f"--{k}={folder / v}" for k, v in (names | {"seed-file": "munged.seed"}).items()]


def start(environment, *arguments):
    subprocess.run(arguments, env=environment, check=True, capture_output=True, timeout=SECONDS)


def command(environment, *arguments):
    """Returns the standard output of a command; a command that fails may print nothing."""
    return subprocess.run(
        arguments, env=environment, capture_output=True, text=True, timeout=SECONDS
    ).stdout


def wait_for(condition, folder, seconds=SECONDS):
    """Waits until the condition holds; fails with the ends of all logs if it does not."""
    for _ in range(int(seconds / 0.5)):
        if condition():
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    raise AssertionError(f"the condition did not hold in time\n{logs}")


def stop(pid_file):
    """Stops the daemon of a pid file, and waits until its process is gone."""
    if not pid_file.is_file():
        return
    pid = int(pid_file.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(20):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            time.sleep(0.25)

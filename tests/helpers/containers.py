"""Processes in PID namespaces of their own, as in containers that share host name and folder."""

import os
import subprocess
from functools import cache

import pytest

from tests.helpers.paths import ROOT

# As a plain user, a new PID namespace needs a user namespace; --kill-child ends all inside.
UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


@cache
def _works():
    try:
        return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


needs_containers = pytest.mark.skipif(
    not _works(), reason="this system does not allow a user to make PID namespaces"
)


def in_container(command, **options):
    """Starts a command in a PID namespace of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"cwd": ROOT, "env": environment, **options}
    return subprocess.Popen([*UNSHARE, "--kill-child", *command], **options)

"""malloc keeps memory unless the user, the system or another allocator says otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from lstm_lab.utils.allocator import OWN_SETTINGS, VARIABLE

ON_GLIBC = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
# Page faults of 20 arrays of 40 MB, each written and freed, in a new process, after its first one.
FAULTS = """
import ctypes, resource
from lstm_lab.utils.allocator import keep_memory, policy
assert policy() == "default"
print(keep_memory())
assert policy() == keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
for turn in range(21):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = libc.malloc(40_000_000)
    ctypes.memset(array, 1, 40_000_000)
    libc.free(array)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(code=FAULTS, **variables):
    """Returns the policy of a new process and its page faults."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith((*OWN_SETTINGS, VARIABLE))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    policy, count = done.stdout.splitlines()
    return policy, int(count)


@pytest.mark.skipif(not ON_GLIBC, reason="only glibc has these settings")
def test_an_array_that_is_freed_costs_no_new_pages():
    pages = 20 * 40_000_000 // 4096
    assert faults()[0] == "keeps memory"
    # Less than an array in 20: with the default, each has all its pages anew.
    assert faults()[1] < pages / 100
    assert faults(**{VARIABLE: "default"})[1] > pages / 2


@pytest.mark.parametrize(
    "variables",
    [
        {VARIABLE: "default"},
        {"MALLOC_ARENA_MAX": "2"},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"},
    ],
)
def test_the_choice_of_the_user_stays(variables):
    assert faults(**variables)[0] == "default"


@pytest.mark.parametrize(
    "other",
    [
        "platform.system = lambda: 'Darwin'",
        "platform.libc_ver = lambda: ('', '')",  # as with musl
    ],
)
def test_other_systems_are_left_alone(other):
    code = f"import ctypes, platform\n{other}\nctypes.CDLL, CDLL = None, ctypes.CDLL\n"
    code += FAULTS.replace("ctypes.CDLL(None)", "CDLL(None)")
    assert faults(code)[0] == "default"


def test_a_preloaded_allocator_is_left_alone():
    # Its malloc has another address than glibc's.
    code = "import lstm_lab.utils.allocator as allocator, ctypes\n"
    code += "load = ctypes.CDLL\n"
    code += "class Other:\n    malloc = ctypes.CFUNCTYPE(None)(lambda: None)\n"
    code += "allocator.ctypes.CDLL = lambda name: Other if name is None else load(name)\n"
    code += FAULTS.replace("ctypes.CDLL(None)", "load(None)")
    assert faults(code)[0] == "default"

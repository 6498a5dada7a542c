"""`make gpu`: its commands exist, end within ten minutes, and continue where they were killed.

No test has a GPU: the commands are read from `make --dry-run`, and planned as for one.
"""

import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from lstm_lab.bench.cases import SUITES, cases
from lstm_lab.bench.contenders import ALL, default_contenders
from lstm_lab.bench.plan import GPU, make_plan
from lstm_lab.cli.verbs import app
from tests.helpers.paths import ROOT

# Starting Python, and asking JAX for its device, happens before the limit of a command counts.
SECONDS_BEFORE = 7
SLOW_TESTS = """
import time, pytest

@pytest.mark.parametrize("k", range(4))
def test_one_of_four(k):
    time.sleep(0.2)

def test_that_waits():
    time.sleep({seconds})
"""


@pytest.fixture(scope="module")
def commands():
    """The commands of `make gpu`, as lists of words."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    out = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "gpu"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    recipe = out.replace("\\\n", " ").partition("failed=;")[2]
    return [shlex.split(part) for part in re.findall(r"([^;]+?) \|\| failed=yes", recipe)]


def benches(commands):
    """Returns the flags of each `lstm-lab bench` that measures, by name."""
    flags = [
        dict(word.lstrip("-").partition("=")[::2] for word in words[2:])
        for words in commands
        if words[1] == "bench"
    ]
    return [named for named in flags if "suite" in named]


def test_every_part_has_a_limit_and_all_end_within_ten_minutes(commands):
    assert [flags["suite"] for flags in benches(commands)] == [
        *("layer", "population", "train", "backends", "errors")
    ]
    (tests,) = [words for words in commands if "pytest" in words]
    limits = [int(next(word for word in tests[tests.index("timeout") :] if word.isdecimal()))]
    limits += [int(flags["limit"]) for flags in benches(commands)]
    assert sum(limits) + SECONDS_BEFORE * len(commands) <= 600
    assert all("resume" in flags for flags in benches(commands))


def test_the_flags_exist_and_name_what_there_is(commands):
    known = {opt for parameter in app.commands["bench"].params for opt in parameter.opts}
    for words in commands:
        if words[1] == "bench":
            assert {word.partition("=")[0] for word in words[2:]} <= known
    for flags in benches(commands):
        assert set(flags.get("contenders", "torch tf32").split(",")) <= set(ALL)


def test_the_first_start_reaches_most_cases_of_each_suite(commands):
    for flags in benches(commands):
        suite = flags["suite"]
        if suite not in SUITES:  # `errors` measures no times
            continue
        named = flags["contenders"].split(",") if "contenders" in flags else None
        plan = make_plan(
            suite,
            [case for case in cases(suite, "gpu") if case.work == flags.get("work", case.work)],
            named or list(default_contenders(suite, "gpu")),
            memory_settings=False,
            rounds=int(flags["rounds"]),
            seconds=int(flags["milliseconds"]) / 1e3,
            speed=GPU,
        )
        reached, seconds = 0, plan.speed.start
        for case in plan.cases:
            seconds += plan.seconds_of(case)
            reached += seconds <= int(flags["limit"])
        # Of `backends`, one start reaches the plain LSTM, which most users have.
        assert reached >= (7 if suite == "backends" else 0.6 * len(plan.cases)), suite


def run_tests(folder, *flags):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["-p", "tests.helpers.resume", f"--resume-log={folder / 'log'}", *flags]
    return subprocess.Popen(
        [*command, "--rootdir", str(folder), "--noconftest", str(folder / "test_slow.py")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_session_of_tests_continues_with_those_that_have_not_passed(tmp_path, number):
    (tmp_path / "test_slow.py").write_text(SLOW_TESTS.format(seconds=60))
    session = run_tests(tmp_path)
    for _ in range(600):
        if (tmp_path / "log").exists() and len((tmp_path / "log").read_text().split()) == 4:
            break
        time.sleep(0.1)
    session.send_signal(number)
    session.communicate(timeout=60)
    assert session.returncode != 0
    (tmp_path / "test_slow.py").write_text(SLOW_TESTS.format(seconds=0))
    again = run_tests(tmp_path)
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0, out
    assert "1 passed, 4 deselected" in out
    last = run_tests(tmp_path)
    out, _ = last.communicate(timeout=60)
    assert last.returncode == 0, out
    assert "5 deselected" in out


def test_a_test_that_failed_runs_again(tmp_path):
    (tmp_path / "test_slow.py").write_text("def test_wrong():\n    assert False\n")
    for _ in range(2):
        session = run_tests(tmp_path)
        out, _ = session.communicate(timeout=60)
        assert session.returncode == 1
        assert "1 failed" in out

"""Faults of the system and of the user's own code: one line, an exit code, nothing damaged."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstm_lab.cli import main
from lstm_lab.utils.progress import say

ROOT = Path(__file__).parents[2]


def start(*arguments, before="", redirect=""):
    """Starts the command line in a process of its own.

    Args:
      arguments: the verb and its flags.
      before: a command of the shell that runs first.
      redirect: redirections of the shell.
    """
    return subprocess.Popen(
        [
            "sh",
            "-c",
            f'{before}\nexec "$0" -m lstm_lab "$@" {redirect}',
            sys.executable,
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def one_line(capsys, *arguments):
    """Returns the exit code of a verb and its one line on standard error."""
    code = main(list(arguments))
    _, error = capsys.readouterr()
    assert error.startswith("lstm-lab: ")
    assert error.count("\n") == 1
    return code, error


# ---- the user's own code


RAISING = {
    "import os\nX = os.environ['NO_SUCH_VARIABLE']": "mine.py line 2: KeyError: 'NO_SUCH_VARIABLE'",
    "def get_config():\n    raise ValueError('needs a size')": "line 2: ValueError: needs a size",
    "def get_config():\n    return {}['x']": "mine.py line 2: KeyError: 'x'",
    "def get_config():\n    return 1 / 0": "mine.py line 2: ZeroDivisionError: division by zero",
    "import sys\nsys.exit(0)": "mine.py line 2: SystemExit: 0",
    "def get_config(\n": "mine.py line 1: SyntaxError: '(' was never closed",
    "def get_config(words):\n    pass": "get_config does not run: TypeError: get_config() missing",
    "def get_config():\n    pass": "got None, expected a ConfigDict or a dict",
}


@pytest.mark.parametrize("source", RAISING)
def test_a_config_that_raises_is_one_line_with_its_place(capsys, monkeypatch, tmp_path, source):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(source)
    code, error = one_line(capsys, "train", "mine.py")
    assert code == 2
    assert RAISING[source] in error


def test_a_study_that_raises_is_one_line_with_its_place(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def get_study():\n    return {}['x']")
    assert one_line(capsys, "sweep", "--study=mine.py") == (
        2,
        "lstm-lab: study: mine.py line 2: KeyError: 'x'\n",
    )


def test_a_task_that_raises_while_it_loads_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from lstm_lab.tasks import Parity\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Parity):\n"
        "    def load(self, data_dir):\n"
        "        raise RuntimeError('the disk is empty')\n"
    )
    Path("config.py").write_text(
        "def get_config():\n    return {'task': {'name': 'mine.py:Mine'}, 'train': {'steps': 1}}"
    )
    code, error = one_line(capsys, "train", "config.py")
    assert (code, error) == (2, "lstm-lab: mine.py line 6: RuntimeError: the disk is empty\n")


def test_a_cell_that_raises_in_a_step_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from dataclasses import replace\n"
        "from lstm_lab.cells import CellSpec, GATED_LSTM\n"
        "def emit(*arguments):\n"
        "    raise RuntimeError('not finished')\n"
        "mine = CellSpec(cell=replace(GATED_LSTM, emit=emit))\n"
    )
    code, error = one_line(
        capsys, "train", "adding", "--config.model.cell=mine.py:mine", "--config.train.steps=2"
    )
    line = "mine.py line 4: RuntimeError: not finished (with B=2, D=64, H=64)"
    assert (code, error) == (2, f"lstm-lab: model.cell: mine.py:mine: {line}\n")


def test_a_bug_of_the_package_keeps_its_traceback(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("lstm_lab.cli.verbs.app.main", broken)
    with pytest.raises(ZeroDivisionError):
        main(["list", "tasks"])


# ---- paths


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "expected the path of a folder"),
        ("a\nb", "without control characters"),
        ("a\x1b[31mb", "without control characters"),
        ("a\u2028b", "without control characters"),
        (os.fsdecode(b"\xff\xfe"), "in UTF-8"),
        ("é" * 128, "at most 255 bytes, not 256"),
        ("file", "file is not a folder"),
        ("file/below", "file is not a folder"),
        ("dangling", "dangling is a link to nowhere, which does not exist"),
        ("dangling/below", "dangling is a link to nowhere, which does not exist"),
        ("a/" * 3000, "File name too long"),
    ],
)
def test_a_folder_that_cannot_be_is_one_line(capsys, monkeypatch, tmp_path, name, reason):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("content")
    Path("dangling").symlink_to("nowhere")
    code, error = one_line(capsys, "train", "adding", f"--workdir={name}")
    assert code == 2
    assert reason in error
    assert len(error) < 1000
    assert Path("file").read_text() == "content"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"]


# ---- streams


def test_the_end_of_a_reader_ends_the_program_quietly():
    with start("list", "variants") as process:
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == ""


def test_a_full_output_is_one_line():
    process = start("list", "variants", redirect=">/dev/full")
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "lstm-lab: a write failed: No space left on device\n")


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_messages_that_cannot_be_written_change_nothing(redirect):
    process = start("list", "no_such_thing", redirect=redirect)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")


def test_a_message_without_standard_error_does_not_go_to_the_output(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody reads this")
    assert capsys.readouterr().out == ""


# ---- interrupts


@pytest.mark.parametrize(
    ("verb", "code", "message"),
    [
        ("train", 75, "interrupted: run the same command again to resume\n"),
        ("train --find-lr", 130, "lstm-lab: interrupted\n"),
        ("train --replay=3", 130, "lstm-lab: interrupted\n"),
        ("sweep --dry-run", 130, "lstm-lab: interrupted\n"),
        ("check", 130, "lstm-lab: interrupted\n"),
    ],
)
def test_an_interrupt_before_the_work_begins_is_one_line(capsys, monkeypatch, verb, code, message):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("lstm_lab.cli.verbs.app.main", interrupted)
    assert main([*verb.split(), "lstm"]) == code
    assert capsys.readouterr().err == message


def test_a_signal_while_modules_are_imported_is_one_line():
    process = start("check", "lstm")
    maps = Path(f"/proc/{process.pid}/maps")
    while process.poll() is None and "jaxlib" not in maps.read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (130, "lstm-lab: interrupted\n")


# ---- limits


def test_a_file_that_may_not_grow_is_one_line(tmp_path):
    """As on a full disk: every write fails."""
    process = start(
        *("train", "adding", "--config.train.steps=2", f"--workdir={tmp_path}/run"),
        before="ulimit -f 0",
    )
    _, error = process.communicate(timeout=120)
    # A library may look for a temporary folder before the first write of the run.
    reasons = "File too large|No usable temporary directory found in .*"
    assert re.fullmatch(f"lstm-lab: a write failed: ({reasons})", error.splitlines()[-1])


@pytest.mark.parametrize("verb", ["train adding:lstm --find-lr", "sweep digits_ablation --dry-run"])
def test_every_verb_names_an_absent_platform(verb):
    done = subprocess.run(
        [sys.executable, "-m", "lstm_lab", *verb.split()],
        env={**os.environ, "JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lstm-lab: JAX_PLATFORMS: got 'cuda'; JAX: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("JAX_ENABLE_X64", "maybe", "JAX: invalid truth value 'maybe' for environment"),
        ("JAX_DEFAULT_PRNG_IMPL", "bogus", 'JAX: Invalid value "bogus" for JAX flag'),
        ("JAX_TRANSFER_GUARD", "disallow", "JAX_TRANSFER_GUARD: got disallow, expected None"),
    ],
)
def test_a_setting_of_jax_that_is_wrong_is_one_line(tmp_path, name, value, message):
    done = subprocess.run(
        [sys.executable, "-m", "lstm_lab", "train", "adding:lstm", f"--workdir={tmp_path / 'a'}"],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"lstm-lab: {message}")
    assert done.stderr.count("\n") == 1


def test_an_interrupted_process_ends_without_the_end_of_python():
    """At its end, threads of JAX that still compile would crash."""
    code = (
        "import atexit; import lstm_lab.cli as cli; atexit.register(print, 'the end of Python')\n"
        "cli.main = lambda: print('a line') or 130\n"
        "raise SystemExit(cli.process())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "a line\n")


def test_a_platform_that_is_absent_is_one_line(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    _, error = start("train", "adding").communicate(timeout=120)
    assert error.startswith("lstm-lab: JAX_PLATFORMS: got 'cuda'; JAX: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EBUSY, errno.ENOLCK])
def test_any_error_of_a_path_is_one_line(capsys, monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number), "runs/a")

    monkeypatch.setattr("lstm_lab.cli.verbs.app.main", fail)
    assert main(["train", "lstm"]) == 1
    assert capsys.readouterr().err == f"lstm-lab: runs/a: {os.strerror(number)}\n"


@pytest.mark.parametrize(
    ("limit", "code", "message"),
    [
        (1.5e9, 2, "lstm-lab: ulimit -v: got 1.5 GB of address space, expected at least 2 GB"),
        (3e9, 0, "note: ulimit -v: got 3 GB of address space; if it is too small, JAX ends the"),
        (resource.RLIM_INFINITY, 0, ""),
    ],
)
def test_a_limited_address_space_is_named_before_jax_starts(
    capsys, monkeypatch, limit, code, message
):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (int(limit), int(limit)))
    assert main(["summary", "adding"]) == code
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == bool(message)
    # These verbs need no JAX.
    assert main(["list", "configs"]) == 0
    assert capsys.readouterr().err == ""

"""The blocks of the tutorial run in order, and the Chinese tutorial has the same blocks."""

import re
import subprocess
import sys

import pytest

from tests.helpers.docs import code_blocks, run_command, shorten
from tests.helpers.paths import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
CHINESE = (ROOT / "docs" / "tutorial.zh.md").read_text()


@pytest.mark.parametrize("language", ["python", "sh"])
def test_both_languages_have_the_same_blocks(language):
    assert code_blocks(TEXT, language) == code_blocks(CHINESE, language)


@pytest.mark.parametrize("text", [TEXT, CHINESE], ids=["english", "chinese"])
def test_both_languages_have_eight_sections(text):
    assert len(re.findall(r"^## ", text, re.M)) == 8


def test_the_python_blocks_run(tmp_path):
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(code_blocks(TEXT, "python")))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_shell_commands_run(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    lines = "".join(code_blocks(TEXT, "sh")).splitlines()
    for command in lines:
        # The study takes minutes; a slow test of the README runs it.
        if "--workdir=runs/digits_ablation" not in command:
            run_command(shorten(command), tmp_path)
    assert (tmp_path / "runs" / "reviews" / "result.json").exists()

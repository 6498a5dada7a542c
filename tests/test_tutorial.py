"""Every block of the tutorial runs, in order; the Chinese one has the same."""

import re
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT
from tests.test_readme import run, shortened

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
CHINESE = (ROOT / "docs" / "tutorial.zh.md").read_text()


def blocks(text, kind):
    return re.findall(rf"```{kind}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("kind", ["python", "sh"])
def test_both_languages_have_the_same_blocks(kind):
    assert blocks(TEXT, kind) == blocks(CHINESE, kind)


@pytest.mark.parametrize("text", [TEXT, CHINESE], ids=["english", "chinese"])
def test_pictures_and_links_are_there(text):
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (ROOT / "docs" / link).exists(), link
    assert len(re.findall(r"^## ", text, re.M)) == 8


def test_the_python_runs(tmp_path):
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks(TEXT, "python")))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_run(tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    lines = "".join(blocks(TEXT, "sh")).splitlines()
    for command in lines:
        if "--workdir=runs/digits_ablation" not in command:  # minutes; the README's test has it
            run(shortened(command), tmp_path)
    assert (tmp_path / "runs" / "reviews" / "result.json").exists()

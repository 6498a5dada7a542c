"""The README: its commands and files work as printed, in an empty folder.

The installed script runs them, as users have it. Slow tests run shortened forms of long commands.
"""

import re

import pytest

from lstm_lab.cells import CATALOGUE
from lstm_lab.config.find import list_files
from tests.helpers.docs import code_blocks, run_command, shorten
from tests.helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")
COMMANDS = [line for text in code_blocks(README, "sh") for line in text.splitlines()]
FILES = {text.splitlines()[0][2:]: text for text in code_blocks(README, "python")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the README's files and nothing else: the package is installed."""
    path = tmp_path_factory.mktemp("empty")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


def table_names(text, header):
    """Returns the names in the first column of the table with that header."""
    rows = text.partition(header)[2].split("\n\n")[0].splitlines()[2:]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_readme_is_short_and_names_every_variant_and_config():
    assert len(README.splitlines()) <= 150
    assert sorted(table_names(README, "| variant |")) == sorted(CATALOGUE)
    configs = set(list_files("configs")) - {"tutorial"}  # a model of a known size, not a task
    assert sorted(table_names(README, "| config |")) == sorted(configs)


def test_both_languages_have_the_same_code_tables_and_figures():
    for language in ("sh", "python", "text"):
        assert code_blocks(README, language) == code_blocks(CHINESE, language)
    for pattern in (r"!\[[^]]*\]\(([^)]+)\)", r"^\| (`[^|]+) \|"):
        both = [re.findall(pattern, text, re.M) for text in (README, CHINESE)]
        assert both[0] == both[1]
    assert len(re.findall(r"^## ", README, re.M)) == len(re.findall(r"^## ", CHINESE, re.M))


def test_the_readme_has_the_expected_commands_and_files():
    assert set(FILES) == {"my_script.py", "my_cell.py", "my_study.py"}
    assert [c.split()[:2] for c in COMMANDS] == [
        ["pip", "install"],
        ["lstm-lab", "train"],
        ["lstm-lab", "sweep"],
        ["lstm-lab", "compare"],
    ]


def test_the_quick_commands_run(folder):
    train = next(c for c in COMMANDS if "train" in c)
    out = run_command(shorten(train), folder)
    assert "adding, lstm, seed 0: completed after 2 steps" in out
    # The lines of the example, apart from their numbers.
    example = code_blocks(README, "text")[0]
    for line in example.splitlines()[1:]:
        assert line.split("  ")[0].strip() in out
    sweep = next(c for c in COMMANDS if "sweep" in c)
    out = run_command(f"{shorten(sweep)} --dry-run", folder)
    assert "16 runs in 4 cohorts" in out
    assert "20 runs" in out
    cell = "my_cell.py:one_gate"
    assert "FAILED" not in run_command(shorten(f"lstm-lab check {cell}"), folder)


def test_the_script_runs_shortened(folder):
    text = FILES["my_script.py"].replace('"train.epochs": 15', '"train.epochs": 1')
    assert text != FILES["my_script.py"]
    (folder / "short_script.py").write_text(text)
    assert "accuracy" in run_command("python short_script.py", folder)


@pytest.mark.slow
def test_the_study_runs_as_printed_but_shortened(folder):
    text = FILES["my_study.py"].replace('"adding"', '"short.py"')
    (folder / "short_study.py").write_text(text)
    (folder / "short.py").write_text(
        "from lstm_lab.configs import adding\n\n\n"
        "def get_config():\n"
        "    config = adding.get_config()\n"
        "    config.train.update({'steps': 2, 'eval_every': 1})\n"
        "    return config\n"
    )
    out = run_command(shorten("lstm-lab sweep short_study.py"), folder)
    assert re.search(r"^claim +evidence +verdict$", out, re.M)


@pytest.mark.slow
def test_the_comparison_runs_as_printed(folder):
    command = next(c for c in COMMANDS if "compare" in c)
    out = run_command(shorten(command), folder)
    assert re.search(r"is better|is worse|equivalent|inconclusive", out)

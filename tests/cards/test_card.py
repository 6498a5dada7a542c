"""The whole card: its sections, how it is written, and what it does not need."""

import shutil
import subprocess
import sys

import pytest
from markdown_it import MarkdownIt

from lstm_lab.cards.card import model_card, write_card
from lstm_lab.interop import TARGETS
from lstm_lab.results.run_files import read_result, write_result
from lstm_lab.utils.errors import UserError
from tests.helpers.paths import ROOT

HEADINGS = ["Model", "Data", "Scores", "Limits", "Use", "Settings", "Provenance"]


def headings(text):
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_a_card_has_all_sections_and_is_written_next_to_the_run(run):
    path = write_card(run)
    assert path == run / "MODEL_CARD.md"
    text = path.read_text()
    assert text.startswith("---\nlibrary_name: lstm_lab\n")
    assert headings(text) == HEADINGS
    assert text == model_card(run)


def test_the_caller_says_how_exported_files_are_loaded(run):
    text = model_card(run, "Load `model.pt`.\n")
    assert "## Use\n\n### The files of this folder\n\nLoad `model.pt`.\n\n### lstm_lab" in text
    assert "lstm-lab export" not in text
    without = model_card(run)
    assert "lstm-lab export RUN --to=torch --out=DIR" in without
    assert f"`--to` is one of {', '.join(TARGETS)}." in without


def test_the_card_is_written_where_the_user_says(run, tmp_path):
    out = tmp_path / "hub" / "README.md"
    assert write_card(run, out) == out
    assert headings(out.read_text()) == HEADINGS
    assert not (run / "MODEL_CARD.md").exists()


def test_a_folder_is_no_file(run, tmp_path):
    with pytest.raises(UserError, match=r"^out: .* is a folder, expected a file"):
        write_card(run, tmp_path)


def test_a_card_needs_neither_weights_nor_metrics(run):
    expected = model_card(run)
    shutil.rmtree(run / "checkpoints")
    assert model_card(run) == expected


def test_the_card_of_a_run_of_texts_shows_how_to_predict(run, series):
    assert "run.predict(x)" in model_card(run)
    assert "`preprocessing.json`" in model_card(series)
    assert "`preprocessing.json`" not in model_card(run)


def test_a_card_of_a_single_run_starts_no_slow_library(run):
    code = (
        "import sys; from pathlib import Path; from lstm_lab.cards.card import write_card\n"
        f"write_card(Path({str(run)!r}))\n"
        "slow = {'matplotlib', 'orbax', 'pandas', 'requests', 'scipy', 'sklearn'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["run.json", "result.json", "card"])
def test_a_card_replaces_no_file_of_the_run(name, run):
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(UserError, match=rf"^out: got .*{name}, expected a file that ends in \.md"):
        write_card(run, run / name)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_the_names_of_metrics_are_shown_and_not_interpreted(run):
    result, name = read_result(run), "<img src=x>"
    result |= {"test": {name: 0.5}, "metric": name}
    result["best"]["valid"] = {name: 0.4}
    write_result(run, result, result.pop("files"))
    body = model_card(run).split("---\n")[2]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inner = [part for token in tokens for part in (token.children or [token])]
    assert not [token for token in inner if token.type.startswith("html")]
    assert f"Score on the test split: {name} 0.5" in "".join(token.content for token in inner)

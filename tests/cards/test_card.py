"""The whole card: its sections, how it is written, and what it does not need."""

import shutil
import subprocess
import sys

import pytest
from markdown_it import MarkdownIt

from lstm_lab.cards.card import model_card, with_hash, write_card
from lstm_lab.results.run_files import read_result, write_result
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import read_json, write_json
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
    assert text == with_hash(model_card(run))


def test_a_card_that_nobody_edited_is_replaced_with_a_note(run, capsys):
    path = write_card(run)
    assert capsys.readouterr().err == ""
    # Another record gives another text; the old card still has the hash of its own text.
    write_json(run / "run.json", {**read_json(run / "run.json"), "command": ["another.py"]})
    write_card(run)
    assert "another.py, which called lstm_lab from Python" in path.read_text()
    assert capsys.readouterr().err == f"note: {path} was replaced\n"


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("\ntags:", "\nlicense: apache-2.0\ntags:"),
        lambda text: text + "An example.\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
    ],
)
def test_an_edited_card_is_not_replaced(run, edit):
    path = write_card(run)
    edited = edit(path.read_text()).encode()
    path.write_bytes(edited)
    expected = r"^card: .*MODEL_CARD.md was edited; choose another file with --out=FILE, or delete"
    for out in (None, path):
        with pytest.raises(UserError, match=expected) as error:
            write_card(run, out)
        assert "\n" not in str(error.value)
        assert path.read_bytes() == edited


@pytest.mark.parametrize("content", [b"# Mine\n", b"", b"\xff"])
def test_a_file_that_is_not_a_card_is_not_replaced(run, tmp_path, content):
    out = tmp_path / "README.md"
    out.write_bytes(content)
    with pytest.raises(UserError, match=r"README.md is not a card with a hash of lstm_lab; choose"):
        write_card(run, out)
    assert out.read_bytes() == content


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

"""Tables of several results, and their place in a document."""

import pytest

from lstm_lab.bench.cases import Case
from lstm_lab.bench.collect import BEGIN, END, collected, replace_between_marks
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.files import write_json
from tests.helpers.bench import bench_result, bench_row
from tests.helpers.paths import ROOT

CASE = Case("gradient", 4, 6, 5, 8)


@pytest.fixture
def folder(tmp_path):
    rows = [bench_row("lstm_lab tf32", [2.0, 2.0], CASE), bench_row("torch tf32", [4.0, 4.0], CASE)]
    write_json(tmp_path / "layer.json", bench_result(rows))
    error = {"outputs": 1e-7, "gradients": 2e-6}
    rows = [bench_row("lstm_lab scan fp32", [], CASE, **error)]
    write_json(tmp_path / "errors.json", bench_result(rows, "errors"))
    write_json(tmp_path / "train.json", bench_result([], "train"))
    return tmp_path


def test_each_result_has_its_title_command_and_tables(folder):
    text = collected(folder)
    layer, errors = text.split("### ")[1:]
    assert layer.startswith("One layer and one stack\n\n`lstm-lab bench --suite=layer`\n")
    assert "| B 4, T 6, D 5, H 8 | 2 | 4 (0.50; 0.50-0.50) |" in layer
    assert "| B 4, T 6, D 5, H 8 | 1e-07 / 2e-06 |" in errors
    # A suite that was killed in its first case.
    assert "training step" not in text


def test_only_what_is_between_the_marks_changes(folder):
    document = folder / "page.md"
    before, after = "# Page\n\nBy hand.\n\n", "\n## Later\n"
    document.write_text(f"{before}{BEGIN}\n\nold\n\n{END}\n{after}")
    for _ in range(2):
        replace_between_marks(document, collected(folder))
        text = document.read_text()
        assert text.startswith(f"{before}{BEGIN}\n\n### One layer")
        assert text.endswith(f"\n{END}\n{after}")
        assert "old" not in text
        assert text.count("### Deviations from float64") == 1


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n"])
def test_a_document_without_marks_stays_as_it_is(folder, text):
    document = folder / "page.md"
    document.write_text(text)
    with pytest.raises(UserError, match="--out: .* lacks the lines"):
        replace_between_marks(document, "new")
    assert document.read_text() == text
    with pytest.raises(UserError, match=r"none.md does not exist"):
        replace_between_marks(folder / "none.md", "new")


def test_the_measurements_have_the_marks():
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.count(f"{BEGIN}\n") == text.count(f"{END}\n") == 1
    assert text.index(BEGIN) < text.index(END)


def test_a_folder_without_results_and_a_damaged_result_are_errors(tmp_path):
    with pytest.raises(UserError, match=r"has no result .* expected layer.json, train.json"):
        collected(tmp_path)
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(UserError, match=r"train.json is not a result"):
        collected(tmp_path)

"""The pages of docs/: their form, and their commands and Python blocks, shortened.

The quick commands of every page run in each test run; `make slow` also runs those that train many
models.
"""

import re
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest

from lstm_lab.config.parsing import find_setting
from lstm_lab.config.run_spec import SECTIONS
from lstm_lab.config.sections import OptimSpec, TrainSpec
from lstm_lab.report.cross_study import PairwiseComparison
from lstm_lab.statistics.sequential import LookVerdict
from tests.helpers.data import write_samples
from tests.helpers.pages import blocks_of, commands_of, run_page, write_files
from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
HOW_TO = (
    *("clusters", "data", "own_cell", "own_data", "files", "own_study", "own_task", "predict"),
    *("existing_weights", "explain", "model_card", "reading_a_report", "resume", "seeds"),
    *("several_hosts", "compile", "tensorboard", "loggers", "training"),
    *("export", "pytorch", "keras_flax_equinox", "onnx_and_web"),
)
ENGLISH = ("quick_start", "glossary", *(f"how_to/{name}" for name in HOW_TO))
# Each Chinese page by the English one.
CHINESE = {
    "quick_start": "zh/quick_start",
    "glossary": "zh/glossary",
    "tutorial": "tutorial.zh",
}
PAGES = (*ENGLISH, *CHINESE.values())
CHINESE_TEXTS = (*CHINESE.values(), "../README.zh")
LANGUAGES = {"sh", "python", "text"}
# Commands that train many models, or start processes.
SLOW = r"lstm-lab (compare|report|explain|sweep .*--workdir)|--(jobs|hosts|find-lr)\b"

CHARACTER = r"[\u4e00-\u9fff]"


def read(page):
    return (DOCS / f"{page}.md").read_text()


def prose(text):
    """Returns a text without code, formulas in code marks, and targets of links."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
    # Formulas: brackets without a Chinese character that follow a letter or a number.
    return re.sub(rf"[\w⁻] ?\((?!{CHARACTER})[^()]*\)", "", text, flags=re.ASCII)


def test_every_page_is_in_the_list():
    folders = (DOCS / "how_to", DOCS / "zh")
    found = {
        str(path.relative_to(DOCS).with_suffix("")) for f in folders for path in f.glob("*.md")
    }
    found |= {path.stem for path in DOCS.glob("*.zh.md")}
    listed = {page for page in PAGES if "/" in page} | {"tutorial.zh"}
    assert found == listed, "tests/test_pages.py: add the page to ENGLISH or CHINESE"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "tutorial.zh"])
def test_a_page_is_short_and_has_known_blocks(page):
    text = read(page)
    assert len(text.splitlines()) <= 120
    assert {language for language, _ in blocks_of(text)} <= LANGUAGES
    assert text.startswith("# ")
    # One sentence of purpose follows the title.
    assert re.match(r"# [^\n]+\n\n\S[^\n]+[.。:\uff1a]", text)


@pytest.mark.parametrize("page", [page for page in ENGLISH if page != "glossary"])
def test_an_example_comes_before_any_options(page):
    text = read(page)
    start = text.index("```")
    # The quick start has its headings first: install, then train.
    assert page == "quick_start" or text[:start].count("\n## ") == 0


@pytest.mark.parametrize("page", [page for page in ENGLISH if page != "glossary"])
def test_the_settings_that_a_page_names_exist(page):
    named = re.findall(rf"(?:`|--config\.)((?:{'|'.join(SECTIONS)})\.\w+)", read(page))
    # Names of files.
    kinds = ("py", "onnx", "keras", "safetensors", "eqx", "json", "weights")
    wrong = {path for path in named if find_setting(*path.split(".")[::-1]) != path}
    assert wrong <= {f"model.{kind}" for kind in kinds}


def test_the_page_on_training_names_every_choice():
    text = read("how_to/training")
    for section, name in ((OptimSpec, "schedule"), (OptimSpec, "name")):
        choices = get_args(get_type_hints(section)[name])
        assert not [choice for choice in choices if f"`{choice}`" not in text]
    lengths = {field.name for field in fields(TrainSpec)} - {"loss_reduction", "on_nan"}
    missing = [name for name in lengths if not re.search(rf"\b{name}\b", text)]
    assert sorted(missing) == ["rollback_factor", "rollback_limit"]  # how_to/resume


@pytest.mark.parametrize("page", CHINESE)
def test_both_languages_have_the_same_code_and_sections(page):
    english, chinese = read(page), read(CHINESE[page])
    assert blocks_without_formulas(english) == blocks_without_formulas(chinese)
    headings = [re.findall(r"^##+ ", text, re.M) for text in (english, chinese)]
    assert headings[0] == headings[1]


def blocks_without_formulas(text):
    """The formulas of the tutorial have translated remarks."""
    return [block for block in blocks_of(text) if block[0]]


def test_both_glossaries_have_the_same_terms():
    def rows(text):
        return [
            [cell.strip() for cell in row.split("|")[1:-1]]
            for row in re.findall(r"^\|.*", text, re.M)
        ]

    chinese = [row[1] for row in rows(read("zh/glossary")) if len(row) == 3]
    english = [row[0] for row in rows(read("glossary")) if len(row) == 2]
    chinese = [term for term in chinese if term not in ("英文", "---")]
    assert chinese == [term for term in english if term not in ("term", "---")]
    assert len(chinese) == len(set(chinese)) > 40


@pytest.mark.parametrize("page", ["glossary", "zh/glossary"])
def test_the_glossary_has_what_reports_print_and_pages_use(page):
    text = read(page)
    [verdicts] = re.findall(r"^\|.*\bverdict \|(.*)", text, re.M)
    # The Chinese page gives in brackets what a report prints and has no usual translation.
    printed = {"differs", "no difference shown", "no score", "undecided so far"}
    if page == "glossary":
        printed |= {"holds", "fails", *get_args(get_type_hints(PairwiseComparison)["verdict"])}
        printed |= {*get_args(LookVerdict)}
    assert not {verdict for verdict in printed if verdict not in verdicts}
    terms = {"rope", "generation", "grace", "stage"}
    assert not {term for term in terms if not re.search(rf"^\|.*\b{term} \|", text, re.M)}
    defined = set(re.findall(r"\| ([A-Z]) \|", text))
    shapes = [re.findall(r"\[([A-Z](?:,[A-Z])*)\]|[a-z]_([A-Z]{1,4})\b", read(p)) for p in ENGLISH]
    assert not set("".join("".join(pair) for page in shapes for pair in page)) - {*defined, ","}


@pytest.mark.parametrize("page", CHINESE_TEXTS)
def test_chinese_sentences_have_full_width_punctuation(page):
    half = re.findall(
        rf"[^\n]?{CHARACTER} ?[,.:;()?!][^\n]?|[,:;()?!] ?{CHARACTER}", prose(read(page))
    )
    assert not half


@pytest.mark.parametrize("page", CHINESE_TEXTS)
def test_chinese_texts_use_the_usual_terms(page):
    """细胞状态 is the cell state; a cell itself is 单元, and a row of a batch is 样本 or 序列."""
    assert not re.findall(r"细胞(?!状态)|长短不一|幂次|展示", prose(read(page)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with the data sets, as every page starts from."""
    path = tmp_path_factory.mktemp("docs")
    write_samples(path / "data")
    return path


@pytest.mark.parametrize("page", ENGLISH)
def test_the_quick_blocks_of_a_page_run(page, folder, monkeypatch, capsys):
    monkeypatch.setenv("LSTM_LAB_DATA", str(folder / "data"))
    run_page(read(page), folder, monkeypatch, capsys, lambda command: re.search(SLOW, command))


@pytest.mark.slow
@pytest.mark.parametrize("page", ENGLISH)
def test_all_blocks_of_a_page_run(page, tmp_path, monkeypatch, capsys):
    write_samples(tmp_path / "data")
    monkeypatch.setenv("LSTM_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    # The page on clusters works on the study of another page.
    write_files(read("how_to/own_study"))
    run_page(read(page), tmp_path, monkeypatch, capsys)


def test_the_slow_commands_are_a_part_of_all_commands():
    """A pattern that matches everything would run nothing."""
    commands = [
        c
        for page in ENGLISH
        for kind, b in blocks_of(read(page))
        if kind == "sh"
        for c in commands_of(b)
    ]
    quick = [c for c in commands if not re.search(SLOW, c)]
    assert 20 < len(quick) < len(commands)

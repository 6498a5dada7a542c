"""The page, the Markdown and the JSON of an explanation."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest

from lstm_lab.explain.analyses import ANALYSES, Explanation, explain
from lstm_lab.explain.page import CHAPTERS, summary, write_explanation
from tests.helpers.explain import adding_network, valid_split


@pytest.fixture(scope="module")
def explanation():
    run = adding_network()
    return explain(run, valid_split(run), show=False)


@pytest.fixture(scope="module")
def folder(explanation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    write_explanation(folder, "adding <b>", explanation)
    return folder


class Headings(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.open_, self.headings = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.open_.append(tag)

    def handle_endtag(self, tag):
        while self.open_.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open_ and self.open_[-1] == "h2":
            self.headings.append(data)


def test_every_analysis_has_a_chapter_and_ran(explanation):
    assert list(CHAPTERS) == list(ANALYSES) == list(explanation.results)
    assert explanation.unavailable == {}


def test_the_page_has_a_summary_and_a_section_with_a_figure_for_each_analysis(folder):
    parser = Headings()
    html = (folder / "explain.html").read_text()
    parser.feed(html)
    assert parser.headings == ["Summary", *(chapter.heading for chapter in CHAPTERS.values())]
    assert parser.tags.count("svg") == parser.tags.count("figcaption") == len(CHAPTERS)
    assert parser.open_ == []
    assert "adding &lt;b&gt;" in html
    # The colors of text and axes follow the page; a color of matplotlib's own would not.
    for color in ("#000000", "#1f2933"):
        assert color not in html.partition("<main>")[2], color


def test_the_page_needs_no_network(folder):
    html = (folder / "explain.html").read_text()
    addresses = [part.split('"')[0] for part in html.split('href="')[1:]]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    assert "<script src" not in html


def test_markdown_and_files_of_figures_belong_together(folder):
    text = (folder / "explain.md").read_text()
    images = {line.rpartition("(")[2].rstrip(")") for line in text.splitlines() if "![" in line}
    assert images == {path.name for path in folder.glob("*.svg")}
    assert len(images) == len(CHAPTERS)


def test_the_record_has_all_results_as_json(folder, explanation):
    record = json.loads((folder / "explain.json").read_text())
    assert list(record["results"]) == list(ANALYSES)
    exponents = record["results"]["lyapunov"]["exponents_BE"]
    np.testing.assert_allclose(exponents, explanation.results["lyapunov"].exponents_BE)
    point = record["results"]["fixed_points"]["inputs"][0]["points"][0]
    found = explanation.results["fixed_points"].inputs[0].points[0]
    assert complex(*point["eigenvalues"][0]) == found.eigenvalues[0]
    assert record["results"]["signals"]["places"][0] == "h[0] of layer 0"


def test_what_is_not_available_is_in_the_summary(tmp_path):
    rows = summary(Explanation(unavailable={"lesions": "the cell has no gates"}))
    assert rows[1:] == [["Lesions of gates", "not available: the cell has no gates"]]
    path = write_explanation(tmp_path, "x", Explanation(unavailable={"lesions": "none"}))
    assert "No analysis is available for this model." in path.read_text()

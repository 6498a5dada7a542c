"""The documentation site: its generated pages, one build without warnings, and its links."""

import dataclasses
import inspect
import itertools
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote

import click
import pytest

from docs.generate import exports, pages, reference, results, write_pages
from docs.generate.commands import describe_group
from docs.generate.diagram import HEIGHT, WIDTH, arrange, draw, edges
from docs.generate.markdown import escape, paragraphs
from docs.generate.variants import constructor
from lstm_lab import cells
from lstm_lab.cells import CATALOGUE
from lstm_lab.cells.describe import describe
from lstm_lab.cells.equations import equations
from lstm_lab.cells.expressions import to_latex
from lstm_lab.config.run_spec import SECTIONS
from lstm_lab.interop.targets import TARGETS
from lstm_lab.tasks import TASKS
from tests.helpers.paths import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("[!_]*.py"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_page_of_a_variant_is_complete(name):
    page, text = describe(name), pages()[f"variants/{name}.md"]
    for equation in page.equations:
        assert f"{to_latex(equation.result)} &= {to_latex(equation.expression)}" in text
    for array in page.arrays:
        assert f"| `{array.name}` | `{array.shape}` |" in text
    for option in page.options:
        assert f"| `{option.name}` |" in text
    for sentence in page.deviations:
        assert escape(sentence) in text
    assert escape(page.source) in text
    inputs = {source for source, _ in edges(page.equations)} - {
        e.result.name for e in page.equations
    }
    assert text.count("<rect") == len(page.equations) + len(inputs)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_page_of_a_variant_has_the_expression_of_its_spec(name):
    written = constructor(describe(name))
    assert eval(written, vars(cells)) == CATALOGUE[name].spec
    assert written in pages()[f"variants/{name}.md"]


@pytest.mark.parametrize("name", TASKS)
def test_the_page_of_a_task_explains_its_options(name):
    text = pages()[f"tasks/{name}.md"]
    for field in dataclasses.fields(TASKS[name]):
        row = re.search(rf"^\| `task\.{field.name}` \|.*$", text, re.M)
        assert row
        assert not row[0].endswith("|  |")


@pytest.mark.parametrize("name", CONFIGS)
def test_the_page_of_a_config_has_its_settings(name):
    text = pages()[f"configs/{name}.md"]
    assert "- **Time:**" in text or "Time: " not in (ROOT / f"configs/{name}.py").read_text()
    resolved = [f"| `model.{f.name}` |" in text for f in dataclasses.fields(SECTIONS["model"])]
    # The options of this task are read from data that must be downloaded first.
    needs_data = "The settings depend on the data" in text
    assert needs_data or all(resolved)
    assert needs_data <= (name == "tags")


def test_the_reference_has_every_setting_and_file():
    settings = pages()["reference/settings.md"]
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            assert f"| `{section}.{field.name}` |" in settings
    files = dict(reference.files_of_a_run())
    assert {"WORKDIR/run.json", "STUDY/study.json", "WORKDIR/result.json"} <= set(files)
    assert all(files[name] for name in files if "events" not in name)


def test_the_page_of_exports_has_every_cell_and_target():
    rows = [line.split(" | ") for line in pages()["reference/exports.md"].splitlines()]
    (header,) = (row for row in rows if row[0] == "| cell")
    assert [name.strip("|` ") for name in header[1:]] == list(TARGETS)
    for name in CATALOGUE:
        (row,) = (row for row in rows if row[0].startswith(f"| [{name}]"))
        entries = [entry.strip("| ") for entry in row[1:]]
        assert len(entries) == len(TARGETS)
        assert set(entries) <= set(exports.FORMS)


def test_archived_scores_are_means_of_the_archive():
    row = next(s for s in results.scores()["np"] if (s.study, s.setting) == ("ptb_small", ""))
    assert (row.metric, len(row.values)) == ("perplexity", 1)
    assert round(row.mean, 2) == 115.19  # docs/reproductions.md
    assert results.trials()["vanilla"] == {"odyssey_jsb": 200}
    lstm = {s.study: len(s.values) for s in results.scores()["lstm"]}
    assert lstm["credit"] == 5
    assert lstm["shakespeare"] == 5  # a study whose variants name no cell: that of its base
    (parity,) = (s for s in results.scores()["lstm"] if s.setting == "problem=parity_check")
    assert (parity.study, parity.metric, parity.mean) == ("chomsky", "long_accuracy", 1.0)


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_arrows_of_a_picture_pass_no_box(name):
    spec = describe(name).spec
    layout = arrange(equations(spec))
    for source, target in edges(equations(spec)):
        assert layout.column[source] < layout.column[target]
    places = sorted(layout.place.values())
    for (x, y), (next_x, next_y) in itertools.pairwise(places):
        assert next_x - x >= WIDTH or next_y - y >= HEIGHT
    width, height = layout.size
    assert all(x + WIDTH / 2 <= width and y + HEIGHT / 2 <= height for x, y in places)


def test_a_picture_marks_what_the_plain_lstm_lacks():
    lstm = equations(CATALOGUE["lstm"].spec)
    assert 'class="new"' not in draw("lstm", lstm, lstm)
    picture = draw("peephole", equations(CATALOGUE["peephole"].spec), lstm)
    assert picture.count('<g class="new">') == 3
    # Each arrow has a line and a head: c' to i, c' to f, c to o.
    assert picture.count('<path class="new"') == 2 * 3


def test_docstrings_become_markdown():
    doc = "What *this* is, with `a | b`\nand [0,1).\n\n  x = y * z\n\nTime: 5 s\n  or so.\n"
    doc += "Command: a_b"
    assert paragraphs(doc).split("\n\n") == [
        r"What \*this\* is, with `a | b` and \[0,1).",
        "```text\nx = y * z\n```",
        "- **Time:** 5 s or so.\n- **Command:** `a_b`",
    ]


def test_the_command_line_reference_is_read_from_the_tree():
    @click.group(help="A tiny tool.")
    def tool():
        pass

    @tool.command(help="Trains a model.\n\nMore words.", epilog="Examples:\n  tool train adding")
    @click.argument("config")
    @click.option("--seeds", type=int, metavar="N", help="number of seeds")
    @click.option("--dry-run", "--dry_run", is_flag=True, help="only shows what would run")
    @click.option("--secret", hidden=True)
    def train(config, seeds, dry_run, secret):
        pass

    @tool.group(name="data", help="Data sets.")
    def data():
        pass

    @data.command(name="list", help="Lists data sets.")
    def list_sets():
        pass

    text = describe_group("tool", tool)
    assert "A tiny tool." in text
    assert "| [tool train](#tool-train) | Trains a model. |" in text
    assert "```text\ntool train CONFIG [OPTIONS]\n```" in text
    assert "| `--seeds` | `N` | number of seeds |" in text
    assert "| `--dry-run` |  | only shows what would run |" in text
    assert "secret" not in text
    assert "tool train adding" in text
    assert "## tool data list" in text


def test_pages_that_no_longer_exist_are_removed(tmp_path):
    stale = tmp_path / "variants" / "gone.md"
    stale.parent.mkdir()
    stale.write_text("old")
    write_pages(tmp_path)
    assert not stale.exists()
    assert (tmp_path / "variants" / "lstm.md").exists()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """Collects the links, the files that a page loads, and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.anchors, self.tags = [], [], set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        if "id" in values:
            self.anchors.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe") and values.get("src"):
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loaded.append(values["href"])


def test_every_link_of_the_site_has_a_target(site):
    parsed = {path: Links(path.read_text()) for path in sorted(site.rglob("*.html"))}
    assert len(parsed) > len(CATALOGUE) + len(TASKS) + len(CONFIGS)
    broken = []
    for page, found in parsed.items():
        for link in found.links:
            if re.match(r"https?:|mailto:", link):
                continue
            name, _, anchor = unquote(link).partition("#")
            target = (page.parent / name).resolve() if name else page
            exists = target in parsed or (target.exists() and not anchor)
            if not exists or (anchor and anchor not in parsed[target].anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []


def test_the_site_loads_nothing_from_the_network(site):
    for page in site.rglob("*.html"):
        found = Links(page.read_text())
        external = [name for name in found.loaded if re.match(r"(https?:)?//", name)]
        # The badge of a notebook is an image of the service that opens it.
        assert not [name for name in external if not name.endswith("/colab-badge.svg")], page
    variant = Links((site / "_generated/variants/slstm.html").read_text())
    assert {"math", "mfrac", "svg"} <= variant.tags
    assert "\\odot" not in (site / "_generated/variants/slstm.html").read_text()


def test_the_python_pages_show_types_by_name_and_examples_as_code(site):
    written = {path.stem: path.read_text() for path in (site / "_generated/api").glob("*.html")}
    assert {"lstm_lab.cells", "lstm_lab.recurrence", "lstm_lab.tasks"} <= set(written)
    assert "TypeAliasForwardRef" not in "".join(written.values())
    assert "highlight-python" in written["lstm_lab"]
    # A colon in the text of `Returns:` does not make its start a type.
    assert "Return type" not in "".join(written.values())


# The pages with the widest equations, pictures, tables and code.
WIDE = (
    "index.html",
    "tutorial.html",
    "tutorial.zh.html",
    "benchmarks.html",
    "reproductions.html",
    "_generated/variants/fgr.html",
    "_generated/variants/slstm.html",
    "_generated/configs/ptb.html",
    "_generated/reference/settings.html",
    "_generated/reference/cli.html",
    "_generated/api/lstm_lab.cells.html",
)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; .ci/run installs it")
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_screen(site, tmp_path, width):
    """Chromium's window is at least 500 pixels wide, so a frame of the given width is measured."""
    frames = "".join(
        f'<iframe src="{(site / name).as_uri()}" style="width:{width}px;height:900px"></iframe>'
        for name in WIDE
    )
    script = inspect.cleandoc(
        """
        <script>
        window.onload = () => {
          const hides = (style) => style.position === "fixed" || style.overflowX !== "visible";
          const widest = (window, element) => {
            const inner = hides(window.getComputedStyle(element)) && element.clientWidth;
            const own = element.getBoundingClientRect().right;
            // What is inside of a box that scrolls does not make the page wider.
            const children = inner ? [] : [...element.children];
            return Math.max(own, ...children.map((child) => widest(window, child)));
          };
          const wide = [...document.querySelectorAll("iframe")].map((frame) => {
            const article = frame.contentDocument.querySelector("article");
            return Math.round(widest(frame.contentWindow, article));
          });
          document.body.dataset.wide = JSON.stringify(wide);
        };
        </script>
        """
    )
    page = tmp_path / "frames.html"
    page.write_text(f"<!doctype html><body>{frames}{script}</body>")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [CHROMIUM, *options, profile, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    measured = re.search(r'data-wide="([^"]*)"', done.stdout)
    assert measured, done.stderr
    right_edges = dict(zip(WIDE, json.loads(measured[1]), strict=True))
    assert {name: edge for name, edge in right_edges.items() if not 0 < edge <= width} == {}

"""The exported page in Chromium: it generates the text that `generate` gives."""

import subprocess

import pytest

from lstm_lab.inference.generate import Sampling, generate
from lstm_lab.interop import ExportOptions, export_run
from lstm_lab.tasks.readers.text import END, Vocabulary
from tests.helpers.browser import CHROMIUM, OPTIONS, browse
from tests.helpers.explain import SCAN, random_params, trained
from tests.helpers.paths import ROOT
from tests.helpers.training import language_spec

# `make parity` installs it with npm.
RUNTIME = ROOT / "build" / "web" / "node_modules" / "onnxruntime-web" / "dist"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; .ci/run installs it"),
    pytest.mark.skipif(not RUNTIME.is_dir(), reason="needs onnxruntime-web; see `make parity`"),
]

CHARACTERS = Vocabulary(["<unk>", *"abcdefghijklmnopqrstuvwxyz .,!\n"])
WORDS = Vocabulary(["<unk>", END, "to", "be", "or", "not", "that", "is", "</script>", "question"])

# Functions for the scripts of the tests.
TOOLS = """
const find = (id) => document.getElementById(id);
const wait = () => new Promise((resolve) => setTimeout(resolve, 20));
while (find("status").textContent.startsWith("Loading")) await wait();
if (find("generate").disabled) throw new Error(find("status").textContent);
const generated = async (prompt, length, temperature, seed = 0, stop = false) => {
  Object.entries({ prompt, length, temperature, seed }).forEach(([id, value]) => {
    find(id).value = value;
  });
  find("generate").click();
  while (stop && !find("status").textContent.includes("per second")) await wait();
  if (stop) find("stop").click();
  while (find("generate").disabled) await wait();
  return find("text").textContent;
};
"""


def language_run(symbols, unit="character", **model):
    spec = language_spec("text.txt", task={"unit": unit}, model={"layers": 2, **model}, **SCAN)
    run = trained(spec, random_params(spec, 1.0))
    # The unknown symbol, and outputs without a symbol, would be the most probable ones.
    run.params["head"]["bias"][[0, *range(len(symbols), 40)]] = 10.0
    run.preprocessing["inputs"] = symbols
    return run


def exported(run, folder):
    return export_run(run, "web", folder, ExportOptions(runtime=RUNTIME))


def expected(run, prompt, length=200):
    return prompt + "".join(generate(run, prompt, length, Sampling(temperature=0.0)))


@pytest.mark.parametrize(("cell", "width"), [("lstm", 1280), ("layernorm", 500)])
def test_the_page_generates_the_same_text(cell, width, tmp_path):
    """By an operator of ONNX, and by a Scan."""
    run = language_run(CHARACTERS, cell=cell)
    script = """
        const seen = { greedy: await generated("to be", 200, 0) };
        seen.empty = await generated("", 50, 0);
        seen.drawn = [await generated("to be", 50, 1, 3), await generated("to be", 50, 1, 3)];
        seen.other = await generated("to be", 50, 1, 4);
        seen.many = await generated("", 2000, 2);
        seen.status = find("status").textContent;
        seen.facts = find("facts").textContent;
        seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
        seen.wide = document.documentElement.scrollWidth > window.innerWidth;
        return seen;
    """
    seen, console = browse(exported(run, tmp_path / "out"), TOOLS + script, tmp_path, width)
    assert console == []
    assert "error" not in seen, seen
    assert seen["greedy"] == expected(run, "to be")
    assert len(set(seen["greedy"])) > 4
    assert seen["empty"] == expected(run, "", 50)
    assert seen["drawn"][0] == seen["drawn"][1] != seen["other"]
    assert len(seen["many"]) == 2000  # the unknown symbol would be five characters
    assert set(seen["many"]) == set(CHARACTERS[1:])
    assert seen["status"].startswith("Done: 2,000 characters, ")
    assert seen["facts"] == f"{cell} · 2 layers of 6 units · 31 characters"
    assert {name.split("/")[2] for name in seen["requests"]} == {seen["requests"][0].split("/")[2]}
    assert not seen["wide"]


def test_the_page_of_a_model_of_words_stops(tmp_path):
    run = language_run(WORDS, "word", cell="gru")
    script = """
        const seen = { greedy: await generated("to be, or", 60, 0) };
        seen.stopped = await generated("to be", 100000, 1, 0, true);
        seen.status = find("status").textContent;
        return seen;
    """
    seen, console = browse(exported(run, tmp_path / "out"), TOOLS + script, tmp_path)
    assert console == []
    assert "error" not in seen, seen
    assert seen["greedy"] == expected(run, "to be, or", 60)
    assert seen["status"].startswith("Stopped after ")
    assert len(seen["stopped"].split()) < 50_000


def test_a_page_that_is_opened_as_a_file_asks_for_a_server(tmp_path):
    page = exported(language_run(CHARACTERS), tmp_path / "out") / "index.html"
    options = (*OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom")
    done = subprocess.run(
        [CHROMIUM, *options, page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert "This page needs a web server" in done.stdout

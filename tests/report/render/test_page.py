"""The page in a browser: it loads nothing else, its tables sort, and it fits a phone."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from lstm_lab.report.render.files import build
from lstm_lab.utils.escape import visible
from lstm_lab.utils.files import read_json, write_json

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# A script at the end of the page. It uses the page and stores the results in the body tag.
PROBE = """
<script>
const column = (table, k) => [...table.tBodies[0].rows].map((row) => row.cells[k].textContent);
const table = document.querySelector("table");
const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
const seen = { before: column(table, 0), names };
const head = (name) => table.tHead.rows[0].cells[names.indexOf(name)];
const press = (name) => head(name).querySelector("button").click();
press("variant"); seen.byName = column(table, 0);
press("variant"); seen.backwards = column(table, 0);
press("n"); seen.byNumber = column(table, names.indexOf("n"));
seen.sort = head("n").getAttribute("aria-sort");
seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
seen.wide = document.documentElement.scrollWidth > window.innerWidth;
seen.figures = [...document.querySelectorAll("figure svg")].map((svg) => svg.clientWidth > 200);
document.body.dataset.seen = JSON.stringify(seen);
</script>
"""


def browse(page, tmp_path, width):
    """Opens a page with the probe; returns the results of the probe and the console messages."""
    probed = tmp_path / f"probed_{width}.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900",
            "--dump-dom",
            probed.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )

    class Body(HTMLParser):
        seen = None

        def handle_starttag(self, tag, attrs):
            if tag == "body":
                self.seen = dict(attrs).get("data-seen")

    body = Body()
    body.feed(done.stdout)
    assert body.seen, done.stderr
    return json.loads(body.seen), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; .ci/run installs it")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_works_in_a_browser(folder, tmp_path, width):
    build(folder)
    seen, console = browse(folder / "report" / "report.html", tmp_path, width)
    assert console == []
    assert seen["requests"] == []
    assert seen["before"] == ["np", "nfg", "rnn", "a|b"]
    assert seen["byName"] == ["a|b", "nfg", "np", "rnn"]
    assert seen["backwards"] == ["rnn", "np", "nfg", "a|b"]
    assert seen["byNumber"] == ["0", "2", "5", "5"]
    assert seen["sort"] == "ascending"
    assert not seen["wide"]
    assert len(seen["figures"]) >= 3
    assert all(seen["figures"])


def test_the_text_of_a_study_is_escaped(folder):
    plan = read_json(folder / "study.json")
    evil = "<script>alert(1)</script>"
    plan["study"]["title"] = evil
    plan["study"]["references"] = [
        {"label": evil, "value": 0.9, "source": "a & b", "variant": None}
    ]
    plan["study"]["variants"][evil] = {}
    write_json(folder / "study.json", plan)
    build(folder)
    page = (folder / "report" / "report.html").read_text()
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "a &amp; b" in page


@pytest.mark.parametrize("name", ["$x", "$x$", "\x1b[31mred", "a\nb", "\\frac{", "a | b", "%s {0}"])
def test_any_name_of_a_variant_gives_a_report(folder, name, capsys):
    path = folder / "study.json"
    path.write_text(path.read_text().replace('"nfg"', json.dumps(name)))
    plan = read_json(path)
    reference = {"label": f"published {name}", "value": 0.9, "source": name, "variant": None}
    plan["study"] |= {"title": name, "references": [reference]}
    write_json(path, plan)
    text = build(folder)
    assert "\x1b" not in text + (folder / "report" / "report.md").read_text()
    # A name between two `$` is no formula: every figure shows it as it is.
    ranking = (folder / "report" / "ranking.svg").read_text()
    shown = html.escape(" ".join(visible(name).splitlines()), quote=False)
    assert f">{shown}</text>" in ranking


def test_the_page_is_self_contained(folder):
    """It links only to standards, describes every figure, and states the result."""
    build(folder)
    page = (folder / "report" / "report.html").read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<]+", page))
    assert {re.sub(r"^https?://([^/]+).*", r"\1", a) for a in addresses} <= {
        "www.w3.org",
        "creativecommons.org",
        "purl.org",
        "matplotlib.org",
    }
    assert page.count("<figure ") == page.count('<figure role="group" aria-label="')
    assert (
        "Best: np, test accuracy 0.9420 over 5 runs. Significantly different from np: nfg" in page
    )

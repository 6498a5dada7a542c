"""Every link between the Markdown files of the project points to an existing file and heading."""

import re

import pytest

from docs.generate import pages
from tests.helpers.docs import local_links
from tests.helpers.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(text):
    """Returns the anchors of all headings, in the form that GitHub gives them."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_point_to_existing_files_and_headings(page):
    for link in local_links(page.read_text()):
        name, _, anchor = link.partition("#")
        if "_generated/" in name:  # written when the documentation site is built
            assert name.partition("_generated/")[2] in pages(), link
            continue
        target = page.parent / name if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_a_page_with_links_to_generated_pages_says_how_to_write_them():
    """They are in no clone, and GitHub shows the link as dead."""
    texts = {page.name: page.read_text() for page in PAGES}
    linking = {name for name, text in texts.items() if re.search(r"\]\([./]*_generated/", text)}
    assert linking
    assert {name for name in linking if "`make docs`" not in texts[name]} == set()


def test_the_link_check_reads_the_main_pages():
    assert {"README.md", "CONTRIBUTING.md", "design.md"} <= {page.name for page in PAGES}

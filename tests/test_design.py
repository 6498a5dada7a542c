"""docs/design.md lists the files and the extras of the project, all of them and no others.

The rule for files: every package directly in lstm_lab has a line in the section Layout. A line
alone stands for all files of its package. If the section lists any of them, it lists all of them.
"""

import re
import tomllib

import pytest

from tests.helpers.paths import ROOT

DESIGN = (ROOT / "docs" / "design.md").read_text()
PACKAGE = ROOT / "lstm_lab"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])


def section(heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", DESIGN, re.M | re.S)[1]


def listed_files():
    """Returns the names that Layout lists in each package of lstm_lab, by the package's path.

    The indentation of a line is its depth; its names end before two spaces, and a package's name
    ends with a slash.
    """
    names = {}
    open_packages = []
    lines = section("Layout").split("```")[1].splitlines()
    for line in lines[lines.index("lstm_lab/") + 1 :]:
        depth = (len(line) - len(line.lstrip())) // 2
        if line.strip() and depth == 0:
            break
        entries = re.split(r"\s{2,}", line.strip())[0].split(", ") if line.strip() else []
        for entry in entries:
            open_packages = open_packages[: depth - 1]
            package = "/".join(open_packages)
            names.setdefault(package, set()).add(entry.rstrip("/"))
            if entry.endswith("/"):
                open_packages.append(entry.rstrip("/"))
    return names


LISTED = listed_files()
PACKAGES = sorted(p.parent for p in PACKAGE.rglob("__init__.py") if p.parent != PACKAGE)


def files_of(folder):
    """Returns the modules and the packages of a package, without `__init__` and the like."""
    modules = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("__")}
    return modules | {p.parent.name for p in folder.glob("*/__init__.py")}


@pytest.mark.parametrize("folder", [PACKAGE, *PACKAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_the_layout_lists_all_modules_of_a_package_or_none(folder):
    listed = LISTED.get("" if folder == PACKAGE else str(folder.relative_to(PACKAGE)), set())
    existing = files_of(folder)
    where = f"docs/design.md, Layout, {folder.relative_to(ROOT)}/"
    assert listed <= existing, f"{where}: no such file: {sorted(listed - existing)}"
    if listed:
        assert existing <= listed, f"{where}: add {sorted(existing - listed)}"


def test_the_layout_lists_packages_in_this_project():
    unknown = [path for path in LISTED if not (PACKAGE / path).is_dir()]
    assert not unknown, f"docs/design.md, Layout: no such package: {unknown}"


def test_the_design_names_every_extra_and_no_other():
    paragraph = next(p for p in section("Dependencies").split("\n\n") if "Extras:" in p)
    named = set(re.findall(r"`([\w.-]+)`", paragraph.split("Extras:")[1]))
    assert named == EXTRAS, (
        "docs/design.md, Dependencies, the paragraph of the extras: "
        f"add {sorted(EXTRAS - named)}, remove {sorted(named - EXTRAS)}"
    )


def test_the_layout_is_read():
    """The other tests would pass on an empty list."""
    assert {"unroll", "backends"} <= LISTED["recurrence"]
    assert {"utils", "cli", "bench"} <= LISTED[""]

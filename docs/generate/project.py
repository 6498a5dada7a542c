"""The pages CHANGELOG.md and CONTRIBUTING.md of the repository, as pages of the site."""

from __future__ import annotations

import re

from docs.generate.markdown import REPOSITORY, ROOT

FILES = {"CHANGELOG.md": "project/changelog.md", "CONTRIBUTING.md": "project/contributing.md"}
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)([^)]*)\)")


def pages() -> dict[str, str]:
    """Returns both pages; their links point to pages of the site, or into the repository."""
    return {path: _LINK.sub(_target, (ROOT / file).read_text()) for file, path in FILES.items()}


def _target(match: re.Match[str]) -> str:
    name, anchor = match[1], match[2]
    if name in FILES:
        return f"](../{FILES[name]}{anchor})"
    if name.startswith("docs/"):
        return f"](../../{name.removeprefix('docs/')}{anchor})"
    return f"]({REPOSITORY}/{name})"

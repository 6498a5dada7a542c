"""The configuration of the documentation site; `make docs` builds it into build/site."""

import re
import sys
import textwrap
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

import lstm_lab  # noqa: E402  (found through the line above, installed or not)
from docs.generate import project as project_pages  # noqa: E402
from docs.generate import write_pages  # noqa: E402
from docs.generate.markdown import REPOSITORY  # noqa: E402

project = "lstm_lab"
author = "the authors of lstm_lab"
release = lstm_lab.__version__
language = "en"
# Text such as --flag and h' stays as it is.
smartquotes = False

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs.generate.mathml",
]
exclude_patterns = ["figures/*.md", "generate"]

# Notebooks are executed by a test of their own; here they appear with their stored outputs.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = "lstm_lab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

# Docstrings of the project use single backticks for code, as Markdown does.
default_role = "literal"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# Their names say more in a signature than their lists of strings.
autodoc_type_aliases = {name: name for name in ("Activation", "Backend", "Params", "Rates")}
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
# "Attributes" as the heading; napoleon would write "Variables".
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_attr_annotations = False
copybutton_prompt_text = "$ "

_PARENT_LINK = re.compile(r"\]\((\.\./[^)#]*)([^)]*)\)")


def _link_repository(app: Sphinx, name: str, source: list[str]) -> None:
    """Turns links to files outside of docs/ into links to their pages, or to the repository."""
    del app
    if name.startswith("_generated/"):
        return

    def target(match: re.Match[str]) -> str:
        path = ((DOCS / name).parent / match[1]).resolve()
        if path.is_relative_to(DOCS):
            return match[0]
        file = path.relative_to(DOCS.parent).as_posix()
        page = project_pages.FILES.get(file)
        return f"](/_generated/{page}{match[2]})" if page else f"]({REPOSITORY}/{file})"

    source[0] = _PARENT_LINK.sub(target, source[0])


def _skip_absent_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Leaves entries without a page out of the toctrees of the index: Sphinx would warn."""
    del app
    if name == "index":
        lines = source[0].split("\n")
        inside = False
        kept = []
        for line in lines:
            inside = line == "```{toctree}" or (inside and line != "```")
            is_entry = inside and line and line[0] not in "`:" and "_generated/" not in line
            if not is_entry or any(DOCS.glob(f"{line}.*")):
                kept.append(line)
        source[0] = "\n".join(kept)


_SECTION = r"^{}:\n((?:  .*\n?|\n)+)"


def _prepare_docstring(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Rewrites two sections that napoleon would misread."""
    del app, what, name, value, options
    text = "\n".join(lines)
    # The code of an example would become a paragraph.
    for body in re.findall(_SECTION.format("Example"), text, re.M):
        block = textwrap.indent(textwrap.dedent(body).strip(), "     ")
        text = text.replace(body, f"  .. code-block:: python\n\n{block}\n\n")
    # In `Returns: One row per check: its name`, the words before the colon would become a type.
    for body in re.findall(_SECTION.format("Returns"), text, re.M):
        field = textwrap.indent(textwrap.dedent(body).strip(), "   ").strip()
        text = text.replace(f"Returns:\n{body}", f":returns: {field}\n\n")
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> None:
    """Writes the generated pages, and connects the changes of sources and docstrings."""
    write_pages(DOCS / "_generated")
    app.connect("source-read", _link_repository)
    app.connect("source-read", _skip_absent_pages)
    # Before napoleon, which has the default priority 500.
    app.connect("autodoc-process-docstring", _prepare_docstring, priority=400)

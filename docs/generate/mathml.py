"""A Sphinx extension that writes equations as MathML.

Browsers show MathML themselves, so the site needs no script, no font and no network for its
equations. Sphinx has two renderers of its own: MathJax, a script from the network, and images,
which need TeX.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def to_mathml(latex: str, display: str) -> str:
    """Converts LaTeX to MathML.

    Args:
      latex: the equation without delimiters.
      display: `inline` or `block`.
    """
    return convert(latex, display=display)


def _visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _visit_block(translator: Any, node: nodes.math_block) -> None:
    # The box scrolls if an equation is wider than the screen (docs/_static/site.css).
    translator.body.append(f'<div class="equation">{to_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Registers the renderer under the name `mathml`."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

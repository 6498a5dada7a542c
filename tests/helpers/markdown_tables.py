"""Tables of a Markdown text."""

from markdown_it import MarkdownIt


def tables(text):
    """Returns the tables of a text as rows of cells, read by a Markdown parser."""
    found, tokens = [], MarkdownIt("commonmark").enable("table").parse(text)
    for token, inner in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            found[-1][-1].append("".join(part.content for part in inner.children))
    return found

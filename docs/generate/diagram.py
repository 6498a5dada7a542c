"""The data flow of one time step as an SVG, drawn from a variant's equations.

In: equations. Out: an SVG element whose colors come from the page. A box is the result of an
equation, an arrow a value that the equation reads. What the plain LSTM does not have is in the
accent color, so that the picture shows what a variant changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from lstm_lab.cells.expressions import (
    Binary,
    Call,
    Equation,
    Expression,
    Join,
    Maximum,
    Old,
    Part,
    Value,
)

WIDTH, HEIGHT = 64, 40  # of a box
COLUMN, ROW = 128, 58  # distance of the centers of two boxes
MARGIN = 14
_SIGNS = {"sigmoid": "\u03c3", "*": "\u00d7", "@": "\u00d7", "/": "\u00f7", "-": "\u2212"}

Edge = tuple[str, str]


def reads(expression: Expression) -> list[str]:
    """Returns the vectors that an expression reads, in their order; c' is the old c."""
    match expression:
        case Value(name) | Part(name, _, _):
            return [name]
        case Old(name):
            return [f"{name}'"]
        case Binary(_, left, right):
            return _unique(reads(left) + reads(right))
        case Maximum(left, right, stored):
            return _unique(reads(left) + reads(right) + reads(stored))
        case Call(_, argument):
            return reads(argument)
        case Join(parts):
            return _unique([name for part in parts for name in reads(part)])
        case _:
            return []


def _unique(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def edges(equations: tuple[Equation, ...]) -> list[Edge]:
    """Returns the arrows of a step: (what is read, the result)."""
    return [(name, e.result.name) for e in equations for name in reads(e.expression)]


def label(equation: Equation) -> str:
    """Returns the sign in a box: the outermost function, or the outermost operator."""
    match equation.expression:
        case Call(function, _):
            return _SIGNS.get(function, function)
        case Maximum():
            return "max"
        case Binary(operator, _, _):
            return _SIGNS.get(operator, operator)
        case _:
            return "="


@dataclass(frozen=True)
class Layout:
    """Where the boxes are.

    Attributes:
      column: number of the column of each box; an arrow always points to a later column.
      place: center (x, y) of each box, and of each point at which an arrow passes a column, by
        (source, target, column).
      size: width and height of the picture.
    """

    column: dict[str, int]
    place: dict[str | tuple[str, str, int], tuple[float, float]]
    size: tuple[float, float]


def arrange(equations: tuple[Equation, ...]) -> Layout:
    """Places the boxes in columns by the longest path to them, with few crossings of arrows."""
    arrows = edges(equations)
    results = [equation.result.name for equation in equations]
    sources = _unique([source for source, _ in arrows if source not in results])
    column = dict.fromkeys(sources, 0)
    for name in results:
        column[name] = 1 + max((column[source] for source, to in arrows if to == name), default=0)
    columns: list[list[str | tuple[str, str, int]]] = [[] for _ in range(max(column.values()) + 1)]
    for name in [*sources, *results]:
        columns[column[name]].append(name)
    # An arrow over several columns takes a place of its own in each, so that it passes no box.
    parents: dict[str | tuple[str, str, int], list[str | tuple[str, str, int]]] = {}
    for source, target in arrows:
        last: str | tuple[str, str, int] = source
        for k in range(column[source] + 1, column[target]):
            columns[k].append((source, target, k))
            parents[source, target, k] = [last]
            last = (source, target, k)
        parents.setdefault(target, []).append(last)
    return Layout(column, *_place(columns, parents))


def _place(
    columns: list[list[str | tuple[str, str, int]]],
    parents: dict[str | tuple[str, str, int], list[str | tuple[str, str, int]]],
) -> tuple[dict[str | tuple[str, str, int], tuple[float, float]], tuple[float, float]]:
    """Orders each column by the mean place of what its members read, and centers it."""
    tallest = max(map(len, columns))
    place: dict[str | tuple[str, str, int], tuple[float, float]] = {}
    for k, members in enumerate(columns):
        if k:

            def mean(member: str | tuple[str, str, int]) -> float:
                heights = [place[parent][1] for parent in parents[member]]
                return sum(heights) / len(heights)

            members.sort(key=mean)
        top = MARGIN + HEIGHT / 2 + (tallest - len(members)) * ROW / 2
        for row, member in enumerate(members):
            place[member] = (MARGIN + WIDTH / 2 + k * COLUMN, top + row * ROW)
    width = (len(columns) - 1) * COLUMN + WIDTH + 2 * MARGIN
    return place, (width, (tallest - 1) * ROW + HEIGHT + 2 * MARGIN)


def draw(name: str, equations: tuple[Equation, ...], plain: tuple[Equation, ...]) -> str:
    """Returns the picture of a variant.

    Args:
      name: the variant.
      equations: its time step.
      plain: the time step to compare with; what it lacks gets the accent color.
    """
    layout, signs = arrange(equations), {e.result.name: label(e) for e in equations}
    known = {e.result.name: e.text for e in plain}
    texts = {e.result.name: e.text for e in equations}
    old = set(edges(plain))
    lines = [
        _arrow(layout, edge, is_new=edge not in old) for edge in _unique_edges(edges(equations))
    ]
    for box in layout.column:
        is_new = box in texts and texts[box] != known.get(box)
        lines.append(_box(box, signs.get(box, ""), layout.place[box], is_new))
    width, height = layout.size
    words = escape(f"Data flow of one time step of {name}")
    return "\n".join(
        [
            f'<svg class="cell" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
            f' height="{height:g}" role="img" aria-label="{words}">',
            f"<title>{words}</title>",
            *lines,
            "</svg>",
        ]
    )


def _unique_edges(arrows: list[Edge]) -> list[Edge]:
    return list(dict.fromkeys(arrows))


def _box(name: str, sign: str, center: tuple[float, float], is_new: bool) -> str:
    x, y = center
    kind = "input" if not sign else "new" if is_new else "box"
    second = f'<tspan class="sign" dx="6">{escape(sign)}</tspan>' if sign else ""
    return (
        f'<g class="{kind}"><rect x="{x - WIDTH / 2:g}" y="{y - HEIGHT / 2:g}" width="{WIDTH}"'
        f' height="{HEIGHT}" rx="6"/><text x="{x:g}" y="{y + 5:g}">{escape(name)}{second}</text>'
        "</g>"
    )


def _arrow(layout: Layout, edge: Edge, *, is_new: bool) -> str:
    source, target = edge
    x, y = layout.place[source]
    path, x = f"M{x + WIDTH / 2:g} {y:g}", x + WIDTH / 2
    passed = range(layout.column[source] + 1, layout.column[target])
    points = [layout.place[source, target, k] for k in passed]
    for px, py in points:
        left, right = px - WIDTH / 2, px + WIDTH / 2
        path += f" C{(x + left) / 2:g} {y:g} {(x + left) / 2:g} {py:g} {left:g} {py:g} H{right:g}"
        x, y = right, py
    tx, ty = layout.place[target]
    end = tx - WIDTH / 2 - 5
    path += f" C{(x + end) / 2:g} {y:g} {(x + end) / 2:g} {ty:g} {end:g} {ty:g}"
    head = f"M{end:g} {ty - 4:g} l5 4 l-5 4"
    kind = "new" if is_new else "arrow"
    return f'<path class="{kind}" d="{path}"/><path class="{kind}" d="{head}"/>'

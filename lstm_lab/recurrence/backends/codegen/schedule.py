"""Orders a graph into passes over the units: what has to wait for a whole vector comes later.

A stage goes once over the units of all rows and computes elementwise what it can. A product and a
sum over the units need all units of their argument, so what reads them belongs to a later stage.
The plain LSTM is a single stage, in which the gates of 64 units come from the matrix product into
the first-level cache and are used there; layer normalization needs five.

The forward pass leaves what the backward pass reads again: the values of costly functions. Cheap
ones are computed again (`choose_saved`).

In: `Graph`. Out: `Pass`. Read emit.py next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lstm_lab.recurrence.backends.codegen.graph import Graph, Node, WeightBlock, Width
from lstm_lab.recurrence.backends.codegen.primitives import ELEMENTWISE, EXPENSIVE, FLAGS

INPUTS = frozenset(("zx", "state", "d_state", "noise", "weight", "constant", "size"))
# Inputs that lie in memory row by row, so that a product can read them as they are.
ROWS_IN_MEMORY = ("state", "d_state")


class Sink(NamedTuple):
    """A value that a stage stores: where, as a function of the kernel, and its number there."""

    store: str
    number: int
    node: int
    width: Width


class Term(NamedTuple):
    """One matrix of a product, and the vector that it is multiplied by.

    `source` is one of `state`, `d_state`, `kept` and `gradient`, and `block` its number there.
    """

    source: str
    block: int
    place: WeightBlock
    width: Width


class Product(NamedTuple):
    """A vector that products with matrices add up to; it starts from a block of zx, or from -1."""

    width: Width
    terms: tuple[Term, ...]
    start: int


@dataclass
class Stage:
    """One pass over the units (width H or R), or over the rows alone (width ONE)."""

    width: Width
    products: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass
class Pass:
    """The stages of one direction, and the memory that they need.

    Attributes:
      stages: in their order.
      products: all products; stages name them by number.
      kept: nodes of the vectors that one stage leaves for another, with their numbers.
      kept_widths: their widths.
      numbers: nodes of one number a row, such as means, that stages leave for others.
    """

    stages: list[Stage]
    products: list[Product]
    kept: dict[int, int]
    kept_widths: list[Width]
    numbers: dict[int, int]


def choose_saved(graph: Graph) -> list[int]:
    """Returns the nodes that the forward pass keeps for the backward pass."""
    uses = graph.uses_gradient
    wanted = {k for n, node in enumerate(graph.nodes) if uses[n] for k in node.args}
    wanted |= {outer.source for outer in graph.outers}
    wanted |= {total.node for total in graph.totals}
    direct = sorted(k for k in wanted if not uses[k])
    saved: dict[int, None] = {}

    def leaves(k: int) -> set[int]:
        """What has to be kept so that k can be computed again."""
        node = graph.nodes[k]
        if k in saved or (node.op in INPUTS and node.op != "zx"):
            return set()
        if node.op in EXPENSIVE or node.op == "zx":
            return {k}
        return set().union(*map(leaves, node.args))

    for k in direct:
        if graph.nodes[k].op in EXPENSIVE:
            saved[k] = None
    for k in direct:
        if len(leaves(k)) == 1:
            saved |= dict.fromkeys(leaves(k))

    def save(k: int) -> None:
        missing = leaves(k)
        if len(missing) > 1 and graph.nodes[k].op in FLAGS:
            # A flag has no place in memory. What it compares has, if need be through other flags.
            for argument in graph.nodes[k].args:
                save(argument)
        else:
            saved.update(dict.fromkeys([k] if len(missing) > 1 else missing))

    for k in direct:
        save(k)
    return sorted(saved)


def schedule(
    graph: Graph,
    sinks: Sequence[Sink],
    *,
    saved: Mapping[int, int],
    gradients: Mapping[int, int],
    kept: Sequence[int] = (),
    slots: dict[Node, int],
) -> Pass:
    """Orders what the sinks need into stages.

    Args:
      graph: the step and its transpose.
      sinks: what is stored.
      saved: nodes that are read from memory, with their numbers there.
      gradients: nodes that the sinks store as gradients of pre-activations, with their numbers;
        products read them from there.
      kept: nodes that something besides the stages reads, row by row.
      slots: numbers of the vectors of weights; new ones are added.
    """
    return _Scheduler(graph, sinks, saved, gradients, kept, slots).run()


class _Scheduler:
    """Writes the stages: `schedule` explains the arguments."""

    def __init__(
        self,
        graph: Graph,
        sinks: Sequence[Sink],
        saved: Mapping[int, int],
        gradients: Mapping[int, int],
        kept: Sequence[int],
        slots: dict[Node, int],
    ) -> None:
        self.graph, self.sinks = graph, sinks
        self.saved, self.gradients, self.slots = saved, gradients, slots
        self.levels: dict[int, int] = {}
        self.kept: dict[int, int] = {}
        self.numbers: dict[int, int] = {}
        self.products: list[Product] = []
        self.product_numbers: dict[int, int] = {}
        self.needed = self._reach([s.node for s in sinks] + list(kept))
        self.starts, self.joined = self._fuse()
        for k in kept:
            if self.graph.nodes[k].op not in ROWS_IN_MEMORY or k in self.saved:
                self._keep(k)

    def run(self) -> Pass:
        for k in sorted(self.needed):
            if self.graph.nodes[k].op == "product" and k not in self.saved:
                self._define_product(k)
        keys = {(self._level(s.node), s.width) for s in self.sinks}
        keys |= {(self._level(k), self._width(k)) for k in self.needed if self._is_computed(k)}
        order = {"ONE": 0, "H": 1, "R": 2}
        # A stage learns from later ones what it has to leave for them, so all are written again.
        ordered = sorted(keys, key=lambda key: (key[0], order[key[1]]))
        left: tuple[int, ...] | None = None
        while left != (left := (len(self.kept), len(self.numbers))):
            stages = [self._write(*key) for key in ordered]
        widths: list[Width] = [self._width(k) for k in self.kept]
        return Pass(
            [s for s in stages if s.lines or s.products],
            self.products,
            self.kept,
            widths,
            self.numbers,
        )

    # ---- which nodes, and when

    def _reach(self, roots: Sequence[int]) -> set[int]:
        found, waiting = set[int](), list(roots)
        while waiting:
            k = waiting.pop()
            if k not in found:
                found.add(k)
                waiting += [] if k in self.saved else self.graph.nodes[k].args
        return found

    def _fuse(self) -> tuple[dict[int, int], dict[int, int]]:
        """Finds sums of zx and one product: the product starts from zx."""
        uses: dict[int, int] = {}
        for k in self.needed:
            if k not in self.saved:
                for a in self.graph.nodes[k].args:
                    uses[a] = uses.get(a, 0) + 1
        for sink in self.sinks:
            uses[sink.node] = uses.get(sink.node, 0) + 1
        starts, joined = dict[int, int](), dict[int, int]()
        for k in self.needed - set(self.saved):
            node = self.graph.nodes[k]
            if node.op != "add":
                continue
            for zx, product in (node.args, node.args[::-1]):
                ops = (self.graph.nodes[zx].op, self.graph.nodes[product].op)
                if ops == ("zx", "product") and uses[product] == 1 and product not in starts:
                    starts[product] = self.graph.nodes[zx].detail[1]
                    joined[k] = product
                    break
        return starts, joined

    def _is_input(self, k: int) -> bool:
        return k in self.saved or self.graph.nodes[k].op in INPUTS

    def _is_uniform(self, k: int) -> bool:
        """Whether a node is the same in all rows. Each stage that reads it computes it again."""
        node = self.graph.nodes[k]
        if k in self.saved or node.width != "ONE":
            return False
        if node.op in ("constant", "size", "weight"):
            return True
        return (
            bool(node.args)
            and all(map(self._is_uniform, node.args))
            and (node.op not in ("row_sum", "row_max", "product"))
        )

    def _is_computed(self, k: int) -> bool:
        return not self._is_input(k) and not self._is_uniform(k)

    def _width(self, k: int) -> Width:
        return self.graph.nodes[k].width

    def _level(self, k: int) -> int:
        if k not in self.levels:
            node = self.graph.nodes[k]
            if self._is_input(k) or not node.args:
                level = 0
            elif node.op == "product":
                level = max(
                    0 if self.graph.nodes[a].op in ROWS_IN_MEMORY else self._level(a) + 1
                    for a in node.args
                )
            elif node.op in ("row_sum", "row_max"):
                level = self._level(node.args[0]) + 1
            else:
                level = max(self._level(a) for a in node.args)
            self.levels[k] = level
        return self.levels[k]

    def _keep(self, k: int) -> int:
        """Returns the number under which a stage leaves a vector for later ones."""
        return self.kept.setdefault(k, len(self.kept))

    def _define_product(self, k: int) -> None:
        node = self.graph.nodes[k]
        terms = []
        for source, place in zip(node.args, node.detail, strict=True):
            op = self.graph.nodes[source].op
            if op in ROWS_IN_MEMORY:
                kind, block = op, self.graph.block_number(source)
            elif source in self.gradients:
                kind, block = "gradient", self.gradients[source]
            else:
                kind, block = "kept", self._keep(source)
            terms.append(Term(kind, block, place, self._width(source)))
        self.product_numbers[k] = len(self.products)
        self.products.append(Product(node.width, tuple(terms), self.starts.get(k, -1)))

    # ---- the text of a stage

    def _write(self, level: int, width: Width) -> Stage:
        stage = Stage(width)
        self.written: dict[int, str] = {}
        fused = set(self.joined.values())
        for k in sorted(self.needed):
            is_here = self._is_computed(k) and (self._level(k), self._width(k)) == (level, width)
            if is_here and k not in fused and self.graph.nodes[k].op not in FLAGS:
                self._value(k, stage, level)
        for sink in self.sinks:
            if (self._level(sink.node), sink.width) == (level, width):
                value = self._value(sink.node, stage, level)
                stage.lines.append(self._store(sink, value))
        for k, number in list(self.kept.items()):
            if (self._level(k), self._width(k)) == (level, width):
                value = self._value(k, stage, level)
                stage.lines.append(f"EACH(s.keep({number}, row + r, u, {value}))")
        self._write_numbers(stage, level, width)
        return stage

    def _write_numbers(self, stage: Stage, level: int, width: Width) -> None:
        for k, number in list(self.numbers.items()):
            node = self.graph.nodes[k]
            if node.op in ("row_sum", "row_max"):
                argument = node.args[0]
                if (self._level(argument), self._width(argument)) == (level, width):
                    value = self._value(argument, stage, level)
                    verb = "add" if node.op == "row_sum" else "raise"
                    stage.lines.append(f"EACH(s.{verb}_number({number}, row + r, u, {value}))")
            elif width == "ONE" and self._level(k) == level:
                value = self._value(k, stage, level)
                stage.lines.append(f"EACH(s.set_number({number}, row + r, {value}))")

    def _store(self, sink: Sink, value: str) -> str:
        if sink.store == "total":
            return f"s.total({sink.number}, u, sum_of_rows({value.removesuffix('[r]')}))"
        return f"EACH(s.{sink.store}({sink.number}, row + r, u, {value}))"

    def _value(self, k: int, stage: Stage, level: int) -> str:
        """Returns the text of a node's value in a stage; writes its computation if it is new."""
        if k in self.written:
            return self.written[k]
        node = self.graph.nodes[k]
        if node.op == "constant":
            return self._remember(k, _literal(node.detail))
        if node.op == "size":
            width, times = node.detail
            return self._remember(k, f"(Vec{{}} + {times}.0f * s.units({width}))")
        text = self._load(k, node, stage, level)
        if text is None:
            text = self._compute(k, node, stage, level)
        kind = "IntVec" if node.op in FLAGS else "Vec"
        stage.lines.append(f"{kind} v{k}[N]; EACH(v{k}[r] = {text})")
        return self._remember(k, f"v{k}[r]")

    def _remember(self, k: int, text: str) -> str:
        self.written[k] = text
        return text

    def _load(self, k: int, node: Node, stage: Stage, level: int) -> str | None:
        """Returns the text that reads a node from memory, or None if it is computed here."""
        if k in self.saved:
            where = "saved_number" if node.width == "ONE" else "saved"
            return f"s.{where}({self.saved[k]}, row + r, u)"
        if node.op in ("zx", "noise", *ROWS_IN_MEMORY):
            return f"s.{node.op}({self.graph.block_number(k)}, row + r, u)"
        if node.op == "weight":
            slot = self.slots.setdefault(node, len(self.slots))
            return f"s.{'weight' if node.width != 'ONE' else 'weight_number'}({slot}, u)"
        if self._is_uniform(k) or node.op in FLAGS:
            return None
        is_sum = node.op in ("row_sum", "row_max")
        if node.width == "ONE" and (stage.width != "ONE" or is_sum or self._level(k) < level):
            number = self.numbers.setdefault(k, len(self.numbers))
            verb = {"row_sum": "sum_of_units", "row_max": "max_of_units"}.get(node.op, "number")
            return f"s.{verb}({number}, row + r)"
        if node.width != "ONE" and self._level(k) < level:
            return f"s.kept({self._keep(k)}, row + r, u)"
        return None

    def _compute(self, k: int, node: Node, stage: Stage, level: int) -> str:
        if k in self.joined:
            return self._tile(self.joined[k], stage)
        if node.op == "product":
            return self._tile(k, stage)
        values = [self._value(a, stage, level) for a in node.args]
        return ELEMENTWISE[node.op].format(*values, detail=node.detail)

    def _tile(self, product: int, stage: Stage) -> str:
        number = self.product_numbers[product]
        if number not in stage.products:
            stage.products.append(number)
        return f"s.tile({stage.products.index(number)}, row + r, u)"


def _literal(value: float | bool) -> str:
    if isinstance(value, bool):
        return f"(IntVec{{}} + {-int(value)})"
    if value != value or value in (float("inf"), float("-inf")):
        name = "quiet_NaN" if value != value else "infinity"
        sign = "-" if value == float("-inf") else ""
        return f"(Vec{{}} {sign or '+'} std::numeric_limits<float>::{name}())"
    return f"(Vec{{}} + {value!r}f)" if "e" in repr(value) or "." in repr(value) else f"{value}.0f"

"""The text of a cell's kernel in C++.

In: a `Key`: the variant and what a call asks of it. Out: `Kernel`. The text holds for every size,
so that one library serves all layers of a variant; what depends on sizes are the places of blocks
in the arrays of weights (places.py). The passes that call the text are in kernel/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Var

from lstm_lab.cells.cell import Spec
from lstm_lab.recurrence.backends.codegen.build import build
from lstm_lab.recurrence.backends.codegen.flat import ROWS, StepShapes, trace
from lstm_lab.recurrence.backends.codegen.graph import Graph, Node, Sizes, UnsupportedError, Width
from lstm_lab.recurrence.backends.codegen.schedule import (
    Pass,
    Sink,
    choose_saved,
    schedule,
)
from lstm_lab.recurrence.backends.codegen.values import aval
from lstm_lab.utils.types import PyTree

# Sizes with which a cell is traced. H has many divisors, for cells with heads; with a projection it
# is odd, so that R does not divide it. A second trace with another H shows that the text does not
# depend on it.
TRACED_D, TRACED_H, TRACED_WITH_R = 24, (6720, 13440), (6719, 13441)


class Key(NamedTuple):
    """What a kernel's text depends on.

    Attributes:
      spec: the variant.
      noise: the tree of the masks and the axes of each mask, as "B", "H", "R" or a number; None
        without noise.
      clamp: gates that are constants, by name.
    """

    spec: Spec
    noise: tuple[jax.tree_util.PyTreeDef, tuple[tuple[str | int, ...], ...]] | None = None
    clamp: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Kernel:
    """A cell's kernel.

    Attributes:
      key: what it was generated for.
      text: the generated C++.
      graph: the step and its transpose.
      forward, backward: their stages.
      state: widths of the blocks of the state, field by field.
      zx: widths of the blocks of the pre-activations.
      traced: widths of the blocks of state fields and gates, which can be returned over time.
      saved: widths of what the forward pass keeps for the backward pass.
      vectors: the blocks of vectors of weights that the stages read.
      weights: number of arrays of weights.
    """

    key: Key
    text: str
    graph: Graph
    forward: Pass
    backward: Pass
    state: list[list[Width]]
    zx: list[Width]
    traced: dict[str, list[Width]]
    saved: list[Width]
    vectors: list[Node]
    weights: int


@lru_cache(maxsize=256)
def generate(key: Key) -> Kernel:
    """Generates the kernel of a cell.

    Raises:
      UnsupportedError: if the cell does something for which there is no kernel.
    """
    try:
        h = _traced_shapes(key._replace(noise=None), TRACED_H[0]).state.h
    except Exception as error:  # of the cell's code, for example if it expects a certain size
        message = " ".join(str(error).split())
        raise UnsupportedError(f"cell: with {TRACED_H[0]} units it raises: {message}") from error
    sizes = TRACED_H if h.shape[-1] % TRACED_H[0] == 0 else TRACED_WITH_R
    kernel, other = (_generate(key, H) for H in sizes)
    if kernel.text != other.text:
        raise UnsupportedError("cell: its equations depend on the number of units")
    return kernel


def _generate(key: Key, H: int) -> Kernel:
    shapes = _traced_shapes(key, H)
    flat = trace(key.spec, shapes, dict(key.clamp))
    graph = build(flat, _sizes(shapes, H, flat.rows))
    return _Writer(key, graph, shapes).kernel(len(flat.weights))


def step_shapes(key: Key, params: PyTree, D: int, R: int, H: int) -> StepShapes:
    """Returns the shapes of a step's arguments, with `ROWS` rows.

    Args:
      key: what the text depends on.
      params: shapes of the parameters.
      D: input features.
      R, H: units of h, and hidden units.
    """
    cell, spec = key.spec.cell, key.spec
    x = jax.ShapeDtypeStruct((ROWS, D), jnp.float32)
    zx = jax.eval_shape(partial(cell.project, spec), params, x)
    state = jax.eval_shape(lambda p, z: cell.initial(spec, p, z, jnp.float32), params, zx)
    noise = None
    if key.noise is not None:
        size = {"B": ROWS, "H": H, "R": R}
        tree, leaves = key.noise
        masks = [
            jax.ShapeDtypeStruct(tuple(size.get(str(n), n) for n in leaf), jnp.float32)
            for leaf in leaves
        ]
        noise = jax.tree.unflatten(tree, masks)
    return StepShapes(params, zx, state, noise)


def _traced_shapes(key: Key, H: int) -> StepShapes:
    spec = key.spec
    params = jax.eval_shape(lambda k: spec.cell.init(spec, k, TRACED_D, H), jax.random.key(0))
    without = step_shapes(key._replace(noise=None), params, TRACED_D, H, H)
    return step_shapes(key, params, TRACED_D, without.state.h.shape[-1], H)


def _sizes(shapes: StepShapes, H: int, rows: frozenset[Var]) -> Sizes:
    """Returns the lengths by which vectors are recognized: of one head's units, and of R."""
    R = shapes.state.h.shape[-1]
    R = 0 if R == H else R
    # Arrays [B,N,H/N]: the units of a head are the vectors then.
    last = {aval(v).shape[-1] for v in rows}
    parts = [n for n in last if n not in (R, ROWS) and n > 64 and H % n == 0]
    return Sizes(min([H, *parts]), R)


class _Writer:
    """Schedules the two passes and writes them down."""

    def __init__(self, key: Key, graph: Graph, shapes: StepShapes) -> None:
        self.key, self.graph = key, graph
        self.state = self._widths_of_inputs("state", len(jax.tree.leaves(shapes.state)))
        self.zx = [w for field in self._widths_of_inputs("zx", 1) for w in field]
        self.saved_nodes = choose_saved(graph)
        self.masks = sum(ROWS in leaf.shape for leaf in jax.tree.leaves(shapes.noise))
        self.vectors: dict[Node, int] = {}
        self.fields = [name for name, v in shapes.state._asdict().items() if v is not None]
        # What the backward pass reads besides h: the other fields of the state, then values.
        fields = [(k, w) for k, w in zip(self._state_nodes(), self._state_widths(), strict=True)]
        self.state_saved = fields[len(self.state[0]) :]
        self.saved: list[Width] = [w for _, w in self.state_saved]
        self.saved += [graph.nodes[k].width for k in self.saved_nodes]

    def kernel(self, weights: int) -> Kernel:
        graph = self.graph
        forward = self._forward()
        gradient_nodes = dict.fromkeys(o.gradient for o in graph.outers)
        gradient_nodes |= dict.fromkeys(k for k in graph.d_zx if graph.value(k) is None)
        gradients = {k: n for n, k in enumerate(gradient_nodes)}
        sources = {k: n for n, k in enumerate(dict.fromkeys(o.source for o in graph.outers))}
        backward = self._backward(gradients, list(sources))
        traced = {name: [self._wide(k) for k in blocks] for name, blocks in self._traced().items()}
        widths = [w for blocks in traced.values() for w in blocks]
        text = self._text(forward, backward, gradients, sources, widths)
        return Kernel(
            self.key,
            text,
            graph,
            forward,
            backward,
            self.state,
            self.zx,
            traced,
            self.saved,
            list(self.vectors),
            weights,
        )

    # ---- what each pass stores

    def _forward(self) -> Pass:
        sinks = [
            Sink("set_state", n, k, w)
            for n, (k, w) in enumerate(zip(self._state_nodes(), self._state_widths(), strict=True))
        ]
        traced = [k for blocks in self._traced().values() for k in blocks]
        sinks += [Sink("trace", n, k, self._wide(k)) for n, k in enumerate(traced)]
        kept = [*self.state_saved, *((k, self.graph.nodes[k].width) for k in self.saved_nodes)]
        sinks += [
            Sink("save_number" if width == "ONE" else "save", n, k, width)
            for n, (k, width) in enumerate(kept)
        ]
        return schedule(self.graph, sinks, saved={}, gradients={}, slots=self.vectors)

    def _backward(self, gradients: dict[int, int], sources: list[int]) -> Pass:
        graph = self.graph
        sinks = [
            Sink("set_d_state", n, k, w)
            for n, (k, w) in enumerate(
                zip((k for f in graph.d_state for k in f), self._state_widths(), strict=True)
            )
        ]
        sinks += [Sink("gradient", n, k, self._wide(k)) for k, n in gradients.items()]
        sinks += [Sink("total", n, t.node, self._wide(t.node)) for n, t in enumerate(graph.totals)]
        first = len(self.state_saved)
        saved = {k: first + n for n, k in enumerate(self.saved_nodes)}
        return schedule(
            graph, sinks, saved=saved, gradients=gradients, kept=sources, slots=self.vectors
        )

    def _traced(self) -> dict[str, list[int]]:
        return dict(zip(self.fields, self.graph.state, strict=True)) | self.graph.gates

    def _state_nodes(self) -> list[int]:
        return [k for blocks in self.graph.state for k in blocks]

    def _state_widths(self) -> list[Width]:
        return [w for blocks in self.state for w in blocks]

    def _noise(self) -> list[str]:
        nodes = sorted((n for n in self.graph.nodes if n.op == "noise"), key=lambda n: n.detail)
        return [f"{{{n.detail[0]}, {n.detail[1]}, {n.width}}}" for n in nodes]

    def _wide(self, k: int) -> Width:
        width = self.graph.nodes[k].width
        return "H" if width == "ONE" else width

    def _widths_of_inputs(self, op: str, arrays: int) -> list[list[Width]]:
        widths: list[list[Width]] = [[] for _ in range(arrays)]
        for node in sorted((n for n in self.graph.nodes if n.op == op), key=lambda n: n.detail):
            widths[node.detail[0]].append(node.width)
        return widths

    # ---- the text

    def _text(
        self,
        forward: Pass,
        backward: Pass,
        gradients: dict[int, int],
        sources: dict[int, int],
        traced: list[Width],
    ) -> str:
        graph = self.graph
        source_rows = []
        for k in sources:
            if graph.nodes[k].op == "state":
                source_rows.append(f"{{STATE, {graph.block_number(k)}, {graph.nodes[k].width}}}")
            else:
                source_rows.append(f"{{KEPT, {backward.kept[k]}, {graph.nodes[k].width}}}")
        outers = [f"{{{sources[o.source]}, {gradients[o.gradient]}}}" for o in graph.outers]
        lines = [
            "// One time step of a cell and its transpose, generated from the cell's equations.",
            "struct Cell {",
            f"  // The state: {', '.join(self.fields)}. Traced: {', '.join(self._traced())}.",
            _table("Width", "kState", self._state_widths()),
            f"  static constexpr int kHidden = {len(self.state[0])};",
            _table("int", "kFields", [str(len(blocks)) for blocks in self.state]),
            _table("Width", "kZx", self.zx),
            _table("Width", "kTraced", traced),
            _table("int", "kTracedArrays", [str(len(t)) for t in self._traced().values()]),
            f"  static constexpr int kMasks = {self.masks};",
            _table("Mask", "kNoise", self._noise()),
            _table("Width", "kSaved", self.saved),
            _table("Width", "kVectors", [n.width for n in self.vectors]),
            _table("Width", "kGradients", [self._wide(k) for k in gradients]),
            _table("int", "kZxGradients", [str(gradients.get(k, -1)) for k in graph.d_zx]),
            _table("Source", "kSources", source_rows),
            _table("Outer", "kOuters", outers),
            _table("Width", "kTotals", [self._wide(t.node) for t in graph.totals]),
            f"  static constexpr int kSums = {len(graph.sums)};",
        ]
        for name, one in (("Forward", forward), ("Backward", backward)):
            lines += _pass(name, one)
        return "\n".join([*lines, "};", ""])


def _table(kind: str, name: str, entries: Sequence[str]) -> str:
    return (
        f"  static constexpr std::array<{kind}, {len(entries)}> {name}{{{{{', '.join(entries)}}}}};"
    )


def _pass(name: str, one: Pass) -> list[str]:
    """Returns the lines of one direction: its products, its stages, and their order."""
    terms, products = list[str](), list[str]()
    for product in one.products:
        first = len(terms)
        terms += [f"{{{t.source.upper()}, {t.block}, {t.width}}}" for t in product.terms]
        products.append(f"{{{product.width}, {first}, {len(terms)}, {product.start}}}")
    lines = [
        "",
        _table("Source", f"k{name}Terms", terms),
        _table("Product", f"k{name}Products", products),
        _table("Width", f"k{name}Kept", one.kept_widths),
        f"  static constexpr int k{name}Numbers = {len(one.numbers)};",
    ]
    for k, stage in enumerate(one.stages):
        lines += [
            "",
            f"  struct {name}{k} {{",
            f"    static constexpr Width kWidth = {stage.width};",
            "  " + _table("int", "kProducts", [str(k) for k in stage.products]),
            "    template <int N, class Pass>",
            "    static void run(const Pass& s, int row, int u) {",
            *(f"      {line};" for line in stage.lines),
            "    }",
            "  };",
        ]
    calls = "".join(f" s.template stage<{name}{k}>();" for k in range(len(one.stages)))
    lines += ["", "  template <class Pass>", f"  static void {name.lower()}(Pass& s) {{{calls} }}"]
    return lines

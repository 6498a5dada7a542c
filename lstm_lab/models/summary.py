"""Size and cost of a model: parameters, output shapes and FLOPs, without allocating it.

`summarize` gives totals, for planning and for throughput numbers; `summarize_layers` gives a table
by layer, for `lstm-lab summary`. FLOPs are counted in the traced program (jaxpr), so they are right
for any cell, a user's own included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import prod
from typing import cast

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from lstm_lab.cells.cell import zero_state_shapes
from lstm_lab.cells.describe import purpose
from lstm_lab.config.ids import program_spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.models.build import build_model, zero_inputs
from lstm_lab.models.encoder_decoder import EncoderDecoder
from lstm_lab.models.sequence_model import SequenceModel
from lstm_lab.models.weights import names_part, stop_gradients, weight_name
from lstm_lab.recurrence import DeviceType
from lstm_lab.utils.tables import ResultTable
from lstm_lab.utils.types import PyTree


@dataclass(frozen=True)
class Summary:
    """Parameters and cost of a model.

    Attributes:
      parameters: rows (name, shape, count), one per array.
      total: number of parameters.
      flops_per_token: floating-point operations of the matrix products of a forward pass, per time
        step and sequence; a multiply-add counts as two. Elementwise operations are left out.
    """

    parameters: list[tuple[str, str, int]]
    total: int
    flops_per_token: float

    @property
    def training_flops_per_token(self) -> float:
        """FLOPs of forward and backward pass per time step and sequence.

        Each matrix product has two in the backward pass, for its two operands. `training_flops`
        leaves out those that are not needed.
        """
        return 3.0 * self.flops_per_token


def summarize(spec: RunSpec, T: int = 64) -> Summary:
    """Counts parameters and FLOPs of a model without allocating it.

    Args:
      spec: the run.
      T: number of time steps of a sequence. A head that reads only the last step costs 1 / T of
        its products per step.
    """
    model, x = _countable(spec), jax.eval_shape(partial(zero_inputs, spec.task, 1, T))
    variables = _variables(model, x)
    rows = _parameter_rows(variables)
    flops = matmul_flops(jax.make_jaxpr(model.apply)(variables, x))
    return Summary(rows, sum(count for _, _, count in rows), flops / T)


def _countable(spec: RunSpec) -> SequenceModel | EncoderDecoder:
    """Returns the model of a run with the reference backend, whose products can be counted."""
    # A kernel hides its matrix products. And to ask for this process's devices starts XLA.
    reference = replace(spec, compute=replace(spec.compute, backend="scan"))
    return build_model(reference, device=DeviceType("cpu", "cpu"))


def _variables(model: SequenceModel | EncoderDecoder, x: jax.ShapeDtypeStruct) -> PyTree:
    """Returns the shapes of a model's variables for inputs of a shape."""
    # The key inside, too: a concrete one would start XLA, which no shape needs.
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x), x)


def _parameter_rows(variables: PyTree) -> list[tuple[str, str, int]]:
    """Returns the rows (name, shape, count) of a model's parameters."""
    leaves = jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    return [(weight_name(path), str(tuple(leaf.shape)), prod(leaf.shape)) for path, leaf in leaves]


def training_flops(spec: RunSpec, T: int) -> float:
    """Returns the FLOP of the products of forward and backward pass, per time step and sequence.

    Counted in the gradient itself: raw inputs need no gradient, and frozen weights neither.
    `Summary.training_flops_per_token` is an upper bound that needs no second trace.

    Args:
      spec: the run.
      T: as in `summarize`.

    Example:
      training_flops(load_spec("adding"), 100)  # 100355.84
    """
    model, x = _countable(spec), jax.eval_shape(partial(zero_inputs, spec.task, 1, T))
    variables = _variables(model, x)

    def total(params: PyTree, x: jax.Array) -> jax.Array:
        params = stop_gradients(spec.optim.freeze, params)
        logits = cast("jax.Array", model.apply({**variables, "params": params}, x))
        return logits.sum()

    gradient = jax.make_jaxpr(jax.value_and_grad(total))(variables["params"], x)
    return matmul_flops(gradient) / T


# Counting traces the model, and the thousands of runs of a study differ in few sizes.
@lru_cache(maxsize=1024)
def _summarize(spec: RunSpec, T: int) -> Summary:
    return summarize(spec, T)


def summarize_program(spec: RunSpec, T: int = 64) -> Summary:
    """Returns the summary of a run's model, counted once for all runs with the same sizes.

    Runs that share a program have the same sizes, and so have those that differ in dropout alone.

    Args:
      spec: the run.
      T: as in `summarize`.

    Example:
      summarize_program(spec).total
    """
    spec = program_spec(spec)
    model = replace(
        spec.model,
        dropout=_any_rate(spec.model.dropout),
        dropout_in=_any_rate(spec.model.dropout_in),
        dropout_out=_any_rate(spec.model.dropout_out),
        dropout_words=_any_rate(spec.model.dropout_words),
    )
    return _summarize(replace(spec, model=model), T)


def _any_rate(rate: float) -> float:
    # Not 0 where there is dropout: the values must pass the checks of the sections.
    return 0.5 if rate else 0.0


@dataclass(frozen=True)
class LayerSummary:
    """Parameters and cost of one layer of a model.

    Attributes:
      name: path of its parameters.
      output: shape of its output, for B sequences of T steps, and S steps of a source.
      flops_per_token: as in `Summary`.
      arrays: rows (name, shape, count, purpose), one per array.
      frozen: number of parameters that training does not change.
    """

    name: str
    output: str
    flops_per_token: float
    arrays: list[tuple[str, str, int, str]]
    frozen: int

    @property
    def total(self) -> int:
        """Number of parameters."""
        return sum(count for _, _, count, _ in self.arrays)


def summarize_layers(spec: RunSpec, T: int = 64) -> list[LayerSummary]:
    """Splits the totals of a model by layer, in the order in which data passes through them.

    Args:
      spec: the run.
      T: as in `summarize`. The source of a translation is taken to have as many steps.
    """
    grouped: dict[str, list[tuple[str, str, int]]] = {}
    # Of one step: the length of the inputs changes no parameter.
    x = jax.eval_shape(partial(zero_inputs, spec.task, 1, 1))
    for path, shape, count in _parameter_rows(_variables(_countable(spec), x)):
        part, _, name = path.rpartition("/")
        grouped.setdefault(part or "head", []).append((name, shape, count))  # a tied head's bias
    summaries = []
    for part in sorted(grouped, key=_place):
        arrays = [(n, shape, count, _purpose(spec, n)) for n, shape, count in grouped[part]]
        products = sum(count for name, _, count in grouped[part] if name in PRODUCTS)
        if part == "head" and spec.model.tied:
            products += sum(count for _, _, count in grouped["embed"])
        frozen = sum(
            count for n, _, count in grouped[part] if names_part(spec.optim.freeze, f"{part}/{n}")
        )
        summaries.append(
            LayerSummary(
                part, _output(spec, part), 2.0 * products * _uses(spec, part, T), arrays, frozen
            )
        )
    return summaries


def summary_table(spec: RunSpec) -> ResultTable:
    """Returns the layers of a model and their arrays as a table, for people.

    Args:
      spec: the run.

    Returns:
      One row per layer, one indented row per array, and the totals. FLOP are those of the matrix
      products of a forward pass, for a time step of a sequence.
    """
    layers = summarize_layers(spec)
    rows = []
    for layer in layers:
        flops = f"{layer.flops_per_token:,.0f}"
        rows.append((layer.name, layer.output, f"{layer.total:,}", flops, ""))
        for name, shape, count, use in layer.arrays:
            rows.append((f"  {name}", shape.replace(" ", ""), f"{count:,}", "", use))
    total = sum(layer.total for layer in layers)
    flops_per_token = sum(layer.flops_per_token for layer in layers)
    rows.append(("total", "", f"{total:,}", f"{flops_per_token:,.0f}", ""))
    if spec.optim.freeze:
        frozen = sum(layer.frozen for layer in layers)
        rows += [("  trained", "", f"{total - frozen:,}", "", "")]
        rows += [("  frozen", "", f"{frozen:,}", "", "")]
    return ResultTable(("layer", "output", "parameters", "FLOP a step", "purpose"), rows)


# Arrays of matrix products. All others are added, looked up, or multiplied elementwise.
PRODUCTS = ("wx", "wh", "wg", "wm_x", "wm_h", "proj", "kernel")
# What the arrays outside of the cells are for; cells/describe.py has those of the cells.
PURPOSES = {
    "embedding": "one row per symbol",
    "kernel": "features to outputs",
    "bias": "biases of outputs",
}


def _purpose(spec: RunSpec, name: str) -> str:
    return PURPOSES.get(name) or purpose(resolve_cell(spec.model), name)


# The parts of both kinds of model, in the order in which data passes through them. The keys of an
# attention are computed with the source; the decoder reads what `query` and `score` attend to.
PARTS = (
    *("embed_source", "encoder", "keys", "bridge"),
    *("embed", "query", "score", "lstm", "decoder", "mix", "head"),
)


def _kind(part: str) -> str:
    """Returns the entry of PARTS for a path of parameters, such as `bridge` for `bridge_0_h`."""
    root = part.partition("/")[0]
    return "bridge" if root.startswith("bridge_") else root


def _number(part: str) -> int:
    """Returns the number of a layer in a path of parameters; -1, the last layer, without one."""
    number = re.search(r"\d+", part)
    return int(number[0]) if number else -1


def _place(part: str) -> tuple[int, int, bool]:
    """Returns a key that sorts paths of parameters as data passes, by number and not by text."""
    # Second of two: the backward direction of a layer, and the bridge of c.
    return PARTS.index(_kind(part)), _number(part), part.endswith(("_reverse", "_c"))


def _uses(spec: RunSpec, part: str, T: int) -> float:
    """Returns how often a part is used per time step."""
    kind = _kind(part)
    # The states are bridged once per sequence. A score compares each step with each of the source.
    shares = {"bridge": 1.0 / T, "score": float(T)}
    if kind == "head" and not spec.task.target.every_step:
        return 1.0 / T
    return shares.get(kind, 1.0)


def _output(spec: RunSpec, part: str) -> str:
    """Returns the shape of a part's output; of a layer in one direction, before they are merged."""
    kind, outputs = _kind(part), spec.task.target.size
    state = zero_state_shapes(resolve_cell(spec.model), spec.model.layer_widths[_number(part)])
    features = state.h.shape[-1]
    match kind:
        case "head":
            return f"[B,T,{outputs}]" if spec.task.target.every_step else f"[B,{outputs}]"
        case "bridge":
            return f"[B,{getattr(state, part[-1]).shape[-1]}]"
        case "score":
            return "[B,T,S]"
        case "embed" | "embed_source":
            features = spec.model.embedding or 0
    return f"[B,{'S' if kind in ('embed_source', 'encoder', 'keys') else 'T'},{features}]"


def matmul_flops(closed: ClosedJaxpr) -> float:
    """Counts the FLOPs of all matrix products of a program, those inside loops included."""
    return _flops(closed.jaxpr)


def _flops(jaxpr: Jaxpr) -> float:
    # Backwards, to skip equations whose results are not used: XLA removes them.
    total, used = 0.0, set(map(id, jaxpr.outvars))
    for equation in jaxpr.eqns[::-1]:
        if not used & set(map(id, equation.outvars)):
            continue
        used |= set(map(id, equation.invars))
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left, out = (v.aval for v in (equation.invars[0], equation.outvars[0]))
            assert isinstance(left, jax.core.ShapedArray)
            assert isinstance(out, jax.core.ShapedArray)
            size = prod(out.shape) * prod(left.shape[d] for d in contracted)
            total += 2.0 * size
        # FLOPs of a loop with an unknown number of steps count once; models have only scans.
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += repeats * sum(_flops(inner) for inner in _nested(equation.params))
    return total


def _nested(params: dict[str, object]) -> list[Jaxpr]:
    """Returns the programs among the parameters of an equation: bodies of loops and calls."""
    values = [v for p in params.values() for v in (p if isinstance(p, (tuple, list)) else (p,))]
    # One test for both classes: in JAX 0.12 they are the same, and two would count a body twice.
    programs = [v for v in values if isinstance(v, (ClosedJaxpr, Jaxpr))]
    return [v.jaxpr if isinstance(v, ClosedJaxpr) else v for v in programs]

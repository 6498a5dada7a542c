"""Numerical errors of each number format against float64: outputs and gradients of a layer.

In: contenders of lstm_lab. Out: JSON-ready rows of `run_errors`, from which `markdown` makes the
table of docs/benchmarks.md. One process is enough, since no time is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.bench.cases import VARIANTS, Case
from lstm_lab.bench.contenders import numbers
from lstm_lab.bench.machine import machine
from lstm_lab.bench.ours import backend_of, serves
from lstm_lab.bench.plan import Deadline
from lstm_lab.bench.table import head
from lstm_lab.cells import get_variant
from lstm_lab.recurrence import Backend, unroll
from lstm_lab.utils.progress import Meter
from lstm_lab.utils.tables import markdown_table

# Short and long: rounding errors may grow with the number of steps.
SHAPES = ((32, 64, 64, 128), (8, 1000, 32, 64))
# A CPU has no TF32, so there "tf32" is the same as "fp32".
CONTENDERS = (
    *("lstm_lab scan fp32", "lstm_lab fused fp32", "lstm_lab native fp32", "lstm_lab cudnn fp32"),
    *("lstm_lab scan tf32", "lstm_lab cudnn tf32", "lstm_lab scan bf16", "lstm_lab fused bf16"),
)


def cases() -> list[Case]:
    """Returns the cases: one variant per cost family, with a short and with a long sequence."""
    return [Case("gradient", *shape, cell=cell) for shape in SHAPES for cell in VARIANTS]


def new_errors(names: list[str], command: str) -> dict[str, Any]:
    """Returns a result without errors, as `run.new_result` returns one without times.

    Args:
      names: contenders, all of lstm_lab.
      command: the command line, for the page.
    """
    empty: dict[str, Any] = {"left_out": [], "done": [], "errors": [], "rows": []}
    return {
        "suite": "errors",
        "command": command,
        "machine": machine(),
        "contenders": names,
        **empty,
    }


def run_errors(
    result: dict[str, Any], meter: Meter, keep: Callable[[dict[str, Any]], None], limit: float
) -> dict[str, Any]:
    """Compares every contender with the `scan` backend in float64, at every case it serves.

    Args:
      result: the result to extend, from `new_errors` or `run.resumed`.
      meter: counts the cases.
      keep: called with the partial result after every case, so that a killed run loses little.
      limit: seconds; no case starts that would probably end later.

    Returns:
      The result, with one row per case and contender. `outputs` and `gradients` are the maximum
      absolute error over the maximum magnitude of the reference, for gradients the largest such
      value over all arrays.
    """
    missing = [case for case in cases() if case.to_json() not in result["done"]]
    meter.skip(len(cases()) - len(missing))
    for case in Deadline(limit).while_time(missing):
        served = [name for name in result["contenders"] if serves(name, case)]
        for name, error in zip(served, _errors_of(served, case), strict=True):
            row = {"case": case.to_json(), "label": case.label, "contender": name, **error}
            result["rows"].append(row)
        result["done"].append(case.to_json())
        meter.advance(1, case.label)
        keep(result)
    return result


def _errors_of(names: list[str], case: Case) -> list[dict[str, float]]:
    """Returns the errors of each contender at a case."""
    # Drawn once in float32, then widened: all contenders start from the same numbers, so only
    # their arithmetic differs.
    arrays = _arrays(case)
    with jax.enable_x64(True):
        reference = _gradients_and_outputs(case, "scan", jax.tree.map(_double, arrays))

    def error_of(name: str) -> dict[str, float]:
        dtype, exact = numbers(name)
        with jax.default_matmul_precision("highest" if exact else "default"):
            # Only the inputs get the dtype, as in training: parameters stay in float32.
            params, x_TBD, weights = arrays
            results = _gradients_and_outputs(
                case, backend_of(name), (params, x_TBD.astype(dtype), weights)
            )
        gradients, outputs = jax.tree.map(_relative_error, results, reference)
        return {"outputs": outputs, "gradients": max(jax.tree.leaves(gradients))}

    if jax.default_backend() != "gpu":
        return list(map(error_of, names))
    # In front of a GPU, nearly all of the time is compiling, which threads do at the same time.
    with ThreadPoolExecutor(len(names) or 1) as pool:
        return list(pool.map(error_of, names))


def _arrays(case: Case) -> tuple[Any, jax.Array, jax.Array]:
    """Returns float32 parameters, inputs, and weights of the outputs in the loss."""
    spec, keys = get_variant(case.cell).spec, jax.random.split(jax.random.key(0), 3)
    params = spec.cell.init(spec, keys[0], case.D, case.H)
    x_TBD = jax.random.normal(keys[1], (case.T, case.B, case.D))
    h_TBH = jax.eval_shape(partial(unroll, spec), params, x_TBD).h
    return params, x_TBD, jax.random.normal(keys[2], h_TBH.shape)


def _gradients_and_outputs(case: Case, backend: Backend, arrays: Any) -> Any:
    """Returns the gradients of parameters and inputs, and the outputs."""
    params, x_TBD, weights = arrays

    def loss(params: Any, x_TBD: jax.Array) -> Any:
        h_TBH = unroll(get_variant(case.cell).spec, params, x_TBD, backend=backend)[0]
        h_TBH = h_TBH.astype(weights.dtype)
        return (weights * h_TBH).sum(), h_TBH

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x_TBD)


def _double(array: jax.Array) -> jax.Array:
    return array.astype(jnp.float64)


def _relative_error(result: jax.Array, reference: jax.Array) -> float:
    with jax.enable_x64(True):
        # Over the largest magnitude, not element by element: near zero, any rounding is a large
        # relative error.
        error = jnp.abs(result.astype("float64") - reference).max()
        return float(error / jnp.maximum(jnp.abs(reference).max(), 1e-30))


def markdown(result: dict[str, Any]) -> str:
    """Returns a table with one line per case: error of outputs / of gradients, by contender.

    Args:
      result: what `run_errors` returned.
    """
    rows = result["rows"]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    lines = [["shape", *names]]
    for label in dict.fromkeys(row["label"] for row in rows):
        by_name = {row["contender"]: row for row in rows if row["label"] == label}
        pairs = [
            [by_name[n][k] for k in ("outputs", "gradients")] if n in by_name else [] for n in names
        ]
        lines.append([label, *(" / ".join(f"{value:.1g}" for value in pair) for pair in pairs)])
    return "\n".join([*head(result), "", markdown_table(lines)])

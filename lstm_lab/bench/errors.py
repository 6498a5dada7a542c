"""How far each kind of numbers is from float64: outputs and gradients of a layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from lstm_lab.bench.cases import VARIANTS, Case
from lstm_lab.bench.contenders import numbers
from lstm_lab.bench.jax_peers import backend_of, serves
from lstm_lab.bench.run import machine
from lstm_lab.bench.table import head
from lstm_lab.cells import get_variant
from lstm_lab.recurrence import Backend, unroll
from lstm_lab.utils.progress import Meter
from lstm_lab.utils.tables import markdown_table

SHAPES = ((32, 64, 64, 128), (8, 1000, 32, 64))
# A CPU has no TF32: there "tf32" is the same as "fp32".
CONTENDERS = (
    *("lstm_lab scan fp32", "lstm_lab fused fp32", "lstm_lab native fp32", "lstm_lab cudnn fp32"),
    *("lstm_lab scan tf32", "lstm_lab cudnn tf32", "lstm_lab scan bf16", "lstm_lab fused bf16"),
)


def cases() -> list[Case]:
    """Returns what is computed: a variant of each family, at a short and at a long shape."""
    return [Case("gradient", *shape, cell=cell) for shape in SHAPES for cell in VARIANTS]


def run_errors(names: list[str], meter: Meter) -> dict[str, Any]:
    """Computes each case in float64 by scan, and by each contender that serves it.

    Args:
      names: contenders, ours alone.
      meter: counts the cases.

    Returns:
      JSON-ready: the machine, and a row for each case and contender with the greatest deviation of
      the outputs and of any gradient, over the greatest magnitude of what it deviates from.
    """
    found_on, rows = machine(), []
    for case in cases():
        arrays = _arrays(case)
        with jax.enable_x64(True):
            wanted = _outputs(case, "scan", jax.tree.map(_double, arrays))
        for name in names:
            if not serves(name, case):
                continue
            dtype, exact = numbers(name)
            with jax.default_matmul_precision("highest" if exact else "default"):
                params, x_TBD, weights = arrays
                found = _outputs(case, backend_of(name), (params, x_TBD.astype(dtype), weights))
            each = jax.tree.map(_deviation, found, wanted)
            row = {"outputs": each[1], "gradients": max(jax.tree.leaves(each[0]))}
            rows.append({"case": case.to_json(), "label": case.label, "contender": name, **row})
        meter.advance(1, case.label)
    return {"suite": "errors", "machine": found_on, "left_out": [], "rows": rows}


def _arrays(case: Case) -> tuple[Any, jax.Array, jax.Array]:
    """Returns float32 parameters, inputs and what the outputs are weighted with."""
    spec, keys = get_variant(case.cell).spec, jax.random.split(jax.random.key(0), 3)
    params = spec.cell.init(spec, keys[0], case.D, case.H)
    x_TBD = jax.random.normal(keys[1], (case.T, case.B, case.D))
    h_TBH, _ = jax.eval_shape(partial(unroll, spec), params, x_TBD)
    return params, x_TBD, jax.random.normal(keys[2], h_TBH.shape)


def _outputs(case: Case, backend: Backend, arrays: Any) -> Any:
    """Returns the gradients to parameters and inputs, and the outputs."""
    params, x_TBD, weights = arrays

    def loss(params: Any, x_TBD: jax.Array) -> Any:
        h_TBH = unroll(get_variant(case.cell).spec, params, x_TBD, backend=backend)[0]
        h_TBH = h_TBH.astype(weights.dtype)
        return (weights * h_TBH).sum(), h_TBH

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x_TBD)


def _double(array: jax.Array) -> jax.Array:
    return array.astype(jnp.float64)


def _deviation(found: jax.Array, wanted: jax.Array) -> float:
    with jax.enable_x64(True):
        worst = jnp.abs(found.astype("float64") - wanted).max()
        return float(worst / jnp.maximum(jnp.abs(wanted).max(), 1e-30))


def markdown(result: dict[str, Any]) -> str:
    """Returns a table with a line a case: deviation of outputs / of gradients, by contender."""
    rows = result["rows"]
    names = list(dict.fromkeys(row["contender"] for row in rows))
    lines = [["shape", *names]]
    for label in dict.fromkeys(row["label"] for row in rows):
        found = {row["contender"]: row for row in rows if row["label"] == label}
        pairs = [
            [found[n][k] for k in ("outputs", "gradients")] if n in found else [] for n in names
        ]
        lines.append([label, *(" / ".join(f"{value:.1g}" for value in pair) for pair in pairs)])
    return "\n".join([*head(result), "", markdown_table(lines)])

"""Single cells in a notebook: parameters, one step, a whole sequence, and the checks of a cell.

In: the name of a variant, a file, or a spec. Out: `BoundCell`, a spec together with its functions.
Read `cells/cell.py` next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax

from lstm_lab.cells import Params, Spec, State
from lstm_lab.cells import step as cell_step
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.recurrence import Unrolled
from lstm_lab.recurrence import unroll as unroll_spec
from lstm_lab.recurrence.check import check_cell
from lstm_lab.utils.tables import ResultTable


@dataclass(frozen=True)
class BoundCell:
    """A variant with its functions; `ll.cell` returns it.

    Attributes:
      spec: the variant as data, as `lstm_lab.recurrence.unroll` and `ll.LSTM` take it.

    Example:
      cell = ll.cell("peephole")
      params = cell.init(jax.random.key(0), 8, 16)
      state, gates = cell.step(params, x_BD)
    """

    spec: Spec

    def init(self, key: jax.Array, features: int, hidden: int) -> dict[str, jax.Array]:
        """Draws parameters.

        Args:
          key: a key of `jax.random`.
          features: D, the number of input features.
          hidden: H, the number of hidden units.

        Returns:
          float32 arrays by name.

        Example:
          params = ll.cell("lstm").init(jax.random.key(0), features=8, hidden=16)
          params["wx"].shape  # (8, 4, 16): four gates
        """
        return self.spec.cell.init(self.spec, key, features, hidden)

    def step(
        self, params: Params, x_BD: jax.Array, state: State | None = None
    ) -> tuple[State, dict[str, jax.Array]]:
        """Computes one time step.

        Args:
          params: from `init`.
          x_BD: inputs [B,D].
          state: the state of the previous step; None is the zero state.

        Returns:
          The new state, and the gates by name, each [B,H].

        Example:
          state, gates = cell.step(params, x_BD)  # from the zero state
          state, gates = cell.step(params, x_BD, state)
        """
        return cell_step(self.spec, params, x_BD, state)

    def unroll(self, params: Params, x_TBD: jax.Array, **options: Any) -> Unrolled:
        """Runs the cell over time.

        Args:
          params: from `init`.
          x_TBD: inputs [T,B,D].
          **options: those of `lstm_lab.recurrence.unroll`, such as `lengths` or `trace`.

        Returns:
          `h` [T,B,H], the final state, and the traced gates.

        Example:
          h_TBH, final, traced = cell.unroll(params, x_TBD, trace=("f", "c"))
          sorted(traced)  # ["c", "f"]
        """
        return unroll_spec(self.spec, params, x_TBD, **options)


CellLike = str | Spec | BoundCell


def cell(name: CellLike) -> BoundCell:
    """Returns a cell of the catalogue, or one of your own.

    Args:
      name: the name of a variant (`lstm-lab list variants`), FILE.py:NAME, or a spec.

    Raises:
      UserError: for an unknown name, with the nearest one.

    Example:
      ll.cell("peephole").spec.peephole  # "ifo"
    """
    if isinstance(name, BoundCell):
        return name
    return BoundCell(resolve_cell(ModelSpec(cell=name)) if isinstance(name, str) else name)


def unroll(name: CellLike, params: Params, x_TBD: jax.Array, **options: Any) -> Unrolled:
    """Runs a cell over time.

    Args:
      name: the cell, as in `ll.cell`, or what `ll.cell` returned.
      params: parameters from `ll.cell(name).init`.
      x_TBD: inputs [T,B,D].
      **options: those of `lstm_lab.recurrence.unroll`: `state`, `lengths`, `resets`, `reverse`,
        `trace`, `clamp`, `backend`, `precision`.

    Returns:
      `h` [T,B,H], the final state, and the traced gates.

    Example:
      h_TBH, final, traced = ll.unroll("lstm", params, x_TBD, trace=("f",))
    """
    return cell(name).unroll(params, x_TBD, **options)


def check(name: CellLike) -> ResultTable:
    """Checks a cell: gradients, padding, chunks, resets and backends, in float64.

    Args:
      name: the cell, as in `ll.cell`.

    Returns:
      One row per check: its name, `ok` or `FAILED`, and the reason.

    Example:
      ll.check("my_cell.py:mine")
    """
    rows = [
        (what, "ok" if reason is None else "FAILED", reason or "")
        for what, reason in check_cell(cell(name).spec)
    ]
    return ResultTable(("check", "result", "reason"), rows)

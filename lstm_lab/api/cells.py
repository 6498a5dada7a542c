"""Single cells in a notebook: parameters, one step, a whole sequence, and the checks of a cell.

In: the name of a variant, a file, or a spec. Out: `BoundCell`, a spec together with its functions.
Read `cells/cell.py` next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from lstm_lab.cells import Params, Spec, State
from lstm_lab.cells import step as cell_step
from lstm_lab.cells.cell import GateValue
from lstm_lab.config.sections import ModelSpec
from lstm_lab.config.variant import resolve_cell
from lstm_lab.recurrence import Backend, DeviceType, Unrolled
from lstm_lab.recurrence import unroll as unroll_spec
from lstm_lab.recurrence.check import check_cell
from lstm_lab.utils.tables import ResultTable
from lstm_lab.utils.types import PyTree


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

        Raises:
          ValueError: for no features or no hidden units.

        Example:
          params = ll.cell("lstm").init(jax.random.key(0), features=8, hidden=16)
          params["wx"].shape  # (8, 4, 16): four gates
        """
        for name, size in (("features", features), ("hidden", hidden)):
            if size < 1:
                raise ValueError(f"{name}: got {size}, expected 1 or more")
        return self.spec.cell.init(self.spec, key, features, hidden)

    def step(
        self, params: Params, x_BD: jax.Array, state: State | None = None
    ) -> tuple[State, dict[str, jax.Array]]:
        """Computes one time step.

        Args:
          params: from `init`.
          x_BD: inputs [B,D], of a floating dtype.
          state: the state of the previous step; None is the zero state.

        Returns:
          The new state, and the gates by name, each [B,H].

        Raises:
          ValueError: for inputs of another D than that of the parameters.

        Example:
          state, gates = cell.step(params, x_BD)  # from the zero state
          state, gates = cell.step(params, x_BD, state)
        """
        return cell_step(self.spec, params, x_BD, state)

    def unroll(self, params: Params, x_TBD: jax.Array, **options: Any) -> Unrolled:
        """Runs the cell over time.

        Args:
          params: from `init`.
          x_TBD: inputs [T,B,D], as in `ll.unroll`.
          **options: the other arguments of `ll.unroll`, such as `lengths` or `trace`.

        Returns:
          As `ll.unroll`: `h` [T,B,H], the final state, and the traced gates.

        Raises:
          ValueError: as `ll.unroll`.

        Example:
          h_TBH, final, traced = cell.unroll(params, x_TBD, trace=("f", "c"))
          sorted(traced)  # ["c", "f"]
        """
        return unroll_spec(self.spec, params, x_TBD, **options)


CellLike = str | Spec | BoundCell


def cell(name: CellLike) -> BoundCell:
    """Returns a cell of the catalogue, or one of your own.

    Args:
      name: the name of a variant (`lstm-lab list variants`), FILE.py:NAME, a spec, or what an
        earlier call returned.

    Returns:
      The spec with its functions `init`, `step` and `unroll`.

    Raises:
      UserError: for an unknown name, with the nearest one; for a file that is missing, does not
        run, or has no such cell.

    Example:
      ll.cell("peephole").spec.peephole  # "ifo"
    """
    if isinstance(name, BoundCell):
        return name
    return BoundCell(resolve_cell(ModelSpec(cell=name)) if isinstance(name, str) else name)


def unroll(
    name: CellLike,
    params: Params,
    x_TBD: jax.Array,
    state: State | None = None,
    *,
    lengths: jax.Array | None = None,
    resets: jax.Array | None = None,
    reverse: bool = False,
    noise: PyTree = None,
    trace: tuple[str, ...] = (),
    clamp: Mapping[str, GateValue] | None = None,
    backend: Backend = "auto",
    precision: str | None = None,
    device: DeviceType | None = None,
) -> Unrolled:
    """Runs a cell over time.

    With state_0 = `state`, and step as `BoundCell.step`:

        state_t = step(params, x_t, state_(t-1))      h_t = state_t.h      t = 1, ..., T

    Args:
      name: the cell, as in `ll.cell`, or what `ll.cell` returned.
      params: parameters from `ll.cell(name).init`, float32.
      x_TBD: inputs [T,B,D], time-major, of a floating dtype, in which h is computed.
      state: the initial state (in reverse: at the end), with h [B,H] in the dtype of the inputs
        and c [B,H] in float32, or in float64 if the inputs are; None is the zero state.
      lengths: integers [B], the real steps of each row, 0..T; what follows is padding. None means
        T.
      resets: bool [T,B], true where a new segment starts: the state is zero before that step.
      reverse: run from each row's last real step to the first; outputs keep their positions.
      noise: masks of the cell's regularization with a leading axis of T or 1, or None.
      trace: names of gates and state fields to return over time; ("*",) returns all.
      clamp: constants that replace gates, by name: a number, or one for each unit [H].
      backend, precision, device: as in `lstm_lab.recurrence.unroll`; by default the fastest
        backend, the precision in force, and this process's device.

    Returns:
      `h` [T,B,H], zero in the padding; `final`, the state after each row's last real step; and
      `traced`, the traced arrays [T,B,H] by name. With a projection, h is [T,B,R].

    Raises:
      UserError: for an unknown cell.
      ValueError: for parameters of another cell or of another D than that of the inputs, a wrong
        shape, an empty sequence, inputs of integers, lengths that are no integers from 0 to T, a
        key in place of masks, an unknown backend, gate or field, or a backend that does not support
        the call.

    Example:
      h_TBH, final, traced = ll.unroll("lstm", params, x_TBD, trace=("f",))

    Source: Hochreiter and Schmidhuber 1997, Gers et al. 2000 for "lstm"; `lstm-lab show NAME` names
    the paper of a variant.
    """
    return unroll_spec(
        cell(name).spec,
        params,
        x_TBD,
        state,
        lengths=lengths,
        resets=resets,
        reverse=reverse,
        noise=noise,
        trace=trace,
        clamp=clamp,
        backend=backend,
        precision=precision,
        device=device,
    )


def check(name: CellLike) -> ResultTable:
    """Checks a cell: gradients, padding, chunks, resets and backends, in float64.

    Args:
      name: the cell, as in `ll.cell`.

    Returns:
      One row per check: its name, `ok` or `FAILED`, and the reason. An error inside the cell is a
      row, too, and is not raised.

    Raises:
      UserError: for an unknown cell, as `ll.cell`.

    Example:
      ll.check("my_cell.py:mine")
    """
    rows = [
        (what, "ok" if reason is None else "FAILED", reason or "")
        for what, reason in check_cell(cell(name).spec)
    ]
    return ResultTable(("check", "result", "reason"), rows)

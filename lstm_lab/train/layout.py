"""How a cohort lies on the devices: members spread, batches split, or neither."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import jax

from lstm_lab.config.run_spec import RunSpec
from lstm_lab.models.build import backends_for_training
from lstm_lab.recurrence import Backend
from lstm_lab.utils.errors import UserError
from lstm_lab.utils.progress import say

Kind = Literal["single", "members", "batch"]


def on_cpu() -> bool:
    """Returns whether this computes on CPU, where members are mapped in turn and not batched."""
    return jax.local_devices()[0].platform == "cpu"


@dataclass(frozen=True)
class Layout:
    """How a cohort lies on the devices; decided once, since bits depend on it.

    Attributes:
      kind: `single`: one device trains all lanes; `members`: each device trains its share of lanes;
        `batch`: every device trains all lanes on its share of each batch.
      devices: devices used, of all hosts together.
      lanes: places for members; a multiple of `devices` where members are spread.
      width: hidden units of the program's arrays, to which narrower members are padded; None where
        all members have the same.
      hosts: processes that train together, each on its own devices.
    """

    kind: Kind
    devices: int
    lanes: int
    width: int | None = None
    hosts: int = 1

    def widen(self, spec: RunSpec) -> RunSpec:
        """Returns a member's spec with the hidden units of the program's arrays."""
        if self.width is None:
            return spec
        return replace(spec, model=replace(spec.model, hidden=self.width))

    def backends(self, spec: RunSpec) -> list[Backend]:
        """Returns the backends of one member's training; see `backends_for_training`."""
        rows = spec.train.batch_size // (self.devices if self.kind == "batch" else 1)
        lanes = self.lanes // (self.devices if self.kind == "members" else 1)
        return backends_for_training(self.widen(spec), rows, 1 if on_cpu() else lanes)


def choose_layout(members: int, batch_size: int, devices: int, hosts: int = 1) -> Layout:
    """Spreads members where there are enough, else splits the batch if it divides, else neither.

    Args:
      members: runs of the cohort.
      batch_size: sequences of a step.
      devices: devices at hand, of all hosts together.
      hosts: processes that train together; they always split the batch.

    Returns:
      The layout.

    Raises:
      UserError: for a batch that several hosts cannot split.
    """
    if hosts > 1:
        if batch_size % devices:
            raise UserError(
                f"train.batch_size: found {batch_size}, allowed multiples of {devices}, "
                f"the devices of {hosts} hosts"
            )
        return Layout("batch", devices, members, hosts=hosts)
    if devices > 1 and members >= devices:
        return Layout("members", devices, -(-members // devices) * devices)
    if devices > 1 and batch_size % devices == 0:
        return Layout("batch", devices, members)
    return Layout("single", 1, members)


def fit_layout(layout: Layout, batch_size: int, devices: int, hosts: int = 1) -> Layout:
    """Returns a layout decided before, or where devices are missing the nearest one that fits.

    Args:
      layout: the layout that a run or a cohort began with.
      batch_size: sequences of a step.
      devices: devices at hand, of all hosts together.
      hosts: processes that train together.

    Returns:
      A layout with the same lanes; another one is said, since its bits differ.
    """
    fits = layout.devices <= devices if hosts == 1 else layout.devices == devices
    if layout.hosts == hosts and fits:
        return layout
    if hosts > 1 or layout.hosts > 1:
        fitting = choose_layout(layout.lanes, batch_size, devices, hosts)
        say(
            f"note: began on {layout.devices} devices of {layout.hosts} hosts, goes on on "
            f"{fitting.devices} of {hosts}: its bits will differ"
        )
        return fitting
    divided = layout.lanes if layout.kind == "members" else batch_size
    shared = max(n for n in range(1, devices + 1) if divided % n == 0)
    fitting = replace(layout, kind=layout.kind if shared > 1 else "single", devices=shared)
    say(f"note: began on {layout.devices} devices, goes on on {shared}: its bits will differ")
    return fitting
